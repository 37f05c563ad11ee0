"""The writing half of the SQLite store: what a transaction checks, gathers and writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Any
from zlib import crc32

import msgspec

from durably.engine.store import Change, Claim, Summary, VersionConflict
from durably.stores.admission import check_change, check_names, name_of, wakes
from durably.stores.instants import to_us
from durably.stores.sqlite_statements import Row, Statement, for_rows, statement

# How many executions it remembers between transactions, and functions.
_MAX_HEADS = 2_048
_MAX_FUNCTIONS = 2_048

_pack = msgspec.msgpack.Encoder().encode


@dataclass(slots=True, eq=False)
class _Head:
    """What must be known of an execution to check a change of it.

    Attributes:
        wake_at: in microseconds.
        owner: the worker that has claimed it, if any.
        summary: as it was written last; `None` when this process has not written it.
        gathered: the facts that this transaction adds; `None` before there are any.
    """

    arn: str
    id: int
    function_id: int
    wake_at: int | None
    owner: str | None
    epoch: int
    version: int
    summary: Summary | None = None
    gathered: list[bytes] | None = None


class Ledger:
    """The tables as their one writer sees them. Calls have passed `check_call`.

    The methods that change something check it, remember it and gather its rows; `prepare` runs
    all statements but the last, and `commit` the last one, which makes everything durable. Since
    nobody else writes, what it remembers is what is stored; `abort` forgets all of it.

    It is not safe for two threads at once: whoever holds the turn uses it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._heads: dict[str, _Head] = {}
        self._functions: dict[str, int] = {}
        last_execution, last_function = self._run("last_ids").fetchone()
        self._execution_ids = (last_execution or 0) + 1
        self._function_ids = (last_function or 0) + 1
        self._has_begun = False
        self._last: Statement | None = None
        self._forget_gathered()

    def append(self, changes: Sequence[Change]) -> None:
        """Add all *changes*, or none.

        Raises:
            VersionConflict: one of them came too late.
        """
        if len(changes) > 1:
            check_names(changes)
        heads = [self._admit(change) for change in changes]
        for change, head in zip(changes, heads, strict=True):
            self._add(change, head)

    def claim(
        self, worker: str, functions: Sequence[str], now: datetime, lease: timedelta, limit: int
    ) -> Sequence[Claim]:
        """Claim up to *limit* executions of *functions* that are due by *now*, earliest first."""
        self._write_gathered()
        names = msgspec.json.encode(functions).decode()
        rows = self._run("due", names, to_us(now), limit).fetchall()
        rows.sort(key=lambda row: (row[3], row[1]))
        ends_at = to_us(now + lease)
        claims: list[Claim] = []
        for row in rows[:limit]:
            head = self._heads.get(row[0]) or self._remember(row[:-1])
            is_takeover = head.owner is not None
            head.owner = worker
            head.epoch += 1
            self._wake(head, ends_at)
            claims.append(Claim(head.arn, row[-1], head.epoch, is_takeover))
        return claims

    def extend(
        self, worker: str, epochs: Sequence[tuple[str, int]], until: datetime
    ) -> Sequence[str]:
        """Move the ends of claims; give the arns of those that are gone."""
        until_us = to_us(until)
        gone: list[str] = []
        for arn, epoch in epochs:
            head = self._head(arn)
            if head is None or head.owner != worker or head.epoch != epoch:
                gone.append(arn)
            else:
                self._wake(head, max(head.wake_at or until_us, until_us))
        return gone

    def delete(self, arn: str, expected_version: int) -> None:
        """Remove an execution.

        Raises:
            VersionConflict: it has changed since, or is claimed.
        """
        head = self._head(arn)
        if head is None or head.version != expected_version or head.owner is not None:
            raise VersionConflict(arn)
        self._delete([(arn, head.id)])

    def delete_expired(self, now: datetime, limit: int) -> int:
        """Remove up to *limit* executions whose `delete_at` has come; say how many."""
        self._write_gathered()
        rows = self._run("expired", to_us(now), limit).fetchall()
        if rows:
            self._delete(rows)
        return len(rows)

    def add_key(self, key: bytes) -> None:
        """Make *key* the one that tokens are made with, and keep the one before."""
        self._begin()
        self._run("add_key", key)

    def prepare(self) -> bool:
        """Run every statement but the last; say whether there is a last one."""
        statements = list(self._take_gathered())
        if self._has_begun or len(statements) > 1:
            self._begin()
            for text, parameters in statements:
                self._connection.execute(text, parameters)
            self._last = (statement("commit"), ())
        elif statements:
            self._last = statements[0]  # a transaction by itself
        return self._last is not None

    def commit(self) -> None:
        """Make what was prepared durable."""
        assert self._last is not None, "there is nothing to commit"
        self._connection.execute(*self._last)
        self._last = None
        self._has_begun = False
        if len(self._heads) > _MAX_HEADS:
            _keep_last(self._heads, _MAX_HEADS)
        if len(self._functions) > _MAX_FUNCTIONS:
            _keep_last(self._functions, _MAX_FUNCTIONS)

    @contextmanager
    def within(self, connection: sqlite3.Connection) -> Generator[None]:
        """Use *connection* instead, in the transaction that has begun on it."""
        assert not self._has_begun, "what was done before is committed"
        own, self._connection = self._connection, connection
        self._has_begun = True
        try:
            yield
        finally:
            self._connection, self._has_begun = own, False

    def abort(self) -> None:
        """Undo what was written since the last commit, and forget what is remembered."""
        self._has_begun = False
        self._last = None
        self._heads.clear()
        self._functions.clear()
        self._forget_gathered()
        if self._connection.in_transaction:
            self._connection.rollback()

    def _admit(self, change: Change) -> _Head | None:
        """Give what is known of the execution, `None` if *change* may create it."""
        if not change.expected_version:
            check_change(change, 0, None)
            if self._is_taken(change):
                raise VersionConflict(change.arn)
            return None
        head = self._head(change.arn)
        if head is None:
            raise VersionConflict(change.arn)
        check_change(change, head.version, None if head.owner is None else head.epoch)
        return head

    def _is_taken(self, change: Change) -> bool:
        name = name_of(change)
        return (
            change.arn in self._heads
            or name in self._new_names
            or self._run("taken", change.arn, *name).fetchone() is not None
        )

    def _add(self, change: Change, head: _Head | None) -> None:
        if head is None:
            head = self._create(change)
        elif change.summary is not head.summary and change.summary != head.summary:
            head.summary = change.summary
            self._changed[head.id] = head
            self._is_mere_growth = False
        if change.facts:
            if head.gathered is None:
                head.gathered = list(change.facts)
                self._grown.append((head, head.version))
            else:
                head.gathered += change.facts
            head.version += len(change.facts)
        if change.callback_ids:
            self._callbacks += [(one, head.id) for one in change.callback_ids]
            self._is_mere_growth = False
        if wakes(change.wake, is_claimed=head.owner is not None):
            head.owner = None
            self._wake(head, None if change.wake.at is None else to_us(change.wake.at))

    def _create(self, change: Change) -> _Head:
        summary = change.summary
        function_id = self._function_id(summary.function_name)
        if function_id is None:
            function_id = self._create_function(summary.function_name)
        head = _Head(change.arn, self._execution_ids, function_id, None, None, 0, 0, summary)
        self._execution_ids += 1
        self._heads[change.arn] = head
        self._new_names.add(name_of(change))
        self._created[head.id] = head
        self._is_mere_growth = False
        return head

    def _create_function(self, name: str) -> int:
        self._begin()
        function_id = self._functions[name] = self._function_ids
        self._function_ids += 1
        self._run("insert_function", function_id, name)
        return function_id

    def _function_id(self, name: str) -> int | None:
        function_id = self._functions.get(name)
        if function_id is None:
            row = self._run("function_id", name).fetchone()
            if row is None:
                return None
            function_id = self._functions[name] = row[0]
        return function_id

    def _head(self, arn: str) -> _Head | None:
        head = self._heads.get(arn)
        if head is None:
            row = self._run("head", arn).fetchone()
            return None if row is None else self._remember(row)
        return head

    def _remember(self, row: Row) -> _Head:
        head = self._heads[row[0]] = _Head(*row)
        return head

    def _wake(self, head: _Head, at: int | None) -> None:
        head.wake_at = at
        self._woken[head.id] = head
        self._is_mere_growth = False

    def _delete(self, rows: Sequence[Row]) -> None:
        """Remove executions, given as (arn, id)."""
        self._write_gathered()
        self._begin()
        ids = msgspec.json.encode([row[1] for row in rows]).decode()
        for name in ("delete_facts", "delete_callbacks", "delete_executions"):
            self._run(name, ids)
        for row in rows:
            self._heads.pop(row[0], None)

    def _write_gathered(self) -> None:
        """Let the statements that follow see what was gathered."""
        for text, parameters in self._take_gathered():
            self._begin()
            self._connection.execute(text, parameters)

    def _forget_gathered(self) -> None:
        self._is_mere_growth = True
        self._grown: list[tuple[_Head, int]] = []
        self._created: dict[int, _Head] = {}
        self._changed: dict[int, _Head] = {}
        self._woken: dict[int, _Head] = {}
        self._callbacks: list[Row] = []
        self._new_names: set[tuple[str, str]] = set()

    def _take_gathered(self) -> Iterator[Statement]:
        grown = self._grown
        if grown:
            self._grown = []
        if self._is_mere_growth:
            return for_rows("insert_facts", [_facts_row(head, at) for head, at in grown])
        created, changed, woken = self._created, self._changed, self._woken
        callbacks = self._callbacks
        self._forget_gathered()
        changed = {key: changed[key] for key in changed.keys() - created}
        woken = {key: woken[key] for key in woken.keys() - created}
        return chain(
            for_rows("insert_executions", [_execution_row(head) for head in created.values()]),
            for_rows("insert_facts", [_facts_row(head, at) for head, at in grown]),
            for_rows("insert_callbacks", callbacks),
            for_rows("update_summaries", [_summary_row(head) for head in changed.values()]),
            for_rows("update_wakes", [_wake_row(head) for head in woken.values()]),
        )

    def _begin(self) -> None:
        if not self._has_begun:
            self._run("begin")
            self._has_begun = True

    def _run(self, name: str, *parameters: object) -> sqlite3.Cursor:
        return self._connection.execute(statement(name), parameters)


def _execution_row(head: _Head) -> Row:
    summary = head.summary
    assert summary is not None, "whoever created it has its summary"
    return (
        head.id,
        head.arn,
        head.function_id,
        summary.execution_name,
        summary.parent_arn,
        summary.status,
        summary.parked_reason,
        to_us(summary.started_at),
        _us_or_none(summary.ended_at),
        _us_or_none(summary.delete_at),
        head.wake_at,
        head.owner,
        head.epoch,
    )


def _summary_row(head: _Head) -> Row:
    summary = head.summary
    assert summary is not None, "a changed summary is known"
    ended_at, delete_at = _us_or_none(summary.ended_at), _us_or_none(summary.delete_at)
    return (head.id, summary.status, summary.parked_reason, ended_at, delete_at)


def _wake_row(head: _Head) -> Row:
    return (head.id, head.wake_at, head.owner, head.epoch)


def _facts_row(head: _Head, position: int) -> Row:
    facts, head.gathered = head.gathered, None
    assert facts is not None, "it is among those that have grown"
    body = _pack(facts)
    return (head.id, position, len(facts), crc32(body), body)


def _us_or_none(at: datetime | None) -> int | None:
    return None if at is None else to_us(at)


def _keep_last(entries: dict[str, Any], amount: int) -> None:
    for key in list(islice(entries, len(entries) - amount)):
        del entries[key]
