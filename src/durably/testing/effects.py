"""What happens outside of a function, as a test declares it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from durably.core.active import Attempting, active
from durably.core.op import Op
from durably.core.scope import Scope
from durably.testing.processes import CrashedError, process


class Place(NamedTuple):
    """Where something happened: the execution, the step if it was in one, and its name."""

    arn: str
    operation_id: str | None
    label: str


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that happened.

    Attributes:
        key: what the outside knows it by: a second one with the same key changes nothing.
        is_once: it must not happen again, whatever the step promises.
    """

    name: str
    key: str | None
    is_once: bool
    place: Place


class Ledger:
    """Everything that happened, outside of what a crash undoes."""

    def __init__(self) -> None:
        self.happened: list[Effect] = []

    def note(self, name: str, key: object, *, is_once: bool) -> None:
        """Note that something happened, here and now.

        Raises:
            CrashedError: the process dies here, or is dead.
        """
        life, place = process.get(), _here()
        if life is not None and life.passes(f"in {place.label}, before {name}"):
            raise CrashedError
        known_by = None if key is None else str(key)
        self.happened.append(Effect(name, known_by, is_once, place))
        if life is not None and life.passes(f"in {place.label}, after {name}"):
            raise CrashedError

    def named(self, name: str) -> list[Effect]:
        """Give what happened under one name."""
        return [effect for effect in self.happened if effect.name == name]

    @property
    def counts(self) -> Counter[str]:
        """How often each effect happened; those with one key count once."""
        with_keys = {(one.name, one.key) for one in self.happened if one.key is not None}
        counts = Counter(one.name for one in self.happened if one.key is None)
        counts.update(name for name, _ in with_keys)
        return counts


def path_of(scope: Scope, op: Op) -> str:
    """Give the names on the way to an operation of *scope*."""
    names = [op.name or op.id[:6]]
    around: Scope | None = scope
    while around is not None and around.op is not None:
        names.insert(0, around.op.name or around.op.id[:6])
        around = around.parent
    return "/".join(names)


def _here() -> Place:
    match active.get():
        case Attempting(scope=scope, context=context, place=attempt):
            label = path_of(scope, attempt.op)
            return Place(context.execution_arn, context.operation_id, label)
        case Scope(journal=journal):
            return Place(journal.arn, None, "the handler")
        case _:
            return Place("", None, "the test")
