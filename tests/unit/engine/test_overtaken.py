"""Several services on one store: what one knows may be behind what another has recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from durably.engine.rules import INVALID_TOKEN
from durably.engine.sessions import Session
from durably.engine.store import Change, Stored
from durably.errors import InvalidParameterValueException, StoreError
from durably.wire.operation import Operation, OperationStatus
from durably.wire.update import OperationAction
from tests.unit.engine.shell import Bench, FailingStore, SteppedStore, run
from tests.unit.engine.support import (
    ERROR,
    PENDING,
    callback,
    context,
    invoke,
    request,
    step,
    succeeded,
    wait,
)
from tests.unit.engine.test_sessions import answer, ids, noting
from tests.unit.engine.test_shared import SHARED, SharedStore, two_services

SUCCEED = OperationAction.SUCCEED
STARTED, STOPPED = OperationStatus.STARTED, OperationStatus.STOPPED


def statuses(told: list[OperationStatus]) -> Callable[[Sequence[Operation]], bool]:
    """Give a listener that writes down what has become of the invoke."""

    def listener(operations: Sequence[Operation]) -> bool:
        told.extend(one.status for one in operations if one.id == "i")
        return True

    return listener


# What is not known here


def test_an_invoke_that_another_process_recorded_is_completed_by_the_end_of_its_child() -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            arn, session = await here.running()
            await session.make_known()
            session.hand_out()

            await there.service.checkpoint(request(arn, session.token, invoke()))
            child = await here.begin("g")  # where the state of the parent is from before that
            await child.end(succeeded("7"))

            assert (await there.operation(arn, "i")).status is OperationStatus.SUCCEEDED

    run(main)


def test_a_child_whose_parent_is_gone_ends_all_the_same() -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            arn, session = await here.running(invoke())
            child = await there.begin("g")
            await session.end(PENDING)
            await here.service.stop(arn)
            await here.service.delete(arn)

            await child.end(succeeded("7"))

            assert (await there.service.get(child.arn)).result == "7"

    run(main)


async def asked_before(here: Bench, arn: str, session: Session) -> str:
    """Have a checkpoint accepted *here*, whose reply gets lost; give its client token."""
    await session.make_known()
    session.hand_out()
    await here.service.checkpoint(request(arn, session.token, step(), client_token="c"))
    return "c"


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_checkpoint_is_not_repeated_after_a_stop_elsewhere(
    is_deleted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            arn, session = await here.running()
            client_token = await asked_before(here, arn, session)

            await there.service.stop(arn)
            if is_deleted:
                await there.service.delete(arn)

            again = request(arn, session.token, step(), client_token=client_token)
            with pytest.raises(InvalidParameterValueException, match=INVALID_TOKEN):
                await here.service.checkpoint(again)

    run(main)


def test_a_checkpoint_is_repeated_as_long_as_its_invocation_runs() -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            arn, session = await here.running()
            client_token = await asked_before(here, arn, session)

            again = request(arn, session.token, step(), client_token=client_token)
            for bench in (here, there):
                reply = await bench.service.checkpoint(again)
                assert ids(reply.new_execution_state.operations) == ["s"]

    run(main)


# What was never written


def test_nothing_is_told_that_was_refused() -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            arn, session = await here.running(invoke())
            child = await here.begin("g")
            told: list[OperationStatus] = []
            session.listen(statuses(told))

            await there.service.stop(child.arn)  # completes the invoke as well
            await child.end(succeeded("7"))  # decided on what is known here, and refused
            await session.checkpoint((callback(),))

            assert (await there.operation(arn, "i")).status is STOPPED
            assert set(told) == {STOPPED}

    run(main)


def test_what_was_written_is_told_though_what_came_after_it_was_refused() -> None:
    async def main() -> None:
        store = SteppedStore()
        async with Bench(store=store, policy=SHARED) as bench:
            arn, session = await bench.running(step())
            told: list[list[str]] = []
            session.listen(noting(told))
            gates = store.gates = []

            first = asyncio.create_task(session.checkpoint((step(action=SUCCEED, payload="1"),)))
            await _refuse(store, gates, 0)  # it is decided anew
            await _until(lambda: len(gates) == 2)
            second = asyncio.create_task(session.checkpoint((step("t"),)))
            gates[1].set_result(None)
            await _refuse(store, gates, 2)
            await _until(lambda: len(gates) == 4)
            gates[3].set_result(None)
            replies = [await first, await second]

            assert (await bench.operation(arn, "s")).status is OperationStatus.SUCCEEDED
            known = told + [ids(one.new_execution_state.operations) for one in replies]
            assert "s" in known[0]
            assert {"s", "t"} <= {one for some in known for one in some}

    run(main)


def test_what_is_being_written_is_not_told_with_what_is_said_again() -> None:
    async def main() -> None:
        store = SteppedStore()
        async with Bench(store=store, policy=SHARED) as bench:
            arn, session = await bench.running(callback())
            told: list[list[str]] = []
            session.listen(noting(told))
            gates = store.gates = []

            said = asyncio.create_task(session.checkpoint((step(),)))
            await _refuse(store, gates, 0)
            await _until(lambda: len(gates) == 2)  # it is said again
            answered = asyncio.create_task(answer(bench, arn, "cb"))
            await _until(lambda: len(gates) == 3)
            gates[1].set_result(None)
            for _ in range(20):
                await asyncio.sleep(0)

            assert "cb" not in [one for some in told for one in some]
            gates[2].set_result(None)
            await answered
            await said
            assert "cb" in [one for some in told for one in some]

    run(main)


def test_nothing_that_is_being_written_is_told_before_a_reply() -> None:
    async def main() -> None:
        store = SteppedStore()
        async with Bench(store=store, policy=SHARED) as bench:
            arn, session = await bench.running(callback())
            answers: list[asyncio.Task[None]] = []
            told: list[str] = []

            def listener(operations: Sequence[Operation]) -> bool:
                told.extend(ids(operations))
                if not answers:
                    answers.append(asyncio.create_task(answer(bench, arn, "cb")))
                return True

            session.listen(listener)
            gates = store.gates = []
            said = [asyncio.create_task(session.checkpoint((step(one),))) for one in ("s", "t")]
            await _refuse(store, gates, 0)
            await _refuse(store, gates, 1)
            for number in (2, 3):  # both are said again
                await _until(lambda number=number: len(gates) > number)  # type: ignore[misc]
                gates[number].set_result(None)
            await _until(lambda: len(gates) == 5)
            for _ in range(20):
                await asyncio.sleep(0)

            assert "cb" not in told
            gates[4].set_result(None)
            await asyncio.gather(*said, *answers)
            assert "cb" in told

    run(main)


def test_nothing_is_said_again_while_nobody_knows_whether_it_is_written() -> None:
    async def main() -> None:
        store = LateStore()
        async with Bench(store=store, policy=SHARED) as bench:
            _, session = await bench.running(step())
            told: list[list[str]] = []
            session.listen(noting(told))
            late = store.late = asyncio.get_running_loop().create_future()

            first = asyncio.create_task(session.checkpoint((step(action=SUCCEED, payload="1"),)))
            await _until(lambda: store.late is None)  # it is written, and nobody knows
            gates = store.gates = []
            second = asyncio.create_task(session.checkpoint((step("t"),)))
            await _refuse(store, gates, 0)
            for _ in range(20):
                await asyncio.sleep(0)

            assert len(gates) == 1
            late.set_result(None)
            assert ids((await first).new_execution_state.operations) == ["s"]
            await _until(lambda: len(gates) == 2)  # only the second
            gates[1].set_result(None)
            told.append(ids((await second).new_execution_state.operations))
            assert "t" in {one for some in told for one in some}

    run(main)


def test_whoever_begins_to_listen_hears_nothing_that_was_refused() -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            _, session = await here.running(invoke())
            child = await here.begin("g")
            told: list[OperationStatus] = []

            await there.service.stop(child.arn)
            await child.end(succeeded("7"))
            session.listen(statuses(told))
            await session.checkpoint((callback(),))

            assert set(told) == {STOPPED}

    run(main)


@pytest.mark.parametrize("is_posted", [False, True])
def test_what_is_said_meanwhile_comes_after_what_is_said_again(
    is_posted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def main() -> None:
        store = SteppedStore()
        async with Bench(store=store, policy=SHARED) as bench:
            arn, session = await bench.running()
            gates = store.gates = []
            first = asyncio.create_task(session.checkpoint((step(),)))
            await _until(lambda: len(gates) == 1)
            session.post(context())
            await _refuse(store, gates, 0)
            await _until(lambda: len(gates) == 2)  # it is said again, and the context after it

            if is_posted:
                session.post(step("t", parent_id="c"))
            last = step("u", parent_id="c")
            second = asyncio.create_task(session.checkpoint((last,)))
            await _open_all(gates, first, second)

            known = {one.id: one for one in await bench.service.operations(arn)}
            assert {"s", "c", "u"} <= known.keys()
            assert ("t" in known) is is_posted

    run(main)


@pytest.mark.parametrize("is_written", [False, True])
def test_what_was_said_is_said_again_though_one_who_did_was_cancelled(
    is_written: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    async def main() -> None:
        store = LateStore()
        async with Bench(store=store, policy=SHARED) as bench:
            arn, session = await bench.running()
            gates = store.gates = []
            first = asyncio.create_task(session.checkpoint((step(),)))
            await _until(lambda: len(gates) == 1)
            session.post(context())
            await _refuse(store, gates, 0)
            await _until(lambda: len(gates) == 2)
            gates[1].set_result(None)  # what was posted was refused: that is told here
            await _until(lambda: len(gates) == 3)

            if is_written:
                store.late = asyncio.get_running_loop().create_future()  # no answer ever comes
                gates[2].set_result(None)
                await _until(lambda: store.late is None)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            await _open_all(gates, asyncio.create_task(session.checkpoint((step("t"),))))

            assert (await bench.operation(arn, "c")).status is STARTED

    run(main)


async def _open_all(gates: list[asyncio.Future[None]], *tasks: asyncio.Task[Any]) -> None:
    """Let everything be written until *tasks* have ended, and raise what they raise."""
    while not all(task.done() for task in tasks):
        for gate in gates:
            if not gate.done():
                gate.set_result(None)
        await asyncio.wait(tasks, timeout=1)
    await asyncio.gather(*tasks)


class LateStore(SteppedStore):
    """Once it has *late*, the answer to the next write waits for that."""

    late: asyncio.Future[None] | None = None

    async def append(self, changes: Sequence[Change]) -> None:
        await super().append(changes)
        late, self.late = self.late, None
        if late is not None:
            await late


def test_what_cannot_be_said_again_is_not_called_refused() -> None:
    async def main() -> None:
        store = UnreadableStore()
        async with Bench(store=store, policy=SHARED) as bench:
            arn, session = await bench.running()
            store.conflicts = 1
            store.is_readable = False

            with pytest.raises(StoreError):
                await session.checkpoint((step(),))
            store.is_readable = True
            await session.fail(ERROR)

            # It is written in the end: nobody was told that it would not be.
            assert (await bench.operation(arn, "s")).status is STARTED

    run(main)


def test_an_end_that_cannot_be_said_again_is_not_called_recorded() -> None:
    async def main() -> None:
        store = UnreadableStore()
        async with Bench(store=store, policy=SHARED) as bench:
            arn, session = await bench.running(step())
            store.conflicts = 1
            store.is_readable = False

            with pytest.raises(StoreError):
                await session.end(PENDING)
            store.is_readable = True
            await session.fail(ERROR)

            assert (await bench.story(arn)).count("InvocationCompleted") == 1

    run(main)


class UnreadableStore(FailingStore):
    is_readable = True

    async def find(self, arn: str) -> Stored | None:
        if not self.is_readable:
            raise StoreError("the disk is on fire")
        return await super().find(arn)


async def _refuse(store: SteppedStore, gates: list[asyncio.Future[None]], number: int) -> None:
    await _until(lambda: len(gates) > number)
    store.conflicts = 1
    gates[number].set_result(None)
    await _until(lambda: not store.conflicts)


async def _until(is_so: Callable[[], bool]) -> None:
    for _ in range(100):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("it does not come to that")


# What is at hand here, and older than the claim


class Late(SharedStore):
    """Takes so long to say that something was written as its gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()

    async def append(self, changes: Sequence[Change]) -> None:
        await super().append(changes)
        await self.gate.wait()


def test_an_invocation_begins_with_what_others_did_before_the_start_was_answered() -> None:
    async def main() -> None:
        store = Late()
        async with two_services(store) as (here, there):
            store.gate.clear()
            starting = asyncio.ensure_future(here.start())
            await asyncio.sleep(0)
            gate, store.gate = store.gate, asyncio.Event()
            store.gate.set()
            before = await there.begin()
            await before.checkpoint((step(), step(action=SUCCEED, payload="1")))
            await before.checkpoint((wait(),))
            await before.end(PENDING)
            await asyncio.sleep(10)

            later = await here.begin()

            known = later.input().initial_execution_state.operations
            assert {one.id: one.status for one in known}["s"] is OperationStatus.SUCCEEDED
            gate.set()
            await starting

    run(main)
