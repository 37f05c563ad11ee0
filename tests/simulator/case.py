"""What makes one run: its seed, and what of it is left out. The same case is the same run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import msgspec

_STORES = ("memory", "memory", "memory", "sqlite", "shared")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run.

    Attributes:
        seed: everything follows from it.
        store: `memory`, `sqlite`, or `shared`: a memory that several processes use.
        without: kinds of faults that never happen.
        skipped: numbers of faults that do not happen.
        scenarios: the numbers of those that are played; `None`: all.
        is_plain: callbacks run first come, first served.
        is_calm: the hooks of `durably.seams.maybe` never fire.
    """

    seed: int
    store: str = "memory"
    without: tuple[str, ...] = ()
    skipped: tuple[int, ...] = ()
    scenarios: tuple[int, ...] | None = None
    is_plain: bool = False
    is_calm: bool = False

    def with_(self, **changes: object) -> Self:
        """Give the same with changes."""
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        """Write it so that `read` can read it: the seed alone if nothing is left out."""
        members = msgspec.to_builtins(self)
        usual = msgspec.to_builtins(case_of(self.seed))
        said = {name: value for name, value in members.items() if value != usual[name]}
        if not said:
            return str(self.seed)
        return msgspec.json.encode({"seed": self.seed, **said}).decode()

    @classmethod
    def read(cls, text: str) -> Case:
        """Read what `text` gives."""
        if text.isdigit():
            return case_of(int(text))
        case = msgspec.json.decode(text, type=Case)
        return case if '"store"' in text else case.with_(store=case_of(case.seed).store)


def case_of(seed: int) -> Case:
    """Give the case of a seed with nothing left out: its store is the seed's, too."""
    return Case(seed=seed, store=_STORES[seed % len(_STORES)])
