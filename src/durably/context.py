"""The context of an `async def` handler: what it may ask for, and what it is promised."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from inspect import isawaitable
from typing import Any, TypeAlias, TypeVar, overload

from durably.batch_result import BatchResult
from durably.config import (
    CallbackConfig,
    ChildConfig,
    ConcurrencyConfig,
    InvokeConfig,
    MapConfig,
    NamedParallelBranch,
    ParallelConfig,
    StepConfig,
    WaitForCallbackConfig,
    WaitForConditionConfig,
    WithRetryConfig,
)
from durably.core.operations.combinators import All, AllSettled, AnyOf, Race, Settled
from durably.core.rounds import backoff, backoff_name, rounds_config
from durably.drivers.bearings import Bearings
from durably.drivers.callbacks import Callback
from durably.drivers.futures import DurableFuture

T = TypeVar("T")
U = TypeVar("U")
Body: TypeAlias = Callable[..., T]
AsyncBody: TypeAlias = Callable[..., Awaitable[T]]


class DurableContext(Bearings):
    """Durable operations for `async def` functions. Each call starts one, and gives its future.

    A context belongs to the code that it was made for. An operation called from elsewhere, from
    inside a step or from a task of your own, raises `ContextUsageError`; awaiting the future of
    one anywhere, as `asyncio.gather` does, is fine.
    """

    __slots__ = ()

    @overload
    def step(
        self, name: str | None, fn: AsyncBody[T], *args: Any, config: StepConfig[Any] | None = None
    ) -> DurableFuture[T]: ...

    @overload
    def step(
        self, name: str | None, fn: Body[T], *args: Any, config: StepConfig[Any] | None = None
    ) -> DurableFuture[T]: ...

    def step(
        self,
        name: str | None,
        fn: Callable[..., Any],
        *args: Any,
        config: StepConfig[Any] | None = None,
    ) -> DurableFuture[Any]:
        """Run `fn(*args)` until its outcome is recorded; from then on it never runs again.

        By default an attempt that was cut off by a crash runs again (P3); see `StepSemantics`.
        One that raises is tried again as the retry strategy says. Inside, `current_step()` gives
        the attempt, a stable idempotency key and a logger. A plain function called from an
        `async def` handler runs in a thread.

        The value is written and read back before it is given, on the first run as on a replay, so
        the two cannot differ (P18): by the serdes of *config*, else by the return annotation of
        *fn*, else as JSON where that loses nothing. At most 1 MiB.

        Args:
            name: shown in the history, and compared on replay: renaming it breaks executions that
                are under way. `None` writes none.
            fn: any function. It must not call durable operations.
            args: what *fn* is called with.
            config: retries, semantics, serdes, time-out.

        Raises:
            StepError: the last attempt failed. This is recorded, and a replay raises it again.
            ContextUsageError: called from elsewhere than the context's code. Nothing was recorded.
            ValidationError: the name or the configuration is not legal. Nothing was recorded.
        """
        return self._calls.step(name, fn, args, config)  # type: ignore[no-any-return]  # the driver gives what the program returns

    def wait(self, name: str | None, duration: timedelta | float) -> DurableFuture[None]:
        """Sleep for *duration* without holding a process while asleep.

        The clock starts when the wait is first recorded; a replay does not start it again. It
        never ends early on the backend's clock, and may end late (P7).

        Args:
            name: shown in the history, and compared on replay. `None` writes none.
            duration: a `timedelta`, or seconds, rounded up; from one second to 366 days.

        Raises:
            ValidationError: *duration* is under one second or too long. Nothing was recorded.
        """
        return self._calls.wait(name, duration)  # type: ignore[no-any-return]  # the driver gives what the program returns

    def invoke(
        self,
        name: str | None,
        function_name: str,
        payload: object = None,
        config: InvokeConfig[Any] | None = None,
    ) -> DurableFuture[Any]:
        """Run another durable function as an execution of its own, and give its result.

        It is started once, however often this code is replayed (P9), and goes on when this
        execution ends first. The payload is written as plain JSON, at most 1 MiB.

        Args:
            name: shown in the history, and compared on replay. `None` writes none.
            function_name: what the function is registered as; on AWS Lambda with a qualifier.
            payload: what it is called with.
            config: serdes of payload and result, and the tenant.

        Raises:
            InvokeError: it failed, timed out, was stopped, or does not exist. This is recorded.
            SerdesError: the payload cannot be written. Nothing was recorded.
        """
        return self._calls.invoke(name, function_name, payload, config)  # type: ignore[no-any-return]  # the driver gives what the program returns

    def create_callback(
        self, name: str | None, config: CallbackConfig[Any] | None = None
    ) -> DurableFuture[Callback[Any]]:
        """Make an id that an outside system can answer to, and a way to its answer.

        The id is the same on every replay. An answer that comes before the result is awaited is
        not lost; exactly one of answer, failure and time-out wins (P8).

        Args:
            name: shown in the history, and compared on replay. `None` writes none.
            config: deadlines, and how the answer is read; as text without one.

        Raises:
            CallbackError: the backend made no id. How the callback ends, its `result` raises.
        """
        return self._calls.create_callback(name, config, Callback)  # type: ignore[no-any-return]  # the driver gives what the program returns

    def wait_for_callback(
        self,
        name: str | None,
        submitter: Callable[..., Any],
        *args: Any,
        config: WaitForCallbackConfig[Any] | None = None,
    ) -> DurableFuture[Any]:
        """Tell an outside system to call back, and wait for its answer.

        `submitter(callback_id, *args)` runs as a step, so it is tried again when it raises. What
        it returns is not kept.

        Args:
            name: shown in the history, and compared on replay; at most 237 characters, as what it
                does is named after it. `None` writes none.
            submitter: passes the callback id on. At least once: let it be repeatable.
            args: what else *submitter* is called with.
            config: deadlines, retries of the submitter, and how the answer is read.

        Raises:
            CallbackExternalError: the outside system reported a failure.
            CallbackTimeoutError: it did not answer, or sent no heartbeat, in time.
            CallbackSubmitterError: the submitter failed for good. Each is recorded.
        """
        return self._calls.wait_for_callback(name, submitter, args, config)  # type: ignore[no-any-return]  # the driver gives what the program returns

    def wait_for_condition(
        self,
        name: str | None,
        check: Callable[[T], Awaitable[T] | T],
        config: WaitForConditionConfig[T],
    ) -> DurableFuture[T]:
        """Call *check* again and again, with pauses that hold no process, until it is content.

        *check* gets the state and gives the next one, which is recorded; the strategy of *config*
        decides after each whether to go on, and when.

        Args:
            name: shown in the history, and compared on replay. `None` writes none.
            check: makes the next state from the last. At least once each time.
            config: the strategy and the first state.

        Raises:
            WaitForConditionError: *check* or the strategy raised, or the attempts ran out. It is
                not tried again. This is recorded.
        """
        return self._calls.wait_for_condition(name, check, config)  # type: ignore[no-any-return]  # the driver gives what the program returns

    @overload
    def run_in_child_context(
        self, name: str | None, fn: AsyncBody[T], *args: Any, config: ChildConfig[Any] | None = None
    ) -> DurableFuture[T]: ...

    @overload
    def run_in_child_context(
        self, name: str | None, fn: Body[T], *args: Any, config: ChildConfig[Any] | None = None
    ) -> DurableFuture[T]: ...

    def run_in_child_context(
        self,
        name: str | None,
        fn: Callable[..., Any],
        *args: Any,
        config: ChildConfig[Any] | None = None,
    ) -> DurableFuture[Any]:
        """Run `fn(child, *args)`, where *child* is a context of its own, and record its result.

        Operations of the child have ids of their own, so a child can run beside other code. When
        its result is recorded, a replay does not enter it again; a result over 256 KiB is not
        recorded, and a replay runs *fn* again over the child's recorded operations.

        Args:
            name: shown in the history, and compared on replay. `None` writes none.
            fn: gets the child context first. Only the child's operations may be called in it.
            args: what else *fn* is called with.
            config: serdes, sub type, summary, error mapper, or virtual.

        Raises:
            ChildContextError: *fn* raised. This is recorded, unless the child is virtual.
        """
        return self._calls.run_in_child_context(name, fn, args, config)  # type: ignore[no-any-return]  # the driver gives what the program returns

    @overload
    def map(
        self,
        name: str | None,
        items: Iterable[U],
        fn: AsyncBody[T],
        config: MapConfig | None = None,
    ) -> DurableFuture[BatchResult[T]]: ...

    @overload
    def map(
        self, name: str | None, items: Iterable[U], fn: Body[T], config: MapConfig | None = None
    ) -> DurableFuture[BatchResult[T]]: ...

    def map(
        self,
        name: str | None,
        items: Iterable[U],
        fn: Callable[..., Any],
        config: MapConfig | None = None,
    ) -> DurableFuture[BatchResult[Any]]:
        """Run `fn(ctx, item)` for each item, beside each other, each in a context of its own.

        Unless *config* says otherwise all items start at once and the first failure stops the
        map. It never raises for an item: see `BatchResult.throw_if_error`. Items, statuses and
        reason are the same on every replay (P12).

        Args:
            name: shown in the history, and compared on replay. `None` writes none.
            items: the same on every replay. None at all is a result at once.
            fn: gets a context and an item; and the index and the list of items, if it takes them.
            config: concurrency, completion, names, serdes.

        Raises:
            ValidationError: the configuration does not fit the items. Nothing was recorded.
            ChildContextError: the completion predicate raised, or the whole result cannot be
                written. This is recorded.
        """
        return self._calls.map(name, items, fn, config)  # type: ignore[no-any-return]  # the driver gives what the program returns

    def parallel(
        self,
        name: str | None,
        branches: Iterable[Callable[..., Any] | NamedParallelBranch[Any]],
        config: ParallelConfig | None = None,
    ) -> DurableFuture[BatchResult[Any]]:
        """Run different functions beside each other, each with a context of its own.

        Unless *config* says otherwise all start at once and the first failure stops the rest. It
        never raises for a branch: see `BatchResult.throw_if_error`.

        Args:
            name: shown in the history, and compared on replay. `None` writes none.
            branches: functions that get a context, or such functions with names.
            config: concurrency, completion, serdes.

        Raises:
            ValidationError: the configuration does not fit the branches. Nothing was recorded.
            ChildContextError: the completion predicate raised, or the whole result cannot be
                written. This is recorded.
        """
        return self._calls.parallel(name, branches, config)  # type: ignore[no-any-return]  # the driver gives what the program returns

    def execute_concurrently(
        self,
        name: str | None,
        items: Iterable[U],
        executor: Callable[..., Any],
        config: ConcurrencyConfig | None = None,
    ) -> DurableFuture[BatchResult[Any]]:
        """Build your own kind of fan-out: as `map`, with the sub types of *config*.

        Args:
            name: shown in the history, and compared on replay. `None` writes none.
            items: the same on every replay.
            executor: gets a context and an item.
            config: as for `map`, and what the batch and its items are called.

        Raises:
            ValidationError: the configuration does not fit the items. Nothing was recorded.
            ChildContextError: the completion predicate raised, or the whole result cannot be
                written. This is recorded.
        """
        return self._calls.execute_concurrently(name, items, executor, config)  # type: ignore[no-any-return]  # the driver gives what the program returns

    def all(self, name: str | None, futures: Iterable[DurableFuture[T]]) -> DurableFuture[list[T]]:
        """Wait for all futures, and give their values in order.

        Args:
            name: shown in the history, and compared on replay. `None` writes none.
            futures: of operations of this context.

        Raises:
            PromiseCombinatorError: one failed; the first to do so. This is recorded.
        """
        return self._calls.combine(name, All(), futures)  # type: ignore[no-any-return]  # the driver gives what the program returns

    def any(self, name: str | None, futures: Iterable[DurableFuture[T]]) -> DurableFuture[T]:
        """Give the value of the first of futures to succeed. The others are not waited for.

        Args:
            name: shown in the history, and compared on replay. `None` writes none.
            futures: of operations of this context.

        Raises:
            PromiseCombinatorError: all failed. This is recorded.
        """
        return self._calls.combine(name, AnyOf(), futures)  # type: ignore[no-any-return]  # the driver gives what the program returns

    def race(self, name: str | None, futures: Iterable[DurableFuture[T]]) -> DurableFuture[T]:
        """Give the value of the first of futures to end. The others are not waited for.

        Args:
            name: shown in the history, and compared on replay. `None` writes none.
            futures: of operations of this context.

        Raises:
            PromiseCombinatorError: the first to end failed. This is recorded.
        """
        return self._calls.combine(name, Race(), futures)  # type: ignore[no-any-return]  # the driver gives what the program returns

    def all_settled(
        self, name: str | None, futures: Iterable[DurableFuture[Any]]
    ) -> DurableFuture[list[Settled]]:
        """Wait until all futures have ended, and say how each did. It does not fail.

        Args:
            name: shown in the history, and compared on replay. `None` writes none.
            futures: of operations of this context.
        """
        return self._calls.combine(name, AllSettled(), futures)  # type: ignore[no-any-return]  # the driver gives what the program returns

    def with_retry(
        self,
        name: str | None,
        func: Callable[[DurableContext, int], Awaitable[T] | T],
        config: WithRetryConfig | None = None,
    ) -> Awaitable[T]:
        """Call `func(ctx, attempt)` until it succeeds, with durable waits between the rounds.

        Unlike a step, *func* may use operations; each round has new ones. The rounds run in a
        child context, unless *config* says otherwise.

        Args:
            name: shown in the history, and compared on replay; at most 240 characters, as its waits
                are named after it. `None` writes none.
            func: gets the context to use, and which round this is, from 1.
            config: the retry strategy, and the child context.

        Raises:
            ChildContextError: the last round raised. Without a child context, what it raised.
        """
        how = rounds_config(name, func, config)

        async def rounds(ctx: DurableContext) -> T:
            attempt = 1
            while True:
                try:
                    value: Any = func(ctx, attempt)
                    result: T = await value if isawaitable(value) else value
                except Exception as error:  # noqa: BLE001 - the strategy judges
                    delay = backoff(how, error, attempt)
                else:
                    return result
                await ctx.wait(backoff_name(name, attempt), delay)
                attempt += 1

        if how.wrap_with_run_in_child_context:
            return self.run_in_child_context(name, rounds, config=how.child_context_config)
        return rounds(self)
