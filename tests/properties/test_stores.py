"""Every store agrees with the model, whatever is done to it in whatever order."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from durably.engine.store import (
    Change,
    KeepClaim,
    Query,
    Store,
    WakeAt,
    WakeUnlessClaimed,
)
from durably.seams import RandomIds
from durably.stores.memory import MemoryStore
from durably.stores.postgres import PostgresStore
from durably.stores.sqlite import SqliteStore
from durably.testing.store_values import SECOND, T0, summary_of
from tests.properties.store_model import Model, outcome

# They are long, and would take more than twice as long if lines were counted.
pytestmark = [pytest.mark.timeout(120), pytest.mark.no_cover]

T = TypeVar("T")

FUNCTIONS = ("f", "g", "it's")
# The last two share a name, so that only one of them can exist.
EXECUTIONS = {
    "f/a": ("f", "a"), "f/b": ("f", "b"), "g/a": ("g", "a"), "it's/a": ("it's", "a"),
    "f/c": ("f", "c"), "another": ("f", "c"),
}  # fmt: skip
NAMES = ("a", "b", "c")
FASTEST = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of its own

arns = st.sampled_from(sorted(EXECUTIONS))
moments = st.integers(0, 8).map(lambda seconds: T0 + seconds * SECOND)
leases = st.integers(1, 4).map(lambda seconds: seconds * SECOND)
workers = st.sampled_from(("w1", "w2"))
limits = st.integers(1, 4)
functions = st.lists(st.sampled_from((*FUNCTIONS, "unknown")), max_size=4)
wakes = st.one_of(
    st.just(KeepClaim()),
    st.builds(WakeAt, moments),
    st.just(WakeAt(None)),
    st.builds(WakeUnlessClaimed, moments),
)
queries = st.builds(
    Query,
    function_name=st.none() | st.sampled_from(FUNCTIONS),
    execution_name=st.none() | st.sampled_from(NAMES),
    statuses=st.lists(st.sampled_from(("RUNNING", "SUCCEEDED", "FAILED")), max_size=2).map(tuple),
    started_after=st.none() | moments,
    started_before=st.none() | moments,
    parent_arn=st.none() | st.just("parent"),
    is_parked=st.none() | st.booleans(),
    oldest_first=st.booleans(),
    limit=limits,
)


@st.composite
def intents(draw: st.DrawFn) -> Callable[[Model], Change]:
    """Draw a change that mostly fits what the model holds when it is made."""
    arn = draw(arns)
    off_by = draw(st.sampled_from((0, 0, 0, 0, 0, 1, -1)))
    facts = tuple(draw(st.lists(st.binary(max_size=3), min_size=1, max_size=3)))
    wake = draw(wakes)
    owns = draw(st.sampled_from((None, None, 0, 0, 1)))
    started_at = draw(moments)
    ends = draw(st.sampled_from((None, None, "SUCCEEDED", "FAILED")))
    reason = draw(st.sampled_from((None, None, "parked")))
    parent = draw(st.sampled_from((None, "parent")))
    delete_at = draw(moments) if ends else None
    callback_ids = tuple(draw(st.lists(st.sampled_from("1234"), max_size=2)))

    def make(model: Model) -> Change:
        execution = model.executions.get(arn)
        function, name = EXECUTIONS[arn]
        summary = (
            execution.summary
            if execution
            else replace(summary_of(name, function, started_at), parent_arn=parent)
        )
        return Change(
            arn=arn,
            expected_version=max(0, (len(execution.facts) if execution else 0) + off_by),
            facts=facts,
            summary=replace(
                summary,
                status=ends or summary.status,
                parked_reason=reason,
                ended_at=delete_at,
                delete_at=delete_at,
            ),
            wake=wake,
            claim_epoch=None if owns is None or not execution else execution.epoch + owns,
            callback_ids=callback_ids,
        )

    return make


class StoreMachine(RuleBasedStateMachine):
    store: Store
    is_shared = False

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.runner = asyncio.Runner()
        self.now = T0

    def make_store(self) -> Store:
        raise NotImplementedError

    @initialize()
    def open(self) -> None:
        self.store = self.make_store()
        self.run(self.store.open())

    def run(self, call: Awaitable[T]) -> T:
        async def wait() -> T:
            return await call

        return self.runner.run(wait())

    def outcomes(self, *calls: Awaitable[object]) -> list[object]:
        async def wait() -> list[object]:
            return await asyncio.gather(*calls, return_exceptions=True)

        return list(map(outcome, self.runner.run(wait())))

    @rule(seconds=st.integers(0, 3))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule(intent=intents())
    def append(self, intent: Callable[[Model], Change]) -> None:
        change = intent(self.model)

        assert self.outcomes(self.store.append([change])) == [self.model.append([change])]

    @rule(several=st.lists(intents(), min_size=2, max_size=3))
    def append_together(self, several: list[Callable[[Model], Change]]) -> None:
        changes = list({c.arn: c for c in (intent(self.model) for intent in several)}.values())

        assert self.outcomes(self.store.append(changes)) == [self.model.append(changes)]

    @rule(several=st.lists(intents(), min_size=2, max_size=6), soon=st.integers(0, 63))
    def append_at_once(self, several: list[Callable[[Model], Change]], soon: int) -> None:
        expected, calls = [], []

        async def hand_in() -> list[object]:
            for number, intent in enumerate(several):
                change = intent(self.model)
                if soon >> number & 1:
                    self.model.append_soon(change)
                    self.store.append_soon(change)
                else:
                    expected.append(self.model.append([change]))
                    calls.append(asyncio.ensure_future(self.store.append([change])))
                    await asyncio.sleep(0)  # it is handed in when its task has begun
            return list(map(outcome, await asyncio.gather(*calls, return_exceptions=True)))

        assert self.run(hand_in()) == expected

    @rule(intent=intents())
    def append_soon(self, intent: Callable[[Model], Change]) -> None:
        change = intent(self.model)

        self.model.append_soon(change)
        self.store.append_soon(change)

    @rule(worker=workers, functions=functions, lease=leases, limit=limits)
    def claim(self, worker: str, functions: list[str], lease: timedelta, limit: int) -> None:
        claims = self.run(self.store.claim(worker, functions, self.now, lease, limit))

        expected = self.model.claim(worker, functions, self.now, lease, limit)
        assert [replace(claim, epoch=0) for claim in claims] == [
            replace(claim, epoch=0) for claim in expected
        ]
        for claim, least in zip(claims, expected, strict=True):  # by how much it grows is open
            assert claim.epoch >= least.epoch
            self.model.executions[claim.arn].epoch = claim.epoch

    @rule(
        worker=workers,
        wanted=st.lists(st.tuples(arns, st.integers(0, 1)), max_size=4),
        until=moments,
    )
    def extend(self, worker: str, wanted: list[tuple[str, int]], until: datetime) -> None:
        executions = self.model.executions
        epochs = [(arn, executions[arn].epoch + n if arn in executions else 1) for arn, n in wanted]

        gone = self.run(self.store.extend(worker, epochs, until))

        assert list(gone) == self.model.extend(worker, epochs, until)

    @rule(arn=arns, off_by=st.sampled_from((0, 0, 1)))
    def delete(self, arn: str, off_by: int) -> None:
        execution = self.model.executions.get(arn)
        version = (len(execution.facts) if execution else 1) + off_by

        assert self.outcomes(self.store.delete(arn, version)) == [self.model.delete(arn, version)]

    @rule(limit=limits)
    def delete_expired(self, limit: int) -> None:
        expired = self.model.expired(self.now)

        deleted = self.run(self.store.delete_expired(self.now, limit))

        assert deleted == min(limit, len(expired))
        gone = {arn for arn in expired if self.run(self.store.find(arn)) is None}
        assert len(gone) == deleted
        self.model.forget(gone)

    @rule(query=queries)
    def list_pages(self, query: Query) -> None:
        pages = [self.run(self.store.list(query))]
        while pages[-1].next_marker is not None:
            query = replace(query, after=pages[-1].next_marker)
            pages.append(self.run(self.store.list(query)))

        assert [one.arn for page in pages for one in page.executions] == self.model.list(query)
        assert all(len(page.executions) == query.limit for page in pages[:-1])

    @rule(functions=functions)
    def next_wake_at(self, functions: list[str]) -> None:
        found = self.run(self.store.next_wake_at(functions))

        assert found == self.model.next_wake_at(functions)

    @rule(limit=st.integers(1, 4))
    def census(self, limit: int) -> None:
        statuses = ["RUNNING", "SUCCEEDED", "FAILED"]

        assert self.run(self.store.census(statuses, limit)) == self.model.census(statuses, limit)

    @rule(callback_id=st.sampled_from("12345"))
    def find_by_callback(self, callback_id: str) -> None:
        found = self.run(self.store.find_by_callback(callback_id))

        assert found == self.model.callbacks.get(callback_id)

    @rule(function=st.sampled_from(FUNCTIONS), name=st.sampled_from(NAMES))
    def find_by_name(self, function: str, name: str) -> None:
        found = self.run(self.store.find_by_name(function, name))

        assert found == self.model.find_by_name(function, name)

    @rule(arn=arns)
    def find(self, arn: str) -> None:
        assert self.run(self.store.find(arn)) == self.model.find(arn)

    @rule()
    def reopen(self) -> None:
        self.run(self.store.close())
        self.run(self.store.open())
        if not self.is_shared:
            self.model.reopen()
        self.model.failed.clear()

    def teardown(self) -> None:
        try:
            for arn in EXECUTIONS:
                assert self.run(self.store.find(arn)) == self.model.find(arn)
        finally:
            self.run(self.store.close())
            self.runner.close()


class MemoryMachine(StoreMachine):
    def make_store(self) -> Store:
        return MemoryStore()


class SqliteMachine(StoreMachine):
    def make_store(self) -> Store:
        self.folder = tempfile.TemporaryDirectory(dir=FASTEST)
        return SqliteStore(Path(self.folder.name) / "durably.db")

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.folder.cleanup()


class PostgresMachine(StoreMachine):
    is_shared = True
    address = ""

    def make_store(self) -> Store:
        return PostgresStore(f"{self.address}&namespace={RandomIds().hex(20)}")


TestMemoryStore = MemoryMachine.TestCase
TestSqliteStore = SqliteMachine.TestCase
TestSqliteStore.settings = settings(stateful_step_count=25)  # opening it is the dear part


def test_the_postgres_store_agrees_with_the_model(address: str) -> None:
    PostgresMachine.address = address
    fewer = settings(stateful_step_count=25, max_examples=settings().max_examples // 5)
    run_state_machine_as_test(PostgresMachine, settings=fewer)  # each has a schema of its own
