"""Where a page of a listing ends, as text that a caller can hand back."""

from __future__ import annotations

import re

from durably.errors import ValidationError

_MARKER = re.compile(r"(-?\d{1,18})\.(\d{1,18})", re.ASCII)


def marker_after(started_us: int, number: int) -> str:
    """Name a place in the order of executions: by start, then by creation."""
    return f"{started_us}.{number}"


def place_of(marker: str) -> tuple[int, int]:
    """Give back what `marker_after` was given.

    Raises:
        ValidationError: no listing has handed out this text.
    """
    match = _MARKER.fullmatch(marker)
    if match is None:
        raise ValidationError("Marker", "no listing has returned it")
    return int(match[1]), int(match[2])
