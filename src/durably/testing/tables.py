"""An execution as text: fit to be read, and to be compared with what it was before."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from durably.wire.operation import ErrorObject, OperationType

if TYPE_CHECKING:
    from durably.testing.runs import RunOperation

_MAX_OUTCOME = 72
_BEFORE_DIFFERENCE = 24


def table(head: str, operations: Sequence[RunOperation]) -> str:
    """Give *head*, and a line for each of *operations* and what is inside."""
    rows = [row for operation in operations for row in _rows(operation, 1)]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    ]
    return "\n".join([head, *(line.rstrip() for line in lines)])


def _rows(operation: RunOperation, depth: int) -> Iterator[tuple[str, str, str, str]]:
    label = "  " * depth + operation.label
    yield label, operation.kind, operation.status.value, _outcome(operation)
    for child in operation.children:
        yield from _rows(child, depth + 1)


def _outcome(operation: RunOperation) -> str:
    words: list[str] = []
    if operation.attempts > 1:
        words.append(f"{operation.attempts} attempts")
    if operation.record.type is OperationType.WAIT and operation.duration is not None:
        words.append(length(operation.duration))
    if operation.error is not None:
        words.append(error_text(operation.error))
    elif operation.payload is not None and not operation.children:
        words.append(operation.payload)
    return short(", ".join(words))


def error_text(error: ErrorObject | None) -> str:
    """Give an error's type and message."""
    if error is None:
        return "no error was given"
    return ": ".join(text for text in (error.error_type, error.error_message) if text)


def short(text: str) -> str:
    """Give the beginning of *text*, in one line."""
    line = re.sub(r"\s+", " ", text)
    return line if len(line) <= _MAX_OUTCOME else f"{line[: _MAX_OUTCOME - 1]}…"


def differing(text: str, other: str) -> tuple[str, str]:
    """Give two texts that are not the same, each in one line, from a little before they differ."""
    texts = (text, other)
    if max(map(len, texts)) > _MAX_OUTCOME:
        pairs = enumerate(zip(text, other, strict=False))
        same = next((at for at, (one, two) in pairs if one != two), min(map(len, texts)))
        start = same - _BEFORE_DIFFERENCE
        if start > 0:
            texts = (f"…{text[start:]}", f"…{other[start:]}")
    cut, other_cut = (short(one) for one in texts)
    return cut, other_cut


def length(duration: timedelta) -> str:
    """Say how long *duration* is, to the second."""
    seconds = round(duration.total_seconds())
    parts = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    said: list[str] = []
    for unit, size in parts:
        many, seconds = divmod(seconds, size)
        if many:
            said.append(f"{many} {unit}")
    return " ".join(said) or "0 s"
