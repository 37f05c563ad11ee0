"""The facts of one execution as text that can be carried away: one JSON object a line.

The first line says what the file is; each other one is a fact, its members under their own names
and its instants as people write them. It is the form for files and for people. What a store keeps
is written by `facts.encode_fact`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, get_args

import msgspec

from durably.engine.evolution import fold
from durably.engine.facts import (
    AnyFact,
    ExecutionStarted,
    Fact,
    Silent,
    Visible,
    microseconds_of,
    timestamp_of,
)
from durably.errors import SerdesError, ValidationError
from durably.serdes_json import read_json

FORMAT = "durably-history"
FORMAT_VERSION = 1
"""Grows when a file written before could not be read any more, or would be read wrongly."""


def write_history(facts: Sequence[Fact], *, is_masked: bool) -> str:
    """Give the text of a file with *facts*."""
    head = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "masked": is_masked,
        "facts": len(facts),
    }
    lines = [_line(head), *(_line(_members_of(fact)) for fact in facts)]
    return "\n".join(lines) + "\n"


def read_history(text: str) -> tuple[tuple[AnyFact, ...], bool]:
    """Give the facts in the text of a file, and whether what they carry was masked.

    Raises:
        ValidationError: it is no such file, is cut off, or holds what this version does not know.
    """
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    head = _object(lines[0][1], 1) if lines else {}
    if head.get("format") != FORMAT:
        raise _refusal(1, f'is not the head of a history, {{"format": "{FORMAT}", …}}')
    if head.get("version") != FORMAT_VERSION:
        said = f"this durably reads version {FORMAT_VERSION} of the format"
        raise _refusal(1, f"says version {head.get('version')!r}: {said}")
    facts = tuple(_fact(line, number) for number, line in lines[1:])
    if len(facts) != head.get("facts"):
        said = f"there are {len(facts)} facts, and its head says {head.get('facts')!r}"
        raise ValidationError("history", f"is not whole: {said}")
    _check_order(facts)
    return facts, head.get("masked") is True


def _line(members: object) -> str:
    return msgspec.json.encode(members).decode()


def _members_of(fact: Fact) -> dict[str, Any]:
    members: dict[str, Any] = {"fact": type(fact).__name__}
    for name in fact.__struct_fields__:
        value = getattr(fact, name)
        if value is not None:
            members[name] = _written(value) if _is_instant(name) else msgspec.to_builtins(value)
    return members


def _is_instant(name: str) -> bool:
    return name == "at" or name.endswith("_at")


def _written(at: int) -> str:
    local = timestamp_of(at).replace(tzinfo=None)
    return f"{local.isoformat(timespec='microseconds')}Z"


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        value = read_json(line)
    except SerdesError as error:
        raise _refusal(number, str(error)) from error
    if not isinstance(value, dict):
        raise _refusal(number, "is no JSON object")
    return value  # pyright: ignore[reportUnknownVariableType]  # its members are looked at one by one


def _fact(line: str, number: int) -> AnyFact:
    members = _object(line, number)
    name = members.pop("fact", None)
    kind = _KINDS.get(name)
    if kind is None:
        raise _refusal(number, f"has no fact that this durably knows: {name!r:.100}")
    unknown = members.keys() - set(kind.__struct_fields__)
    if unknown:
        raise _refusal(number, f"{name} has no member {min(unknown)!r:.100}")
    try:
        values = [kind.__struct_config__.tag, *_values(kind, members)]
        fact: AnyFact = msgspec.convert(values, AnyFact)
    except (ValueError, TypeError, OverflowError) as error:
        raise _refusal(number, f"is not {name} as it should be: {error}") from error
    return fact


def _values(kind: type[Fact], members: Mapping[str, Any]) -> Iterator[Any]:
    """Give the values of a fact in the order of its members. What is left out is its default."""
    defaults = kind.__struct_defaults__
    first_default = len(kind.__struct_fields__) - len(defaults)
    for place, name in enumerate(kind.__struct_fields__):
        if name in members:
            value = members[name]
            yield microseconds_of(datetime.fromisoformat(value)) if _is_instant(name) else value
        else:
            yield None if place < first_default else defaults[place - first_default]


def _check_order(facts: Sequence[AnyFact]) -> None:
    """Refuse facts that make no execution.

    Raises:
        ValidationError: so it is.
    """
    if not facts or not isinstance(facts[0], ExecutionStarted):
        raise ValidationError("history", "must begin with ExecutionStarted")
    try:
        fold(facts)
    except (LookupError, AssertionError, AttributeError, TypeError) as error:
        said = f"{type(error).__name__}: {error}"
        raise ValidationError("history", f"has facts that do not follow: {said}") from error


def _refusal(number: int, said: str) -> ValidationError:
    return ValidationError("history", f"line {number} {said}")


_KINDS: Mapping[Any, type[Fact]] = MappingProxyType(
    {kind.__name__: kind for kind in (*get_args(Visible), *get_args(Silent))}
)
