"""What defects seen in other systems would break in the service half; see `test_planted_sdk`."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from durably import DurableContext, durable_execution
from durably.app.engine import Engine
from durably.clients.embedded import EmbeddedClient
from durably.engine.policy import DispatcherPolicy
from durably.engine.store import Change
from durably.errors import StoreError
from durably.stores.memory import MemoryStore
from durably.stores.sqlite import SqliteStore
from durably.stores.sqlite_ledger import Ledger
from durably.testing.store_values import change, creation, facts_of
from durably.wire.invocation import InvocationInput, InvocationOutput, InvocationStatus
from tests.unit.engine.shell import LEASE, Bench, run


def stored_versions(path: Path) -> dict[str, int]:
    """Say what another process would find: the executions, and how many facts each has."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        rows = connection.execute(
            "SELECT arn, sum(amount) FROM executions JOIN facts ON execution_id = executions.id "
            "GROUP BY arn"
        )
        return dict(rows.fetchall())


@pytest.mark.parametrize("slow", [-1.0, 1e9], ids=["thread", "loop"])
def test_what_is_acknowledged_is_on_the_disk_for_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: float
) -> None:
    path = tmp_path / "durably.db"
    monkeypatch.setattr("durably.stores.sqlite_writer._SLOW_COMMIT_SECONDS", slow)
    slow_down_commits(monkeypatch)

    async def main() -> None:
        store = SqliteStore(path)
        await store.open()
        for number in range(5):
            names = [f"{number}-{place}" for place in range(3)]
            await asyncio.gather(*(store.append([creation(name, b"0")]) for name in names))
            found = stored_versions(path)
            assert all(f"f/{name}" in found for name in names)
        await store.close()

    asyncio.run(main())


def slow_down_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    commit = Ledger.commit

    def slow_commit(self: Ledger) -> None:
        threading.Event().wait(0.01)
        commit(self)

    monkeypatch.setattr(Ledger, "commit", slow_commit)


@pytest.mark.parametrize("slow", [-1.0, 1e9], ids=["thread", "loop"])
def test_a_commit_that_failed_is_never_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: float
) -> None:
    """After a failed sync nobody knows what is on the disk; a second one may lie (fsyncgate)."""
    monkeypatch.setattr("durably.stores.sqlite_writer._SLOW_COMMIT_SECONDS", slow)
    commit = Ledger.commit
    failures = iter([True])

    def failing_commit(self: Ledger) -> None:
        if next(failures, False):
            raise sqlite3.OperationalError("disk I/O error")
        commit(self)

    async def main() -> None:
        store = SqliteStore(tmp_path / "durably.db")
        await store.open()
        await store.append([creation("a", b"0")])
        monkeypatch.setattr(Ledger, "commit", failing_commit)
        with pytest.raises(StoreError):
            await store.append([change("a", 1, b"1")])
        assert await facts_of(store, "f/a") == (b"0",)
        await store.append([change("a", 1, b"again")])
        assert await facts_of(store, "f/a") == (b"0", b"again")
        await store.close()

    asyncio.run(main())


@durable_execution
async def called(_: Any, ctx: DurableContext) -> str:
    return "done"


@durable_execution
async def calling(_: Any, ctx: DurableContext) -> str:
    return str(await ctx.invoke("call", "called"))


def test_a_call_and_its_child_are_stored_together(monkeypatch: pytest.MonkeyPatch) -> None:
    appended: list[list[Change]] = []
    append = MemoryStore.append

    async def noting(self: MemoryStore, changes: Any) -> None:
        appended.append(list(changes))
        await append(self, changes)

    async def main() -> str:
        async with Engine("memory:", [called, calling]) as engine:
            monkeypatch.setattr(MemoryStore, "append", noting)
            result: str = await (await engine.start(calling)).result()
        return result

    assert asyncio.run(main()) == "done"
    together = [[one.summary.function_name for one in call] for call in appended if len(call) > 1]
    assert together == [["calling", "called"], ["called", "calling"]]


def test_a_lease_ends_by_the_clock_of_the_service_and_no_other() -> None:
    async def long(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        await asyncio.sleep(3 * LEASE.total_seconds())
        return InvocationOutput(status=InvocationStatus.SUCCEEDED, result="1")

    async def main() -> None:
        async with Bench({"f": long}) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()
            for _ in range(5):
                await asyncio.sleep(LEASE.total_seconds() / 2)
                stored = await bench.store.find(arn)
                assert stored is not None
                assert stored.wake_at is not None
                left = stored.wake_at - bench.clock.now()
                assert LEASE / 2 <= left <= LEASE
            await bench.service.wait_closed(arn)
            await dispatcher.drain()
            await work

    run(main)


def test_work_that_nobody_told_of_is_found_within_a_poll() -> None:
    async def short(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        return InvocationOutput(status=InvocationStatus.SUCCEEDED, result="1")

    async def main() -> None:
        policy = DispatcherPolicy(poll_interval=timedelta(seconds=1))
        here = Bench({"f": short}, worker_policy=policy)
        async with here as bench, Bench(store=bench.store) as elsewhere:
            dispatcher, work = bench.work()
            await asyncio.sleep(5)
            arn = await elsewhere.start()
            await asyncio.sleep(1.5)
            found = await elsewhere.service.get(arn)
            await dispatcher.drain()
            await work
            assert found.result == "1"

    run(main)
