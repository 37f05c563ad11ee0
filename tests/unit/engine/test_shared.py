"""Several services on one store: what one does is no reason for another to do a thing twice."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from durably.clients.embedded import EmbeddedClient
from durably.engine.policy import ServicePolicy
from durably.errors import CallbackTimeoutException, InvalidParameterValueException
from durably.stores.memory import MemoryStore
from durably.wire.operation import OperationStatus
from durably.wire.update import OperationAction
from tests.unit.engine.shell import LEASE, Bench, run, send
from tests.unit.engine.support import PENDING, callback, closing, step, succeeded
from tests.unit.engine.test_sessions import answer, ids, noting

SHARED = ServicePolicy(is_shared=True)
SUCCEED = OperationAction.SUCCEED


class SharedStore(MemoryStore):
    """Opened by several: the claims of the others stand."""

    async def open(self) -> None:
        """Leave everything as it is."""

    def lose(self, arn: str, facts: int) -> None:
        """Know no more of the latest *facts*, as a standby that takes over too early."""
        del self._executions[arn].facts[-facts:]


@asynccontextmanager
async def two_services(store: MemoryStore | None = None) -> AsyncGenerator[tuple[Bench, Bench]]:
    store = store or SharedStore()
    async with (
        Bench(store=store, policy=SHARED) as here,
        Bench(store=store, policy=SHARED) as there,
    ):
        yield here, there


def test_what_an_invocation_says_is_taken_though_somebody_else_changed_the_execution() -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            arn, session = await here.running(callback(), step())
            client = EmbeddedClient(session)

            await answer(there, arn, "cb")
            changed = await send(client, step(action=SUCCEED, payload="1"))

            assert set(ids(changed)) >= {"cb", "s"}
            assert (await there.operation(arn, "s")).status is OperationStatus.SUCCEEDED
            await session.end(succeeded("1"))
            assert (await there.story(arn)).count("InvocationCompleted") == 1
            assert (await there.story(arn))[-1] == "ExecutionSucceeded"

    run(main)


def test_what_was_only_posted_is_taken_as_well() -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            arn, session = await here.running(callback())
            client = EmbeddedClient(session)

            await answer(there, arn, "cb")
            client.post(step())
            client.post(step("t"))
            await send(client, step(action=SUCCEED, payload="1"))
            await send(client, step("t", SUCCEED, payload="2"))

            story = await there.story(arn)
            assert story.count("StepStarted") == 2
            assert story.count("StepSucceeded") == 2
            assert story.count("CallbackSucceeded") == 1

    run(main)


def test_an_invocation_whose_begin_was_overtaken_is_recorded_all_the_same() -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            arn, session = await here.running(callback())
            await session.end(PENDING)
            await answer(there, arn, "cb")
            later = await here.begin()
            await there.service.pause(arn)
            await later.end(PENDING)
            assert (await there.story(arn))[-2:] == ["InvocationCompleted", "ExecutionPaused"]

    run(main)


def test_a_listener_hears_of_what_others_did_once_it_is_known_here() -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            arn, session = await here.running(callback())
            told: list[list[str]] = []
            session.listen(noting(told))

            await answer(there, arn, "cb")
            with pytest.raises(CallbackTimeoutException):
                await answer(here, arn, "cb")
            await send(EmbeddedClient(session), step())

            assert "cb" in [one for some in told for one in some]

    run(main)


def test_what_the_store_has_lost_is_not_taken_for_done() -> None:
    async def main() -> None:
        async with two_services() as (here, _):
            arn, session = await here.running(callback())
            store = here.store
            assert isinstance(store, SharedStore)
            await answer(here, arn, "cb")
            store.lose(arn, 1)

            await answer(here, arn, "cb")

            assert (await here.operation(arn, "cb")).status is OperationStatus.SUCCEEDED
            assert (await here.story(arn)).count("CallbackSucceeded") == 1
            assert not session.is_over

    run(main)


def test_whoever_has_lost_the_claim_is_refused() -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            arn, session = await here.running(step())
            now = there.clock.now() + LEASE + timedelta(seconds=1)
            [claim] = await there.store.claim("another", ["f"], now, LEASE, 1)
            other = await there.service.begin(claim)

            with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
                await send(EmbeddedClient(session), step(action=SUCCEED, payload="1"))
            await session.end(succeeded("1"))

            assert other is not None  # made at once: its lease has been time enough
            assert (await there.operation(arn, "s")).status is OperationStatus.STARTED

    run(main)


def test_an_execution_that_was_stopped_elsewhere_takes_nothing_more() -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            arn, session = await here.running(step())

            await there.service.stop(arn)

            with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
                await send(EmbeddedClient(session), step(action=SUCCEED, payload="1"))
            with pytest.raises(InvalidParameterValueException):
                await send(EmbeddedClient(session), closing(SUCCEED, payload="1"))
            await session.end(succeeded("1"))
            assert (await there.story(arn))[-1] == "ExecutionStopped"

    run(main)


def test_the_update_that_closes_an_execution_is_said_again_as_well() -> None:
    async def main() -> None:
        async with two_services() as (here, there):
            arn, session = await here.running(callback())

            await answer(there, arn, "cb")
            await send(EmbeddedClient(session), closing(SUCCEED, payload="1"))

            assert (await there.story(arn))[-1] == "ExecutionSucceeded"

    run(main)
