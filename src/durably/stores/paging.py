"""What a listing asks of a database, and where a page of it ends, as text to hand back."""

from __future__ import annotations

import re

from durably.engine.store import Query
from durably.errors import ValidationError
from durably.stores.instants import to_us

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


def list_parts(query: Query, **statuses: object) -> tuple[list[str], dict[str, object]]:
    """Name the parts of the statement that finds what *query* asks for, and give its parameters.

    Args:
        query: what is asked for.
        statuses: the parameters that say which statuses are wanted: each has a part of its name.
    """
    parameters: dict[str, object] = {"limit": query.limit + 1, **statuses}
    for name in ("function_name", "execution_name", "parent_arn"):
        value = getattr(query, name)
        if value is not None:
            parameters[name] = value
    for name in ("started_after", "started_before"):
        at = getattr(query, name)
        if at is not None:
            parameters[name] = to_us(at)
    parts = ["list", *(f"list_{name}" for name in parameters if name != "limit")]
    if query.is_parked is not None:
        parts.append("list_parked" if query.is_parked else "list_not_parked")
    if query.after is not None:
        parts.append("list_newer" if query.oldest_first else "list_older")
        parameters["after_start"], parameters["after_id"] = place_of(query.after)
    parts.append("list_oldest_first" if query.oldest_first else "list_newest_first")
    return parts, parameters
