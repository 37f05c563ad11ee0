"""How an invocation of an `async def` handler ends when something breaks."""

import asyncio
from typing import Any

import pytest

from durably import DurableContext
from durably.config import ChildConfig, StepConfig, WaitForConditionConfig
from durably.drivers.futures import Broken, Raised, Returned, Suspended
from durably.errors import (
    CheckpointUnrecoverableExecutionError,
    CheckpointUnrecoverableInvocationError,
    DurableExecutionClientError,
    InvalidParameterValueException,
    NonDeterministicExecutionError,
    RetryableSerdesError,
    ServiceException,
    TerminationReason,
    TooManyRequestsException,
    UnrecoverableExecutionError,
    UnrecoverableInvocationError,
)
from durably.retries import RetryDecision
from durably.serdes import JsonSerdes
from durably.wire.api import CheckpointRequest
from durably.wire.operation import OperationType
from durably.wire.update import OperationAction, OperationUpdate
from tests.unit.core.support import must_not_run
from tests.unit.drivers.support import CLIENTS, Trial, in_loop, without_token

EVERY_CLIENT = pytest.mark.parametrize("client", CLIENTS)
TERMINATED = Suspended(TerminationReason.OPERATION_TERMINATED)


async def one() -> int:
    return 1


async def endless() -> None:
    await asyncio.get_running_loop().create_future()


def retry(error: Exception, attempt: int) -> RetryDecision:
    return RetryDecision(should_retry=True)


class Failing:
    """Refuses requests in which an update does something."""

    def __init__(self, error: Exception, action: str = "SUCCEED") -> None:
        self.error = error
        self.action = action

    def __call__(self, request: CheckpointRequest) -> None:
        if any(update.action == self.action for update in request.updates):
            raise self.error


# What the backend refuses


@EVERY_CLIENT
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            InvalidParameterValueException("no such operation"),
            CheckpointUnrecoverableExecutionError,
        ),
        (
            InvalidParameterValueException("Invalid checkpoint token"),
            CheckpointUnrecoverableInvocationError,
        ),
        (TooManyRequestsException("slow down"), CheckpointUnrecoverableInvocationError),
        (ServiceException("oops"), CheckpointUnrecoverableInvocationError),
        (OSError("unplugged"), CheckpointUnrecoverableInvocationError),
        (
            DurableExecutionClientError("no", scope="execution"),
            CheckpointUnrecoverableExecutionError,
        ),
    ],
)
@pytest.mark.parametrize("action", ["START", "SUCCEED"])
def test_a_refused_checkpoint_breaks_the_invocation_and_not_the_handlers_code(
    client: str, error: Exception, kind: type[Exception], action: str
) -> None:
    async def handler(ctx: DurableContext) -> str:
        try:
            await ctx.step("s", one)
            await ctx.wait("w", 100)
        except Exception:  # noqa: BLE001 - what a careless handler does
            return "caught"
        return "went on"

    trial = Trial(handler, client)
    trial.backend.before = Failing(error, action)

    ending = trial.invoke()

    assert isinstance(ending, Broken)
    assert type(ending.error) is kind


@EVERY_CLIENT
def test_what_waits_for_a_refused_checkpoint_elsewhere_is_unwound_too(client: str) -> None:
    async def handler(ctx: DurableContext) -> Any:
        async def wait() -> None:
            try:
                await ctx_step
            except asyncio.CancelledError:
                unwound.append("elsewhere")
                raise

        ctx_step = ctx.step("s", one)
        task = asyncio.create_task(wait())
        await asyncio.wait([task])
        return "went on"

    unwound: list[str] = []
    trial = Trial(handler, client)
    trial.backend.before = Failing(OSError("unplugged"))

    assert isinstance(trial.invoke(), Broken)
    assert unwound == ["elsewhere"]


@pytest.mark.parametrize("client", ["at once", "pushing"])  # the others do not wait for it
def test_a_body_whose_start_was_refused_at_once_does_not_run(client: str) -> None:
    async def handler(ctx: DurableContext) -> None:
        await ctx.step("s", lambda: ran.append(1))

    ran: list[int] = []
    trial = Trial(handler, client)
    trial.backend.before = Failing(OSError("unplugged"), "START")

    assert isinstance(trial.invoke(), Broken)
    assert ran == []


def test_a_retry_whose_start_was_refused_does_not_run() -> None:
    async def handler(ctx: DurableContext) -> None:
        config = StepConfig(retry_strategy=retry)
        await asyncio.gather(ctx.step("s", fail, config=config), ctx.step("slow", nap))

    async def fail() -> None:
        ran.append(1)
        loop = asyncio.get_running_loop()
        loop.call_later(1, trial.backend.pass_time)
        loop.call_later(1, refuse_and_push)
        raise ValueError("no")

    async def nap() -> None:
        await asyncio.sleep(2)

    def refuse_and_push() -> None:
        trial.backend.before = Failing(OSError("unplugged"), "START")
        trial.client.push("s")

    ran: list[int] = []
    trial = Trial(handler, "pushing")

    assert isinstance(trial.invoke(), Broken)
    assert ran == [1]


@pytest.mark.parametrize("client", ["blocking", "awaited"])
def test_a_result_is_not_given_when_the_last_updates_are_refused(client: str) -> None:
    async def handler(ctx: DurableContext) -> str:
        ctx.run_in_child_context("never awaited", lambda child: endless())
        return "done"

    trial = Trial(handler, client)
    trial.backend.before = Failing(OSError("unplugged"), "START")

    ending = trial.invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, CheckpointUnrecoverableInvocationError)


def test_a_failure_between_the_result_and_the_drain_is_noticed() -> None:
    async def handler(ctx: DurableContext) -> str:
        ctx.step("stubborn", stubborn)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "done"

    async def stubborn() -> None:
        try:
            await endless()
        finally:
            for _ in range(20):
                await asyncio.sleep(0)

    trial = Trial(handler, "awaited")
    trial.backend.before = Failing(OSError("unplugged"), "START")

    assert isinstance(trial.invoke(), Broken)


# What takes the authority away


@EVERY_CLIENT
def test_a_reply_without_a_token_ends_the_invocation_as_pending(client: str) -> None:
    async def handler(ctx: DurableContext) -> str:
        await ctx.step("s", one)
        await ctx.step("next", must_not_run)
        return "went on"

    trial = Trial(handler, client)

    def stop_at_the_end(response: Any) -> Any:
        return without_token(response) if "SUCCEED s" in trial.backend.sent else response

    trial.backend.after = stop_at_the_end

    assert trial.invoke() == TERMINATED
    assert trial.backend.sent == ["START s", "SUCCEED s"]


@pytest.mark.parametrize("client", ["blocking", "awaited"])
def test_a_result_is_not_given_when_the_authority_went_meanwhile(client: str) -> None:
    async def handler(ctx: DurableContext) -> str:
        ctx.run_in_child_context("never awaited", lambda child: endless())
        return "done"

    trial = Trial(handler, client)
    trial.backend.after = without_token

    assert trial.invoke() == TERMINATED


@EVERY_CLIENT
def test_the_closing_update_is_accepted_by_a_reply_without_a_token(client: str) -> None:
    accepted: list[OperationUpdate] = []

    async def invoke() -> Any:
        run = trial.run_in_tasks(trial.journal())
        ending = await run.run(handler)
        await run.persist_last(CLOSING)
        return ending

    async def handler(ctx: DurableContext) -> int:
        return await ctx.step("s", one)

    trial = Trial(handler, client)
    answer = trial.backend.answer

    def closing(request: CheckpointRequest) -> Any:
        if request.updates == (CLOSING,):
            accepted.append(CLOSING)
            return without_token(trial.backend.memory.checkpoint(request_without(request)))
        return answer(request)

    trial.backend.answer = closing  # type: ignore[method-assign]  # the engine has its own way

    assert in_loop(invoke) == Returned(1)
    assert accepted == [CLOSING]


CLOSING = OperationUpdate(
    id="end", type=OperationType.EXECUTION, action=OperationAction.SUCCEED, payload="1"
)


def request_without(request: CheckpointRequest) -> CheckpointRequest:
    return CheckpointRequest(
        durable_execution_arn=request.durable_execution_arn,
        checkpoint_token=request.checkpoint_token,
    )


@EVERY_CLIENT
def test_a_closing_update_that_is_refused_is_told(client: str) -> None:
    async def invoke() -> None:
        run = trial.run_in_tasks(trial.journal())
        await run.run(handler)
        trial.backend.before = Failing(OSError("unplugged"))
        await run.persist_last(CLOSING)

    async def handler(ctx: DurableContext) -> None:
        """Nothing."""

    trial = Trial(handler, client)

    with pytest.raises(CheckpointUnrecoverableInvocationError):
        in_loop(invoke)


# What user code breaks


@pytest.mark.parametrize("where", ["handler", "step", "child", "task"])
@pytest.mark.parametrize(
    "error",
    [
        UnrecoverableExecutionError(TerminationReason.CUSTOM, "the end"),
        UnrecoverableInvocationError(TerminationReason.CUSTOM, "again"),
    ],
)
def test_user_code_may_break_off_from_anywhere(where: str, error: Exception) -> None:
    async def fail(*_: object) -> None:
        raise error

    async def handler(ctx: DurableContext) -> str:
        try:
            if where == "step":
                await ctx.step("s", fail, config=StepConfig(retry_strategy=must_not_run))
            elif where == "child":
                await ctx.run_in_child_context("c", fail)
            elif where == "task":
                ctx.step("s", fail, config=StepConfig(retry_strategy=must_not_run))
                await endless()
        except Exception:  # noqa: BLE001 - it must not arrive here
            return "caught"
        raise error

    ending = Trial(handler).invoke()

    assert ending == Broken(error)  # type: ignore[arg-type]  # it is one of the two


def test_a_recorded_value_that_cannot_be_read_fails_the_execution() -> None:
    class Unreadable(JsonSerdes):
        def deserialize(self, text: str, context: object, /) -> Any:
            if is_replay:
                raise ValueError("it was changed")
            return 1

    async def handler(ctx: DurableContext) -> int:
        return await ctx.step("s", one, config=StepConfig(serdes=Unreadable()))

    is_replay: list[int] = []
    trial = Trial(handler)
    trial.invoke()
    is_replay.append(1)

    ending = trial.invoke()

    assert isinstance(ending, Broken)
    assert ending.error.reason is TerminationReason.SERDES_FAILED


@pytest.mark.parametrize(
    "call",
    [
        lambda ctx, busy: ctx.step("s", one, config=StepConfig(serdes=busy)),
        lambda ctx, busy: ctx.run_in_child_context(
            "c", lambda _: 1, config=ChildConfig(serdes=busy)
        ),
        lambda ctx, busy: ctx.wait_for_condition(
            "w",
            lambda state: state,
            WaitForConditionConfig(wait_strategy=must_not_run, initial_state=1, serdes=busy),
        ),
    ],
)
def test_a_serdes_that_cannot_work_now_has_the_invocation_tried_again(call: Any) -> None:
    class Busy(JsonSerdes):
        def serialize(self, value: object, context: object, /) -> str:
            raise RetryableSerdesError

    async def handler(ctx: DurableContext) -> Any:
        return await call(ctx, Busy())

    ending = Trial(handler).invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, UnrecoverableInvocationError)


def test_an_ordinary_error_is_the_handlers() -> None:
    async def handler(ctx: DurableContext) -> None:
        raise KeyError("mine")

    ending = Trial(handler).invoke()

    assert isinstance(ending, Raised)
    assert isinstance(ending.error, KeyError)


@pytest.mark.parametrize("crash", [KeyboardInterrupt])
@pytest.mark.parametrize("where", ["handler", "step", "plain step", "branch"])
def test_an_interruption_of_the_process_is_a_crash_and_no_failure(
    where: str, crash: type[BaseException]
) -> None:
    def interrupt(*_: object) -> None:
        raise crash

    async def interrupted(*_: object) -> None:
        raise crash

    async def handler(ctx: DurableContext) -> None:
        never = StepConfig[Any](retry_strategy=must_not_run)
        if where == "handler":
            raise crash
        if where == "step":
            await ctx.step("s", interrupted, config=never)
        elif where == "plain step":
            await ctx.step("s", interrupt, config=never)
        await ctx.map("m", [1], interrupted)

    trial = Trial(handler)

    if crash is SystemExit:  # it ends the invocation, and not the worker
        ending = trial.invoke()
        assert isinstance(ending, Broken)
        assert isinstance(ending.error, UnrecoverableInvocationError)
    else:
        with pytest.raises(crash):
            trial.invoke()

    assert not [sent for sent in trial.backend.sent if not sent.startswith("START")]


def test_a_crash_in_a_branch_reaches_the_invocation_if_the_loop_goes_on() -> None:
    async def handler(ctx: DurableContext) -> None:
        async def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        await ctx.map("m", [1], interrupted)

    trial = Trial(handler)
    loop = asyncio.new_event_loop()
    work = loop.create_task(trial.invoke_in_tasks())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(work)

    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(work)

    loop.close()


# What the program changes


def test_an_operation_that_is_not_the_recorded_one_fails_the_execution_and_runs_nothing() -> None:
    async def handler(ctx: DurableContext) -> str:
        try:
            await ctx.step("changed" if is_changed else "s", must_not_run if is_changed else one)
            await ctx.wait("w", 100)
        except Exception:  # noqa: BLE001 - what a careless handler does
            return "caught"
        return "went on"

    is_changed: list[int] = []
    trial = Trial(handler)
    trial.invoke()
    is_changed.append(1)

    ending = trial.invoke()

    assert isinstance(ending, Broken)
    assert isinstance(ending.error, NonDeterministicExecutionError)


# Who is cancelled from outside


def test_an_invocation_that_is_cancelled_unwinds_its_handler_and_leaves_nothing() -> None:
    async def handler(ctx: DurableContext) -> None:
        try:
            await ctx.step("s", endless)
        finally:
            unwound.append("handler")

    async def invoke() -> list[str]:
        task = asyncio.create_task(trial.run_in_tasks(trial.journal()).run(handler))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return [left.get_name() for left in asyncio.all_tasks() - {asyncio.current_task()}]

    unwound: list[str] = []
    for client in CLIENTS:
        trial = Trial(handler, client)
        assert in_loop(invoke) == []
    assert unwound == ["handler"] * len(CLIENTS)


def test_a_request_in_flight_is_cancelled_with_its_invocation() -> None:
    async def handler(ctx: DurableContext) -> None:
        ctx.step("s", one)
        raise asyncio.CancelledError

    trial = Trial(handler, "awaited")

    assert isinstance(trial.invoke(), Broken)
    assert trial.backend.sent == []
