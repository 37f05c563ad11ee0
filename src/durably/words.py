"""What errors say to people: lengths of time, and names that may have been meant."""

from __future__ import annotations

from collections.abc import Iterable

_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))
_LONG_SECONDS = 120
_LONGEST_NAME = 256


def in_words(seconds: float) -> str:
    """Say how long *seconds* are: two minutes and more in larger units."""
    parts: list[str] = []
    rest = seconds
    for size, unit in _UNITS if seconds >= _LONG_SECONDS else ():
        many, rest = divmod(rest, size)
        if many:
            parts.append(_counted(int(many), unit))
    if rest or not parts:
        parts.append(_counted(rest, "second"))
    return " ".join(parts)


def _counted(many: float, unit: str) -> str:
    number = str(many) if isinstance(many, int) else f"{many:g}"
    return f"{number} {unit}{'' if many == 1 else 's'}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Ask whether *name* was to be one of *known* that is like it, after a sentence; or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for what has failed

    close = get_close_matches(name[:_LONGEST_NAME], list(known), 1)
    return f" Did you mean {close[0]!r}?" if close else ""
