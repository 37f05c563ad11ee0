"""Rows of the PostgreSQL store as values, queries as statements, and changes as parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zlib import crc32

import msgspec

from durably.engine.roster import Backlog, Presence, Seen, claim_name
from durably.engine.store import (
    Census,
    Change,
    KeepClaim,
    Listed,
    Query,
    Stored,
    Summary,
    WakeAt,
    WakeUnlessClaimed,
)
from durably.stores.instants import from_us, to_us
from durably.stores.paging import list_parts
from durably.stores.postgres_database import Row

if TYPE_CHECKING:
    from psycopg import sql

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


def list_statement(
    text: Callable[..., sql.Composed], query: Query
) -> tuple[sql.Composed, dict[str, object]]:
    """Put together the statement that finds what *query* asks for, and give its parameters."""
    statuses = {"statuses": list(query.statuses)} if query.statuses else {}
    parts, parameters = list_parts(query, **statuses)
    return text(*parts), parameters


def change_as_json(change: Change, body: bytes) -> dict[str, object]:
    """Write a change, whose facts are packed in *body*, as `append` reads it."""
    summary, wake = change.summary, change.wake
    reason = summary.parked_reason
    return {
        "arn": change.arn,
        "version": change.expected_version,
        "epoch": change.claim_epoch,
        "amount": len(change.facts),
        "checksum": crc32(body),
        "wake": _WAKES[type(wake)],
        "wake_at": None if isinstance(wake, KeepClaim) or wake.at is None else to_us(wake.at),
        "function": summary.function_name,
        "of_version": summary.version,
        "name": summary.execution_name,
        "parent": summary.parent_arn,
        "status": summary.status,
        "parked": None if reason is None else reason.replace("\x00", "\ufffd"),
        "started_at": to_us(summary.started_at),
        "ended_at": None if summary.ended_at is None else to_us(summary.ended_at),
        "delete_at": None if summary.delete_at is None else to_us(summary.delete_at),
        "callbacks": change.callback_ids or None,
    }


_WAKES: dict[type, str] = {KeepClaim: "keep", WakeAt: "at", WakeUnlessClaimed: "unless claimed"}
