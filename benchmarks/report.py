"""What a row has measured, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_HEAD = (
    "row",
    "what",
    "ours",
    "target",
    "met",
    "beside floors of the same run",
    "peers; unnamed: official SDK",
)
_GAP = "  "


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """The same, done by somebody else in the same run; *failure* says why there is no value."""

    name: str
    value: float = 0.0
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure.

    Attributes:
        limit: what it should at most be, or at least when *is_at_least*; `None`: no target.
        floors: what nothing durable can be faster than, or what it is made of.
        peers: the official SDK, or its local runner; DBOS and absurd.
        note: anything a reader must know to read the figure.
    """

    what: str
    value: float
    unit: str
    limit: float | None = None
    is_at_least: bool = False
    floors: tuple[Beside, ...] = ()
    peers: tuple[Beside, ...] = ()
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; `None` when there is none."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.is_at_least else self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Result:
    """What one row has given, and where the time went, if that was asked for."""

    row: str
    lines: tuple[Line, ...]
    profile: tuple[str, ...] = ()
    failure: str = ""


def table(results: Iterable[Result]) -> str:
    """Show all figures as one table, and below it the notes."""
    rows: list[tuple[str, ...]] = [_HEAD]
    notes: list[str] = []
    for result in results:
        name = result.row
        for line in result.lines:
            mark = ""
            if line.note:
                if line.note not in notes:
                    notes.append(line.note)
                mark = f" [{notes.index(line.note) + 1}]"
            rows.append((name, line.what + mark, *_figures(line)))
            name = ""
        if result.failure:
            rows.append((result.row, f"failed: {result.failure}", *[""] * (len(_HEAD) - 2)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    lines = [_GAP.join(map(str.ljust, row, widths)).rstrip() for row in rows]
    lines += [f"[{number}] {note}" for number, note in enumerate(notes, 1)]
    return "\n".join(lines)


def shown(value: float, unit: str) -> str:
    """Write *value* with three digits that count."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2  # noqa: PLR2004 - digits
    return f"{value:,.{digits}f} {unit}".strip()


def _figures(line: Line) -> tuple[str, ...]:
    target = ""
    if line.limit is not None:
        target = f"{'≥' if line.is_at_least else '≤'} {line.limit:,g} {line.unit}".strip()
    met = {True: "yes", False: "NO", None: ""}[line.is_met]
    return (
        shown(line.value, line.unit),
        target,
        met,
        ", ".join(_beside(line, floor) for floor in line.floors),
        ", ".join(_beside(line, peer) for peer in line.peers),
    )


def _beside(line: Line, other: Beside) -> str:
    if other.failure:
        return f"{other.name} failed: {other.failure}".strip()
    text = f"{other.name} {shown(other.value, line.unit)}".strip()
    if not line.value or not other.value:
        return text
    ratio = line.value / other.value
    if line.is_at_least:
        ratio = 1 / ratio
    times = f"×{_two(ratio)}" if ratio >= 1 else f"÷{_two(1 / ratio)}"  # noqa: RUF001 - the sign
    return f"{text} ({times})"


def _two(ratio: float) -> str:
    """Write *ratio* with two digits that count."""
    return f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"  # noqa: PLR2004 - digits
