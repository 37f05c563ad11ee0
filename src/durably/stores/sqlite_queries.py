"""The reading half of the SQLite store. What it sees is durable."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zlib import crc32

import msgspec

from durably.engine.store import Census, Listed, Page, Query, Stored, Summary
from durably.errors import StoreCorruptedError
from durably.stores.instants import from_us
from durably.stores.paging import list_parts, marker_after
from durably.stores.sqlite_statements import Row, statement

_unpack = msgspec.msgpack.Decoder(list[bytes]).decode


class Queries:
    """Answers from a connection of its own, so that no reader waits for a writer."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def keys(self) -> tuple[bytes, ...]:
        """Give the keys that tokens are made with, newest first."""
        row = self._connection.execute(statement("load_keys")).fetchone()
        if row is None:
            raise StoreCorruptedError(f"{self._path} has no key")
        return tuple(key for key in row if key is not None)

    def next_wake_at(self, functions: Sequence[str]) -> datetime | None:
        """Give the earliest time at which an execution of *functions* is due."""
        row = self._first("next_wake_at", msgspec.json.encode(functions).decode())
        return None if row is None or row[0] is None else from_us(row[0])

    def find(self, arn: str) -> Stored | None:
        """Load an execution with all its facts."""
        self._connection.execute("BEGIN")  # both queries see the same moment
        try:
            row = self._first("find", arn)
            if row is None:
                return None
            facts, version, damage = self._facts(row[0])
        finally:
            self._connection.rollback()
        listed = _listed(row)
        epoch = row[12] if listed.is_claimed else None
        return Stored(arn, facts, listed.summary, listed.wake_at, epoch, version, damage)

    def find_by_name(self, function_name: str, execution_name: str) -> str | None:
        """Give the arn of the execution of this name."""
        row = self._first("find_by_name", function_name, execution_name)
        return None if row is None else row[0]

    def find_by_callback(self, callback_id: str) -> str | None:
        """Give the arn of the execution that has this callback."""
        row = self._first("find_by_callback", callback_id)
        return None if row is None else row[0]

    def list(self, query: Query) -> Page:
        """Give one page of executions."""
        text, parameters = _list_statement(query)
        rows = self._connection.execute(text, parameters).fetchall()
        found = rows[: query.limit]
        has_more = len(rows) > len(found) > 0
        marker = marker_after(found[-1][7], found[-1][0]) if has_more else None
        return Page(tuple(map(_listed, found)), marker)

    def census(self, statuses: Sequence[str], limit: int) -> Census:
        """Count executions, and say when the earliest is due."""
        asked = {"statuses": msgspec.json.encode(statuses).decode(), "limit": limit}
        rows = self._connection.execute(statement("census"), asked).fetchall()
        [(parked, wake_at)] = [row[1:] for row in rows if row[0] is None]
        by_status = {status: amount for status, amount, _ in rows if status is not None}
        return Census(by_status=by_status, parked=parked, wake_at=_from_us_or_none(wake_at))

    def _facts(self, execution_id: int) -> tuple[tuple[bytes, ...], int, str | None]:
        """Give the facts up to the first damage, how many were written, and what is damaged.

        As in the statement `head`, the last row says how many there are; no row at all stands
        for the one fact that every execution begins with.
        """
        facts: list[bytes] = []
        version, is_damaged = 0, False
        rows = self._connection.execute(statement("find_facts"), (execution_id,))
        for position, amount, checksum, body in rows:
            more = _read(body) if crc32(body) == checksum else ()
            is_damaged |= position != version or len(more) != amount or not amount
            if not is_damaged:
                facts += more
            version = position + amount
        version = version or 1
        is_well = len(facts) == version
        damage = None if is_well else f"facts from {len(facts)} on are not what was written"
        return tuple(facts), version, damage

    def _first(self, name: str, *parameters: str) -> Row | None:
        row: Row | None = self._connection.execute(statement(name), parameters).fetchone()
        return row


def _read(body: bytes) -> Sequence[bytes]:
    try:
        return _unpack(body)
    except msgspec.DecodeError:
        return ()


def _list_statement(query: Query) -> tuple[str, dict[str, object]]:
    statuses: dict[str, object] = {}
    if len(query.statuses) == 1:
        statuses["status"] = query.statuses[0]
    elif query.statuses:
        statuses["statuses"] = msgspec.json.encode(query.statuses).decode()
    parts, parameters = list_parts(query, **statuses)
    return "\n".join(map(statement, parts)), parameters


def _listed(row: Row) -> Listed:
    summary = Summary(
        function_name=row[2],
        execution_name=row[3],
        parent_arn=row[4],
        status=row[5],
        parked_reason=row[6],
        started_at=from_us(row[7]),
        ended_at=_from_us_or_none(row[8]),
        delete_at=_from_us_or_none(row[9]),
    )
    return Listed(row[1], summary, _from_us_or_none(row[10]), row[11] is not None)


def _from_us_or_none(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else from_us(microseconds)
