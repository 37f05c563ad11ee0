"""What an operation cannot do anything with is refused at its call, and leaves no record."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from durably import (
    ChildConfig,
    CompletionConfig,
    DurableContext,
    Engine,
    ExecutionFailedError,
    MapConfig,
    NamedParallelBranch,
    ParallelConfig,
    StepConfig,
    SyncDurableContext,
    ValidationError,
    WaitForCallbackConfig,
    durable_execution,
)
from tests.app.functions import echo

Call = Callable[[Any], Any]


def hi(name: str) -> str:
    return f"hi {name}"


async def hello(name: str) -> str:
    return f"hello {name}"


async def item(_ctx: Any, value: Any) -> Any:
    return value


CALLS: dict[str, tuple[Call, str]] = {
    "value": (lambda ctx: ctx.step("s", hi("x")), "fn: must be a function"),
    "coroutine": (lambda ctx: ctx.step("s", hello("x")), "the coroutine of hello"),
    "child": (lambda ctx: ctx.run_in_child_context("c", "x"), "fn: must be a function"),
    "submitter": (lambda ctx: ctx.wait_for_callback("c", 3), "submitter: must be a function"),
    "check": (lambda ctx: ctx.wait_for_condition("c", 3, None), "config: must be a WaitForCond"),
    "item": (lambda ctx: ctx.map("m", [1], 5), "fn: must be a function"),
    "executor": (lambda ctx: ctx.execute_concurrently("m", [1], 5), "executor: must be a fun"),
    "branch": (lambda ctx: ctx.parallel("m", [hi("x")]), "branches: must be functions"),
    "coroutine as branch": (lambda ctx: ctx.parallel("m", [hello("x")]), "leave the call to"),
    "named": (lambda _: NamedParallelBranch("a", "b"), "func: must be a function"),  # type: ignore[arg-type]  # that is the point
    "rounds": (lambda ctx: ctx.with_retry("r", 5), "func: must be a function"),
    "function": (lambda ctx: ctx.invoke("i", echo, 1), "not DurableFunction: write 'echo'"),
    "number": (lambda ctx: ctx.invoke("i", 7), "must be the name of a function, not int"),
    "config of a map": (lambda ctx: ctx.step("s", hi, "x", config=MapConfig()), "not MapConfig"),
    "dict": (lambda ctx: ctx.step("s", hi, "x", config={}), "config: must be a StepConfig, not {}"),
    "config of a step": (lambda ctx: ctx.map("m", [1], item, StepConfig()), "not StepConfig"),
    "completion": (
        lambda ctx: ctx.map("m", [1], item, CompletionConfig.all_completed()),
        r"config: must be a MapConfig: write MapConfig\(completion_config=",
    ),
    "config of rounds": (
        lambda ctx: ctx.with_retry("r", item, StepConfig()),
        "must be a WithRetryConfig, not StepConfig",
    ),
    "step's among arguments": (
        lambda ctx: ctx.step("s", hi, "x", StepConfig()),
        "StepConfig is among .* write config=StepConfig",
    ),
    "child's among arguments": (
        lambda ctx: ctx.run_in_child_context("c", item, 1, ChildConfig()),
        "write config=ChildConfig",
    ),
    "callback's among arguments": (
        lambda ctx: ctx.wait_for_callback("c", hi, WaitForCallbackConfig()),
        "write config=WaitForCallbackConfig",
    ),
    "items": (lambda ctx: ctx.map("m", 5, item), "items: must be a list, not 5"),
    "items of an executor": (lambda ctx: ctx.execute_concurrently("m", None, item), "items: must"),
    "branches": (lambda ctx: ctx.parallel("p", None), "branches: must be a list, not None"),
    "combined": (lambda ctx: ctx.race("r", 5), "(futures|branches): must be a list, not 5"),
    "nobody": (lambda ctx: ctx.race("r", []), "(futures|branches): a race needs at least one"),
    "child that takes nothing": (
        lambda ctx: ctx.run_in_child_context("c", lambda: 1),
        r"fn: must take one value, the context first, and takes \(\)",
    ),
    "child that takes less": (
        lambda ctx: ctx.run_in_child_context("c", lambda ctx: 1, 2),
        r"fn: must take 2 values, the context first, and takes \(ctx\)",
    ),
    "item without a context": (
        lambda ctx: ctx.map("m", [1], lambda item: item),
        r"fn: must take two to four values, the context first, and takes \(item\)",
    ),
    "item that takes more": (
        lambda ctx: ctx.map("m", [1], lambda a, b, c, d, e: a),
        "fn: must take two to four values",
    ),
    "item with a setting": (
        lambda ctx: ctx.map("m", [1], lambda ctx, item, *, speed: item),
        r"takes \(ctx, item, \*, speed\)",
    ),
    "executor without a context": (
        lambda ctx: ctx.execute_concurrently("m", [1], lambda item: item),
        "executor: must take two values",
    ),
    "branch without a context": (
        lambda ctx: ctx.parallel("p", [item, lambda: 1]),
        r"branches\[0\]: must take one value, the context first",
    ),
    "rounds without a number": (
        lambda ctx: ctx.with_retry("r", lambda ctx: 1),
        "func: must take two values",
    ),
    "surrogate": (lambda ctx: ctx.invoke("i", "\ud800", 1), "function_name: must be text that"),
    "time-out": (
        lambda ctx: ctx.step("s", hi, "x", config=StepConfig(timeout=1e10)),
        "timeout: must be at most 366 days",
    ),
    "batch's among arguments": (
        lambda ctx: ctx.step("s", hi, ParallelConfig()),
        "write config=ParallelConfig",
    ),
}


@durable_execution
async def misplaced(which: str, ctx: DurableContext) -> Any:
    return await CALLS[which][0](ctx)


@durable_execution
def misplaced_sync(which: str, ctx: SyncDurableContext) -> Any:
    return CALLS[which][0](ctx)


@pytest.mark.filterwarnings("error")  # a coroutine that nobody awaits warns
@pytest.mark.parametrize("function", [misplaced, misplaced_sync], ids=["async", "sync"])
@pytest.mark.parametrize("which", CALLS)
async def test_what_is_given_in_the_wrong_place_is_refused(function: Any, which: str) -> None:
    async with Engine("memory:", [function, echo]) as engine:
        run = await engine.start(function, which)

        with pytest.raises(ExecutionFailedError, match=CALLS[which][1]) as failed:
            await run.result(20)

        assert failed.value.error is not None
        assert failed.value.error.error_type == "ValidationError"
        found = await run.describe()
        assert (found.operation_count, found.failures) == (0, 0)


@durable_execution
def branches_as_values(_: Any, ctx: SyncDurableContext) -> Any:
    return ctx.all("a", [hi("x")])  # type: ignore[list-item]  # that is the point


async def test_a_combinator_of_values_is_refused() -> None:
    async with Engine("memory:", [branches_as_values]) as engine:
        run = await engine.start(branches_as_values, None)

        with pytest.raises(ExecutionFailedError, match="branches: must be functions"):
            await run.result(20)


@durable_execution
async def unawaited(event: str, ctx: DurableContext) -> Any:
    greeting = ctx.step("hi", hi, event)
    if event == "if":
        return "yes" if greeting else "no"  # type: ignore[truthy-bool]  # that is the point
    return greeting


@pytest.mark.parametrize(
    ("event", "said"),
    [("if", "operation hi has not been awaited: write `await`"), ("return", "DurableFuture")],
)
async def test_a_future_is_not_taken_for_its_result(event: str, said: str) -> None:
    async with Engine("memory:", [unawaited]) as engine:
        run = await engine.start(unawaited, event)

        with pytest.raises(ExecutionFailedError, match=said):
            await run.result(20)


@durable_execution()
async def in_parentheses(event: str, ctx: DurableContext) -> str:
    return await ctx.step("hi", hi, event)


async def test_the_decorator_may_be_written_with_parentheses() -> None:
    async with Engine("memory:", [in_parentheses]) as engine:
        run = await engine.start(in_parentheses, "x")

        assert await run.result(20) == "hi x"


def test_what_is_no_function_is_no_handler() -> None:
    with pytest.raises(ValidationError, match="handler: must be a function of the event"):
        durable_execution(3)  # type: ignore[call-overload]  # that is the point


def test_a_handler_says_that_it_takes_what_it_gets() -> None:
    async def swapped(ctx: DurableContext, event: int) -> None: ...
    async def blocking(event: int, ctx: SyncDurableContext) -> None: ...
    def awaiting(event: int, ctx: DurableContext) -> None: ...

    for handler, said in (
        (swapped, "must take the event first, and then the context"),
        (blocking, "written with async def, so its context is a DurableContext"),
        (awaiting, "written with def, so its context is a SyncDurableContext"),
    ):
        with pytest.raises(ValidationError, match=said):
            durable_execution(handler)


async def test_a_body_may_take_whatever_the_values_fit() -> None:
    @durable_execution
    async def open_handed(event: Any, ctx: DurableContext) -> Any:
        any_of_them = lambda *values: len(values)  # noqa: E731 - it is passed on
        children = [
            await ctx.run_in_child_context("c", any_of_them, 1, 2),
            await ctx.run_in_child_context("d", lambda ctx, more=5: more),
            await ctx.run_in_child_context("e", partial(lambda less, ctx: less, 7)),
        ]
        mapped = await ctx.map("m", [1], lambda ctx, item, index, items: [item, index, items])
        return children, mapped.results()

    async with Engine("memory:", [open_handed]) as engine:
        run = await engine.start(open_handed, None)
        assert await run.result(20) == [[3, 5, 7], [[1, 0, [1]]]]
