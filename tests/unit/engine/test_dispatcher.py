"""The worker: it claims what is due, has it run, and gives back what it cannot finish."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from durably.clients.embedded import EmbeddedClient
from durably.engine.dispatcher import Dispatcher
from durably.engine.invokers import InProcessInvoker
from durably.engine.policy import DispatcherPolicy, FailurePolicy, ServicePolicy, StartOptions
from durably.engine.views import Standing
from durably.errors import FunctionNotFoundError
from durably.wire.execution import ExecutionStatus
from durably.wire.invocation import InvocationInput, InvocationOutput, InvocationStatus
from durably.wire.operation import Operation, OperationStatus
from durably.wire.update import OperationAction
from tests.unit.engine.shell import LEASE, Bench, Function, Handler, run, send
from tests.unit.engine.support import (
    ERROR,
    PENDING,
    callback,
    failed,
    invoke,
    succeeded,
    wait,
)

SUCCEED = OperationAction.SUCCEED


def known(given: InvocationInput) -> dict[str, Operation]:
    return {one.id: one for one in given.initial_execution_state.operations}


async def at_once(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
    return succeeded("1")


async def never(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
    await asyncio.Event().wait()
    raise AssertionError("nobody lets it")


async def sleeper(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
    """Wait for a day, then end."""
    waited = known(given).get("w")
    if waited is None:
        await send(client, wait(seconds=24 * 3600))
        return PENDING
    return succeeded("awake") if waited.status is OperationStatus.SUCCEEDED else PENDING


def calling(function: str) -> Handler:
    async def caller(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        called = known(given).get("i")
        if called is None:
            operations = await send(client, invoke(target=function, payload='"x"'))
            called = operations[0]
        details = called.chained_invoke_details
        if called.status is OperationStatus.STARTED or details is None:
            return PENDING
        if called.status is OperationStatus.SUCCEEDED:
            return succeeded(details.result)
        return failed(details.error)

    return caller


async def stop_work(dispatcher: Dispatcher, work: asyncio.Task[None]) -> None:
    await dispatcher.drain(timedelta(0))
    await work


def test_what_is_started_is_run_to_its_end() -> None:
    async def main() -> None:
        async with Bench({"f": at_once}) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()

            assert (await bench.service.wait_closed(arn)).result == "1"
            assert bench.clock.monotonic() == 0
            await stop_work(dispatcher, work)

    run(main)


def test_a_sleeping_execution_is_woken_on_time() -> None:
    async def main() -> None:
        async with Bench({"f": sleeper}) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()

            found = await bench.service.wait_closed(arn)

            assert found.result == "awake"
            assert found.ended_at is not None
            slept = found.ended_at - found.started_at
            assert timedelta(days=1) <= slept < timedelta(days=1, milliseconds=50)
            assert await bench.story(arn) == [
                "ExecutionStarted",
                "WaitStarted",
                "InvocationCompleted",
                "WaitSucceeded",
                "InvocationCompleted",
                "ExecutionSucceeded",
            ]
            await stop_work(dispatcher, work)

    run(main)


@pytest.mark.parametrize(
    ("child", "status", "event"),
    [
        (at_once, ExecutionStatus.SUCCEEDED, "ChainedInvokeSucceeded"),
        (sleeper, ExecutionStatus.SUCCEEDED, "ChainedInvokeSucceeded"),
        (calling("nobody"), ExecutionStatus.FAILED, "ChainedInvokeFailed"),
    ],
)
def test_an_invoked_function_runs_and_its_end_comes_back(
    child: Handler, status: ExecutionStatus, event: str
) -> None:
    async def main() -> None:
        async with Bench({"f": calling("g"), "g": child}) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()

            found = await bench.service.wait_closed(arn)

            assert found.status is status
            story = await bench.story(arn)
            assert story[1:3] == ["ChainedInvokeStarted", "InvocationCompleted"]
            assert story[3] == event
            await stop_work(dispatcher, work)

    run(main)


def test_a_child_that_is_stopped_or_times_out_ends_its_invoke() -> None:
    async def main() -> None:
        policy = ServicePolicy(execution_timeout_seconds=60)
        async with Bench({"f": calling("g"), "g": never}, policy=policy) as bench:
            dispatcher, work = bench.work()
            long = StartOptions(timeout_seconds=3600)
            stopped = await bench.service.start("f", "1", options=long)
            timed_out = await bench.service.start("f", "1", options=long)
            await asyncio.sleep(1)
            child = (await bench.service.why(stopped)).waits_for[0].child_arn
            assert child is not None
            await bench.service.stop(child)

            for arn, event in (
                (stopped, "ChainedInvokeStopped"),
                (timed_out, "ChainedInvokeTimedOut"),
            ):
                assert (await bench.service.wait_closed(arn)).status is ExecutionStatus.FAILED
                assert event in await bench.story(arn)
            await stop_work(dispatcher, work)

    run(main)


def test_a_child_whose_parent_is_gone_ends_for_itself() -> None:
    async def main() -> None:
        async with Bench({"f": calling("g"), "g": sleeper}) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()
            await asyncio.sleep(1)
            child = (await bench.service.why(arn)).waits_for[0].child_arn
            assert child is not None
            await bench.service.stop(arn)
            await bench.service.delete(arn)

            assert (await bench.service.wait_closed(child)).result == "awake"
            await stop_work(dispatcher, work)

    run(main)


def test_a_child_that_ends_while_its_parent_runs_is_pushed_to_it() -> None:
    async def parent(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        ended = asyncio.get_running_loop().create_future()

        def listener(operations: Sequence[Operation]) -> bool:
            ended.set_result(operations[0])
            return True

        client.listen(listener)
        await send(client, invoke(target="g"))
        details = (await ended).chained_invoke_details
        return succeeded(details.result)

    async def main() -> None:
        async with Bench({"f": parent, "g": at_once}) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()

            assert (await bench.service.wait_closed(arn)).result == "1"
            assert (await bench.story(arn)).count("InvocationCompleted") == 1
            await stop_work(dispatcher, work)

    run(main)


def test_no_more_run_at_once_than_allowed_and_all_run_in_the_end() -> None:
    running = most = 0

    async def counted(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1
        return succeeded()

    async def main() -> None:
        policy = DispatcherPolicy(max_concurrency=3)
        async with Bench({"f": counted}, worker_policy=policy) as bench:
            dispatcher, work = bench.work()
            arns = [await bench.start() for _ in range(10)]
            await asyncio.gather(*map(bench.service.wait_closed, arns))

            assert most == 3
            assert bench.clock.monotonic() < 5
            await stop_work(dispatcher, work)

    run(main)


def test_an_invocation_longer_than_its_lease_keeps_it() -> None:
    async def long(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        await asyncio.sleep(10 * LEASE.total_seconds())
        return succeeded("1")

    async def main() -> None:
        async with Bench({"f": long}) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()

            assert (await bench.service.wait_closed(arn)).result == "1"
            assert (await bench.story(arn)).count("InvocationCompleted") == 1
            await stop_work(dispatcher, work)

    run(main)


def test_a_function_that_raises_is_invoked_again_and_parked_in_the_end() -> None:
    calls = 0

    async def broken(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        nonlocal calls
        calls += 1
        raise ValueError("no")

    async def main() -> None:
        policy = ServicePolicy(failures=FailurePolicy(park_after=4))
        async with Bench({"f": broken}, policy=policy) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()

            found = await bench.service.wait_closed(arn)

            assert calls == 4
            assert found.parked_reason is not None
            assert "ValueError: no" in found.parked_reason
            assert 7 <= bench.clock.monotonic() < 7.1
            await stop_work(dispatcher, work)

    run(main)


def test_a_function_that_is_not_registered_fails_its_invocation() -> None:
    async def main() -> None:
        async with Bench() as bench:
            await bench.start()
            session = await bench.begin()
            invoker = InProcessInvoker({}, EmbeddedClient)
            with pytest.raises(FunctionNotFoundError, match="no function 'f'"):
                await invoker.invoke(session)

    run(main)


def test_closed_executions_are_removed_after_their_retention() -> None:
    async def main() -> None:
        async with Bench({"f": at_once}, policy=ServicePolicy(retention_days=1)) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()
            await bench.service.wait_closed(arn)
            await asyncio.sleep(24 * 3600 + 120)

            assert await bench.store.find(arn) is None
            await stop_work(dispatcher, work)

    run(main)


def test_a_defect_in_the_shell_is_logged_and_the_worker_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with Bench({"f": at_once}) as bench:
            begin = bench.service.begin

            async def broken(claim):  # type: ignore[no-untyped-def]  # as above
                bench.service.begin = begin  # type: ignore[method-assign]  # once
                raise RuntimeError("a defect")

            bench.service.begin = broken  # type: ignore[method-assign]  # once
            dispatcher, work = bench.work()
            arn = await bench.start()

            assert (await bench.service.wait_closed(arn)).result == "1"
            await stop_work(dispatcher, work)

    run(main)
    assert "an invocation broke" in caplog.text


def test_each_outside_completion_has_its_own_invocation() -> None:
    async def two(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        if "a" not in known(given):
            await send(client, callback("a"), callback("b"), callback("c"))
        return PENDING

    async def main() -> None:
        async with Bench({"f": two}) as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()
            await asyncio.sleep(1)
            for name in ("a", "b"):
                details = (await bench.operation(arn, name)).callback_details
                assert details is not None
                assert details.callback_id is not None
                await bench.service.fail_callback(details.callback_id, ERROR)
            await asyncio.sleep(1)

            assert (await bench.story(arn))[4:] == [
                "InvocationCompleted",
                "CallbackFailed",
                "CallbackFailed",
                "InvocationCompleted",
                "InvocationCompleted",
            ]
            await stop_work(dispatcher, work)

    run(main)


def test_an_answer_of_the_wrong_kind_is_a_failed_invocation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def odd(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        return InvocationOutput(status=InvocationStatus.FAILED, result="1")

    async def main() -> None:
        policy = ServicePolicy(failures=FailurePolicy(park_after=1))
        async with Bench({"f": odd}, policy=policy) as bench:
            dispatcher, work = bench.work()
            found = await bench.service.wait_closed(await bench.start())
            assert found.failures == 1
            await stop_work(dispatcher, work)

    run(main)
    [told] = caplog.messages
    assert told.startswith("an invocation of f/")


def test_a_worker_without_functions_waits_for_some() -> None:
    async def main() -> None:
        async with Bench() as bench:
            dispatcher, work = bench.work()
            arn = await bench.start()
            await asyncio.sleep(10)
            bench.functions["f"] = Function(at_once)

            assert (await bench.service.wait_closed(arn)).result == "1"
            await stop_work(dispatcher, work)

    run(main)


def test_what_is_started_while_all_are_busy_waits_for_its_turn() -> None:
    async def slow(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        await asyncio.sleep(5)
        return succeeded("1")

    async def main() -> None:
        policy = DispatcherPolicy(max_concurrency=1)
        async with Bench({"f": slow}, worker_policy=policy) as bench:
            dispatcher, work = bench.work()
            arns = [await bench.start()]
            await asyncio.sleep(1)
            arns += [await bench.start(), await bench.start()]
            await asyncio.sleep(1)
            assert dispatcher.running == 1

            for arn in arns:
                await bench.service.wait_closed(arn)
            assert bench.clock.monotonic() == pytest.approx(15, abs=0.1)
            await stop_work(dispatcher, work)

    run(main)


def test_functions_that_hold_threads_are_claimed_only_while_there_are_threads() -> None:
    most = 0

    async def main() -> None:
        async def slow(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
            nonlocal most
            most = max(most, dispatcher.running)
            await asyncio.sleep(60)
            return succeeded("1")

        policy = DispatcherPolicy(max_concurrency=5, max_threads=2)
        async with Bench({"g": at_once}, worker_policy=policy) as bench:
            bench.functions["f"] = Function(slow, is_async=False)
            dispatcher, work = bench.work()
            arns = [await bench.start() for _ in range(5)]
            await asyncio.sleep(1)

            waiting = await bench.service.why(arns[2])
            assert (dispatcher.running, waiting.standing) == (2, Standing.QUEUED)
            beside = await bench.service.start("g", "1")
            assert (await bench.service.wait_closed(beside)).result == "1"
            assert bench.clock.monotonic() == pytest.approx(1, abs=0.1)
            for arn in arns:
                await bench.service.wait_closed(arn)
            assert bench.clock.monotonic() == pytest.approx(180, abs=1)
            assert most == 2
            await stop_work(dispatcher, work)

    run(main)


def test_threads_and_concurrency_are_both_limits() -> None:
    async def slow(given: InvocationInput, client: EmbeddedClient) -> InvocationOutput:
        await asyncio.sleep(60)
        return succeeded("1")

    async def main() -> None:
        policy = DispatcherPolicy(max_concurrency=3, max_threads=2)
        async with Bench({"g": slow}, worker_policy=policy) as bench:
            bench.functions["f"] = Function(slow, is_async=False)
            for function in ("f", "f", "g", "g", "g"):
                await bench.service.start(function, "1")
            dispatcher, work = bench.work()
            await asyncio.sleep(1)
            assert dispatcher.running == 3

            await asyncio.sleep(60)
            assert dispatcher.running == 2
            await stop_work(dispatcher, work)

    run(main)
