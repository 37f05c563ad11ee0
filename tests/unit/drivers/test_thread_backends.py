"""A `def` handler beside an event loop, and the threads that carry its updates."""

import asyncio
import threading
from typing import Any

import pytest

from durably import SyncDurableContext
from durably.clients.in_memory import ARN
from durably.drivers.futures import Broken, Returned, Suspended
from durably.drivers.thread_backends import blocking
from durably.errors import (
    CheckpointUnrecoverableInvocationError,
    TerminationReason,
    ValidationError,
)
from durably.wire.api import CheckpointRequest, GetExecutionStateRequest
from durably.wire.operation import OperationType
from durably.wire.update import OperationAction, OperationUpdate
from tests.unit.core.support import must_not_run
from tests.unit.drivers.support import Awaited, Backend, Trial, without_token

EVERY_CLIENT = pytest.mark.parametrize("client", ["awaited", "pushing"])
CLOSING = OperationUpdate(
    id="end", type=OperationType.EXECUTION, action=OperationAction.SUCCEED, payload="1"
)


def one() -> int:
    return 1


def beside_a_loop(trial: Trial) -> Any:
    """Make one invocation in a thread, while its client's event loop runs."""

    async def invoke() -> Any:
        loop = asyncio.get_running_loop()
        work = asyncio.to_thread(trial.invoke_in_threads, loop=loop)
        return await asyncio.wait_for(work, 5)

    return asyncio.run(invoke())


@EVERY_CLIENT
def test_updates_go_through_the_loop_in_their_order(client: str) -> None:
    def handler(ctx: SyncDurableContext) -> Any:
        batch = ctx.map("m", [1, 2], lambda child, item: child.step("s", lambda: item))
        return [ctx.step("a", one), batch.results()]

    trial = Trial(handler, client)

    assert beside_a_loop(trial) == Returned([1, [1, 2]])
    starts = [sent for sent in trial.backend.sent if sent.startswith("START m")]
    assert starts == ["START m", "START map-item-0", "START map-item-1"]
    assert trial.backend.sent[-3:] == ["SUCCEED m", "START a", "SUCCEED a"]


@EVERY_CLIENT
def test_a_handler_that_waits_stops(client: str) -> None:
    def handler(ctx: SyncDurableContext) -> None:
        ctx.wait("w", 100)

    assert beside_a_loop(Trial(handler, client)) == Suspended(TerminationReason.WAIT_SCHEDULED)


def test_a_pushed_change_wakes_a_branch() -> None:
    def sleep(ctx: SyncDurableContext) -> str:
        ctx.wait("w", 100)
        woken.set()
        return "woken"

    def busy(ctx: SyncDurableContext) -> Any:
        def body() -> str:
            trial.backend.pass_time()
            pushed.append(trial.client.push("w"))
            return "busy" if woken.wait(5) else "in vain"

        ctx.step("first", asleep.wait)
        return ctx.step("busy", body)

    woken, asleep = threading.Event(), threading.Event()
    pushed: list[bool] = []
    trial = Trial(lambda ctx: ctx.parallel("p", [sleep, busy]).results(), "pushing")
    trial.backend.before = lambda request: (
        asleep.set() if [update.name for update in request.updates] == ["w"] else None
    )

    assert beside_a_loop(trial) == Returned(["woken", "busy"])
    assert pushed == [True]


@EVERY_CLIENT
@pytest.mark.parametrize("action", ["START", "SUCCEED"])
def test_a_refused_checkpoint_breaks_the_invocation(client: str, action: str) -> None:
    def handler(ctx: SyncDurableContext) -> None:
        ctx.step("s", one)
        ctx.step("next", must_not_run)

    def refuse(request: CheckpointRequest) -> None:
        if any(update.action == action for update in request.updates):
            raise OSError("unplugged")

    trial = Trial(handler, client)
    trial.backend.before = refuse

    assert isinstance(beside_a_loop(trial), Broken)


@EVERY_CLIENT
def test_a_reply_without_a_token_ends_the_invocation_as_pending(client: str) -> None:
    def handler(ctx: SyncDurableContext) -> None:
        ctx.wait("s", 100)

    trial = Trial(handler, client)
    trial.backend.after = without_token

    assert beside_a_loop(trial) == Suspended(TerminationReason.OPERATION_TERMINATED)


@EVERY_CLIENT
def test_a_closing_update_that_is_refused_is_told(client: str) -> None:
    trial = Trial(lambda ctx: ctx.step("s", one), client)
    trial.after_run = lambda run: run.persist_last(CLOSING)

    def refuse(request: CheckpointRequest) -> None:
        if request.updates == (CLOSING,):
            raise OSError("unplugged")

    trial.backend.before = refuse

    with pytest.raises(CheckpointUnrecoverableInvocationError):
        beside_a_loop(trial)


@pytest.mark.parametrize("operation", ["step", "wait"])
@pytest.mark.parametrize("client", ["awaited", "pushing"])
def test_an_event_loop_that_is_closed_breaks_the_invocation(client: str, operation: str) -> None:
    def handler(ctx: SyncDurableContext) -> None:
        if operation == "step":
            ctx.step("s", one)
        ctx.wait("w", 100)

    loop = asyncio.new_event_loop()
    loop.close()

    ending = Trial(handler, client).invoke_in_threads(loop=loop)

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, CheckpointUnrecoverableInvocationError)


def test_a_client_that_is_awaited_can_be_called_from_a_thread() -> None:
    backend = Backend({"a": 1})

    async def read() -> Any:
        client = blocking(Awaited(backend), asyncio.get_running_loop())
        request = GetExecutionStateRequest(durable_execution_arn=ARN, checkpoint_token="t")
        return await asyncio.to_thread(client.get_execution_state, request)

    assert len(asyncio.run(read()).operations) == 1


def test_a_client_that_is_awaited_needs_a_loop() -> None:
    with pytest.raises(ValidationError, match="needs an event loop"):
        blocking(Awaited(Backend()), None)


# One request in flight


def test_what_gathers_while_a_request_is_in_flight_goes_out_together() -> None:
    met = threading.Barrier(5)

    def item(ctx: SyncDurableContext, number: int) -> int:
        return ctx.step("s", lambda: met.wait(5) * 0 + number)

    def handler(ctx: SyncDurableContext) -> Any:
        return ctx.map("m", range(5), item).results()

    def hold(request: CheckpointRequest) -> None:
        if not trial.backend.requests:
            met_in_flight.wait(0.05)

    met_in_flight = threading.Event()
    trial = Trial(handler, "blocking")
    trial.backend.before = hold

    assert trial.invoke() == Returned(list(range(5)))
    assert max(len(request.updates) for request in trial.backend.requests) >= 5


def test_a_poll_that_is_in_flight_when_nothing_is_left_to_do_is_waited_for() -> None:
    asked = threading.Event()

    def sleep(ctx: SyncDurableContext) -> None:
        ctx.wait("w", 1)

    def busy(ctx: SyncDurableContext) -> Any:
        ctx.step("busy", lambda: asked.wait(5))

    def handler(ctx: SyncDurableContext) -> str:
        ctx.parallel("p", [sleep, busy])
        return "done"

    trial = Trial(handler, "blocking")

    def answer_late(request: CheckpointRequest) -> None:
        if not request.updates and not asked.is_set():
            asked.set()
            threading.Event().wait(0.02)
            trial.backend.clock.advance(1)

    trial.backend.before = answer_late

    class Ahead:
        def now(self) -> Any:
            return trial.backend.clock.now().replace(year=2030)

        def monotonic(self) -> float:
            return 0.0

    trial.changes["clock"] = Ahead()

    assert trial.invoke() == Returned("done")
