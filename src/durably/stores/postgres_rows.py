"""Rows of the PostgreSQL store as values, and queries as statements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from zlib import crc32

import msgspec

from durably.engine.roster import Backlog, Presence, Seen, claim_name
from durably.engine.store import Census, Listed, Query, Stored, Summary
from durably.stores.instants import from_us
from durably.stores.paging import list_parts
from durably.stores.postgres_database import Row

_unpack = msgspec.msgpack.Decoder(list[bytes]).decode


def as_stored(row: Row) -> Stored:
    """Read what `find` gives."""
    listed = as_listed(row)
    epoch, version = row[13:15]
    facts, damage = _facts(version, *(part or () for part in row[15:19]))
    return Stored(
        listed.arn,
        facts,
        listed.summary,
        listed.wake_at,
        epoch if listed.is_claimed else None,
        version,
        damage,
    )


def _facts(
    version: int,
    positions: Sequence[int],
    amounts: Sequence[int],
    checksums: Sequence[int],
    bodies: Sequence[bytes],
) -> tuple[tuple[bytes, ...], str | None]:
    """Give the facts up to the first damage, and what is damaged."""
    facts: list[bytes] = []
    for position, amount, checksum, body in zip(positions, amounts, checksums, bodies, strict=True):
        more = _read(body) if crc32(body) == checksum else ()
        if position != len(facts) or len(more) != amount:
            break
        facts += more
    is_well = len(facts) == version
    return tuple(facts), None if is_well else f"facts from {len(facts)} on are not what was written"


def _read(body: bytes) -> Sequence[bytes]:
    try:
        return _unpack(body)
    except msgspec.DecodeError:
        return ()


def as_listed(row: Row) -> Listed:
    """Read what `list` gives."""
    summary = Summary(
        function_name=row[2],
        execution_name=row[3],
        parent_arn=row[4],
        status=row[5],
        parked_reason=row[6],
        started_at=from_us(row[7]),
        ended_at=from_us_or_none(row[8]),
        delete_at=from_us_or_none(row[9]),
        version=row[12],
    )
    return Listed(row[1], summary, from_us_or_none(row[10]), row[11])


def as_seen(row: Row) -> Seen:
    """Read what `workers` gives."""
    presence = Presence(
        worker=row[0],
        functions=tuple(row[1]),
        max_concurrency=row[2],
        started_at=from_us(row[3]),
        lease=timedelta(microseconds=row[4]),
        is_draining=row[5],
    )
    return Seen(presence=presence, seen_at=from_us(row[6]), is_alive=row[7], held=row[8])


def as_backlog(row: Row) -> Backlog:
    """Read what `backlogs` gives."""
    return Backlog(name=claim_name(row[0], row[1]), due=row[2], due_since=from_us(row[3]))


def as_census(rows: Sequence[Row]) -> Census:
    """Read what `census` gives: the row of no status is about what is parked, and due next."""
    [(parked, wake_at)] = [row[1:] for row in rows if row[0] is None]
    by_status = {status: amount for status, amount, _ in rows if status is not None}
    return Census(by_status=by_status, parked=parked, wake_at=from_us_or_none(wake_at))


def from_us_or_none(microseconds: int | None) -> datetime | None:
    """Read an instant that there may not be."""
    return None if microseconds is None else from_us(microseconds)


def list_statement(text: Callable[..., bytes], query: Query) -> tuple[bytes, dict[str, object]]:
    """Put together the statement that finds what *query* asks for, and give its parameters."""
    statuses = {"statuses": list(query.statuses)} if query.statuses else {}
    parts, parameters = list_parts(query, **statuses)
    return text(*parts), parameters
