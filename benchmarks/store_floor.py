"""What the stores cost beside what the disk costs.

`python -m benchmarks.store_floor [FOLDER]` measures in a new folder inside FOLDER, by default the
one for temporary files; it must be on the disk that is meant. Figures of one run belong together:
what is compared is measured in turns, and medians are given.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from durably.engine.store import Change, Store, WakeAt
from durably.stores.memory import MemoryStore
from durably.stores.sqlite import SqliteStore
from durably.testing.store_values import LEASE, SECOND, T0, change, claim_at, creation

FACT = bytes(180)
ROUNDS = 3_000
GROUP = 100
SLEEPING = 100_000

clock = time.perf_counter


def main() -> None:
    """Measure everything, and print it line by line."""
    inside = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=inside) as folder:
        asyncio.run(measure_lone_appends(Path(folder)))
        measure_group_floor(Path(folder))
        for busy in (0, 20, 40):
            asyncio.run(measure_groups(Path(folder) / f"groups{busy}.db", busy))
        asyncio.run(measure_pairs(Path(folder) / "pairs.db"))
        asyncio.run(measure_memory())
        asyncio.run(measure_sleeping(Path(folder) / "sleeping.db"))


def tell(what: str, figure: float, unit: str, remark: str = "") -> None:
    """Print one line."""
    print(f"{what:<58} {figure:>10,.1f} {unit:<6} {remark}".rstrip())


def bare_database(path: Path) -> sqlite3.Connection:
    """Open what a durable program without any library would have."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB NOT NULL)")
    return connection


async def measure_lone_appends(folder: Path) -> None:
    """Compare one append, and a soon one with the append after it, with one synced commit."""
    bare = bare_database(folder / "bare.db")
    alone, pair = (SqliteStore(folder / f"{name}.db") for name in ("alone", "pair"))
    for store in (alone, pair):
        await store.open()
        await store.append([creation("a", FACT)])
    rounds = [await one_round(bare, alone, pair, number) for number in range(2 * ROUNDS)]
    for store in (alone, pair):
        await store.close()
    bare.close()
    # The first half has let the logs reach their size.
    floor, *figures = map(median, zip(*rounds[ROUNDS:], strict=True))
    tell("a bare synced commit of one row", floor * 1e6, "µs")
    for what, figure in zip(("a lone append", "append_soon, then append"), figures, strict=True):
        tell(what, figure * 1e6, "µs", f"{figure / floor:.2f} times a bare commit")


async def one_round(
    bare: sqlite3.Connection, alone: Store, pair: Store, number: int
) -> tuple[float, float, float]:
    """Give the seconds of a bare commit, an append, and a soon one with the append after it."""
    lone = [change("a", 1 + number, FACT)]
    soon, after = change("a", 1 + 2 * number, FACT), [change("a", 2 + 2 * number, FACT)]
    moments = [clock()]
    bare.execute("INSERT INTO rows (body) VALUES (?)", (FACT,))
    moments.append(clock())
    await alone.append(lone)
    moments.append(clock())
    pair.append_soon(soon)
    await pair.append(after)
    moments.append(clock())
    await asyncio.sleep(0)
    first, second, third, fourth = moments
    return second - first, third - second, fourth - third


def measure_group_floor(folder: Path) -> None:
    """Say how many rows a bare writer syncs in a second, a hundred in each commit."""
    bare = bare_database(folder / "bare_groups.db")
    began = clock()
    for _ in range(300):
        bare.execute("BEGIN IMMEDIATE")
        bare.executemany("INSERT INTO rows (body) VALUES (?)", [(FACT,)] * GROUP)
        bare.execute("COMMIT")
    tell(f"a bare writer, {GROUP} rows a commit", 300 * GROUP / (clock() - began), "/s")
    bare.close()


async def measure_groups(path: Path, busy_us: int) -> None:
    """Let a hundred executions append at once while the event loop also computes."""

    async def run(store: Store, name: str) -> None:
        await store.append([creation(name, FACT)])
        for version in range(1, 200):
            compute(busy_us)
            await store.append([change(name, version, FACT)])

    seconds = await run_all(path, run)
    what = f"appends of {GROUP} executions, {busy_us} µs of Python before each"
    tell(what, GROUP * 200 / seconds, "/s")


async def measure_pairs(path: Path) -> None:
    """Let a hundred executions do steps: a START that is written soon, then the end."""

    async def run(store: Store, name: str) -> None:
        await store.append([creation(name, FACT)])
        for version in range(1, 200, 2):
            store.append_soon(change(name, version, FACT))
            await store.append([change(name, version + 1, FACT)])

    seconds = await run_all(path, run)
    tell(f"pairs of append_soon and append, {GROUP} executions", GROUP * 100 / seconds, "/s")


async def run_all(path: Path, run: Callable[[Store, str], Awaitable[None]]) -> float:
    """Give the seconds that a hundred executions take together."""
    store = SqliteStore(path)
    await store.open()
    began = clock()
    await asyncio.gather(*(run(store, str(number)) for number in range(GROUP)))
    seconds = clock() - began
    await store.close()
    return seconds


def compute(microseconds: int) -> None:
    """Keep the interpreter busy."""
    until = clock() + microseconds / 1e6
    while clock() < until:
        pass


async def measure_memory() -> None:
    """Say what the memory store costs, and what sleeping costs in it."""
    store = MemoryStore()
    await store.append([creation("a", FACT)])
    changes = [[change("a", version, FACT)] for version in range(1, 50_000)]
    began = clock()
    for new in changes:
        await store.append(new)
    tell("an append in the memory store", (clock() - began) / len(changes) * 1e6, "µs")
    del changes
    used = memory_bytes()
    await fill(store)
    each = (memory_bytes() - used) / SLEEPING
    tell(
        f"memory for {SLEEPING:,} sleeping executions", each * SLEEPING / 1e6, "MB", "memory store"
    )


async def measure_sleeping(path: Path) -> None:
    """Say what claiming costs with few and with many executions asleep, and what they cost."""
    store = SqliteStore(path)
    await store.open()
    few = await claim_seconds(store, "few")
    used = memory_bytes()
    await fill(store)
    used = memory_bytes() - used
    many = await claim_seconds(store, "many")
    await store.close()
    tell(f"memory for {SLEEPING:,} sleeping executions", used / 1e6, "MB", "SQLite")
    tell("their file", file_bytes(path) / 1e6, "MB")
    tell("a claim of one execution, few asleep", few * 1e6, "µs")
    tell(f"a claim of one execution, {SLEEPING:,} asleep", many * 1e6, "µs")


async def fill(store: Store) -> None:
    """Put executions of three facts to sleep."""
    for start in range(0, SLEEPING, 1_000):
        numbers = range(start, start + 1_000)
        await asyncio.gather(*(store.append([sleeping(number)]) for number in numbers))


def sleeping(number: int) -> Change:
    """Give an execution as it is stored in life: a long ARN, three facts, a timer."""
    wake = WakeAt(T0 + (3_600 + number % 1_000_000) * SECOND)
    new = creation(f"order-{number}", FACT, FACT[:90], FACT[:60], wake=wake)
    prefix = "arn:aws:lambda:local:000000000000:function:f:$LATEST/durable-execution"
    return replace(new, arn=f"{prefix}/{number}/{number:036}")


async def claim_seconds(store: Store, prefix: str) -> float:
    """Give the median of claiming the one execution that is due."""
    seconds = []
    for number in range(300):
        name = f"{prefix}{number}"
        await store.append([creation(name, FACT, wake=WakeAt(T0))])
        began = clock()
        claims = await claim_at(store, T0 + LEASE)
        seconds.append(clock() - began)
        assert len(claims) == 1
        await store.append([change(name, 1, FACT, wake=WakeAt(None))])
    return median(seconds)


def file_bytes(path: Path) -> int:
    """Give the size of a closed store."""
    return path.stat().st_size


def memory_bytes() -> int:
    """Give the resident size of this process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
