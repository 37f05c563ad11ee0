"""What durability cannot be cheaper than, measured beside it."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Self

from benchmarks.functions import plus_one

_ROW_BYTES = 160  # about what the store writes for a step: its start and its result


class BareCommits:
    """A database with the store's pragmas, to which nothing but one small row is written at a time.

    Args:
        path: a file of its own, on the same disk as the store's.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB) STRICT")
        self._body = os.urandom(_ROW_BYTES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def seconds(self, count: int) -> float:
        """Make *count* synced commits; give the seconds for one."""
        began = perf_counter()
        for _ in range(count):
            self._connection.execute("INSERT INTO rows (body) VALUES (?)", (self._body,))
        return (perf_counter() - began) / count


async def bare_loop_seconds(count: int) -> float:
    """Await a coroutine and round-trip its value through JSON, *count* times; give one's time."""
    began = perf_counter()
    for number in range(count):
        json.loads(json.dumps(await plus_one(number)))
    return (perf_counter() - began) / count


def bare_loop(count: int) -> float:
    """Measure the same in an event loop of its own."""
    return asyncio.run(bare_loop_seconds(count))
