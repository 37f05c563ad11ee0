"""Functions that run elsewhere and come with tokens."""

from __future__ import annotations

import asyncio

import pytest

from durably.engine.rules import INVALID_TOKEN
from durably.engine.sessions import Session
from durably.errors import InvalidParameterValueException
from durably.wire.api import GetExecutionStateRequest
from durably.wire.operation import OperationStatus
from durably.wire.update import OperationAction
from tests.unit.engine.shell import LEASE, Bench, run
from tests.unit.engine.support import (
    PENDING,
    callback,
    closing,
    request,
    retry,
    step,
    succeeded,
    wait,
)

SUCCEED = OperationAction.SUCCEED


def state_request(
    arn: str, token: str, marker: str | None = None, limit: int = 1000
) -> GetExecutionStateRequest:
    return GetExecutionStateRequest(
        durable_execution_arn=arn, checkpoint_token=token, marker=marker, max_items=limit
    )


async def remote(bench: Bench) -> tuple[str, Session]:
    arn, session = await bench.running()
    session.hand_out()
    return arn, session


def test_every_checkpoint_gives_the_token_for_the_next_one() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await remote(bench)

            first = await bench.service.checkpoint(request(arn, session.token, step()))
            assert first.checkpoint_token is not None
            assert [one.id for one in first.new_execution_state.operations] == ["s"]
            second = await bench.service.checkpoint(
                request(arn, first.checkpoint_token, step(action=SUCCEED))
            )
            assert second.checkpoint_token not in (None, first.checkpoint_token)
            with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
                await bench.service.checkpoint(request(arn, first.checkpoint_token))

    run(main)


def test_a_reply_that_got_lost_is_given_again() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await remote(bench)
            sent = request(arn, session.token, step(), client_token="c" * 8)

            first = await bench.service.checkpoint(sent)
            again = await bench.service.checkpoint(sent)

            assert again == first
            assert (await bench.story(arn)).count("StepStarted") == 1

    run(main)


@pytest.mark.parametrize("is_taken_over", [False, True])
def test_a_checkpoint_that_comes_again_when_its_invocation_is_over_is_refused(
    *, is_taken_over: bool
) -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await remote(bench)
            sent = request(arn, session.token, step(), wait(), client_token="c" * 8)
            await bench.service.checkpoint(sent)
            if is_taken_over:
                await asyncio.sleep(LEASE.total_seconds())
                await bench.begin()
            else:
                await session.end(PENDING)

            with pytest.raises(InvalidParameterValueException, match=INVALID_TOKEN):
                await bench.service.checkpoint(sent)

    run(main)


def test_an_empty_checkpoint_is_how_a_function_polls() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await remote(bench)
            reply = await bench.service.checkpoint(
                request(arn, session.token, step(), retry(delay=1, payload="1"), wait("w", 2))
            )
            import asyncio  # noqa: PLC0415 - only here

            await asyncio.sleep(3)
            assert reply.checkpoint_token is not None
            polled = await bench.service.checkpoint(request(arn, reply.checkpoint_token))

            statuses = [one.status for one in polled.new_execution_state.operations]
            assert statuses == [OperationStatus.READY, OperationStatus.SUCCEEDED]

    run(main)


def test_the_closing_checkpoint_gives_no_token_and_may_be_repeated() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await remote(bench)
            last = request(arn, session.token, closing(SUCCEED, payload="1"), client_token="c" * 8)

            assert (await bench.service.checkpoint(last)).checkpoint_token is None
            assert (await bench.service.checkpoint(last)).checkpoint_token is None
            await session.end(succeeded(""))
            assert (await bench.service.get(arn)).result == "1"

    run(main)


def test_a_forged_foreign_or_late_token_is_refused_in_the_same_words() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await remote(bench)
            other = await bench.start()
            for of, token in ((arn, "x"), (other, session.token), (arn[:-1] + "x", session.token)):
                with pytest.raises(
                    InvalidParameterValueException, match="Invalid checkpoint token"
                ):
                    await bench.service.checkpoint(request(of, token))
                with pytest.raises(
                    InvalidParameterValueException, match="Invalid checkpoint token"
                ):
                    await bench.service.get_execution_state(state_request(of, token))
            await bench.service.stop(arn)
            await bench.service.delete(arn)
            with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
                await bench.service.checkpoint(request(arn, session.token))
            with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
                await bench.service.get_execution_state(state_request(arn, session.token))

    run(main)


def test_after_a_checkpoint_only_the_new_token_reads_the_state() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await remote(bench)
            reply = await bench.service.checkpoint(request(arn, session.token, step()))
            assert reply.checkpoint_token is not None

            state = await bench.service.get_execution_state(
                state_request(arn, reply.checkpoint_token)
            )
            assert [one.id for one in state.operations][1:] == ["s"]
            with pytest.raises(InvalidParameterValueException):
                await bench.service.get_execution_state(state_request(arn, session.token))

    run(main)


def test_a_large_reply_goes_on_in_pages_of_the_state() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await remote(bench)
            updates = [step(f"s{n}") for n in range(1500)]
            reply = await bench.service.checkpoint(request(arn, session.token, *updates))
            assert reply.checkpoint_token is not None
            found = list(reply.new_execution_state.operations)
            marker = reply.new_execution_state.next_marker
            while marker is not None:
                page = await bench.service.get_execution_state(
                    state_request(arn, reply.checkpoint_token, marker, 300)
                )
                found += page.operations
                marker = page.next_marker

            assert [one.id for one in found] == [f"s{n}" for n in range(1500)]

    run(main)


def test_a_remote_invocation_that_missed_a_completion_is_made_again() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await remote(bench)
            await bench.service.checkpoint(
                request(arn, session.token, callback("a"), callback("b"))
            )
            details = (await bench.operation(arn, "a")).callback_details
            assert details is not None
            assert details.callback_id is not None
            await bench.service.succeed_callback(details.callback_id, "1")

            await session.end(PENDING)

            assert (await bench.service.why(arn)).owed_invocations == 1

    run(main)


def test_a_remote_invocation_that_was_told_of_a_completion_is_not_made_again() -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await remote(bench)
            first = await bench.service.checkpoint(
                request(arn, session.token, callback("a"), callback("b"))
            )
            details = (await bench.operation(arn, "a")).callback_details
            assert details is not None
            assert details.callback_id is not None
            await bench.service.succeed_callback(details.callback_id, "1")
            assert first.checkpoint_token is not None
            told = await bench.service.checkpoint(request(arn, first.checkpoint_token))
            assert [one.id for one in told.new_execution_state.operations] == ["a"]

            await session.end(PENDING)

            assert (await bench.service.why(arn)).owed_invocations == 0

    run(main)
