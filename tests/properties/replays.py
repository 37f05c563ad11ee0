"""More kinds of random programs, and every way in which an invocation may reach its backend.

What is here goes beyond `programs`: futures awaited together, combinators, rounds of retries,
batches that stop early, results too large to be recorded, contexts that fail.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from durably import (
    ChildConfig,
    CompletionConfig,
    DurableContext,
    MapConfig,
    SyncDurableContext,
    WithRetryConfig,
    current_step,
    durable_execution,
)
from durably.clients.in_memory import InMemoryClient
from durably.drivers.client import Listener
from durably.drivers.settings import Host
from durably.errors import ChildContextError, PromiseCombinatorError
from durably.handler import DurableFunction, validate_durable_execution_event
from durably.retries import RetryDecision
from durably.testing.simulated import simulate
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.update import OperationUpdate
from tests.properties import programs
from tests.properties.programs import LEAVES, Async, Effects, Step, Sync
from tests.properties.test_crashes import CrashingClient

LARGE = 300_000


@dataclass(frozen=True)
class Together:
    """Steps that are awaited together."""

    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Combined:
    """Steps of which the first *failing* fail for good, under one of the combinators."""

    how: str
    failing: int
    succeeding: int


@dataclass(frozen=True)
class Rounds:
    """A body that is tried until the round of this number, counted from 1."""

    last: int


@dataclass(frozen=True)
class Early:
    """A map, item after item, that stops at the first failure or when enough have succeeded."""

    items: tuple[int, ...]
    enough: int | None


@dataclass(frozen=True)
class Large:
    """A child whose result is too large to be recorded."""

    body: tuple[Any, ...]


@dataclass(frozen=True)
class Failing:
    """A child that fails after its body."""

    body: tuple[Any, ...]


@dataclass(frozen=True)
class Chance:
    """Random numbers; the same in every replay."""


STEPS = st.builds(Step, st.integers(0, 9), st.integers(0, 1))
ALIKE: st.SearchStrategy[Any] = st.one_of(
    LEAVES,
    st.builds(Together, st.lists(STEPS, max_size=4).map(tuple)),
    st.builds(Rounds, st.integers(1, 3)),
    st.builds(
        Early,
        st.lists(st.integers(-1, 5), max_size=5).map(tuple),
        st.one_of(st.none(), st.just(1)),
    ),
    st.builds(Chance),
)
"""Nodes that both flavours record alike."""

BODIES = st.lists(ALIKE, max_size=3).map(tuple)
PROGRAMS_ALIKE: st.SearchStrategy[tuple[Any, ...]] = st.lists(
    st.one_of(ALIKE, st.builds(Failing, BODIES), st.builds(Large, BODIES)), max_size=3
).map(tuple)
PROGRAMS: st.SearchStrategy[tuple[Any, ...]] = st.lists(
    st.one_of(
        ALIKE,
        st.builds(Failing, BODIES),
        st.builds(Large, BODIES),
        st.builds(
            Combined,
            st.sampled_from(["all", "any", "all_settled"]),
            st.integers(0, 2),
            st.integers(0, 1),
        ),
    ),
    max_size=3,
).map(tuple)


def expected(body: tuple[Any, ...]) -> list[Any]:
    """Say what a program gives, chance left out: the independent model."""
    return [_expected(node) for node in body]


def _expected(node: Any) -> Any:
    match node:
        case Together(steps):
            value: Any = [step.value for step in steps]
        case Combined():
            value = _combined(node)
        case Rounds(last):
            value = last
        case Early():
            value = _early(node)
        case Large(body):
            value = [LARGE, expected(body)]
        case Failing():
            value = "child failed"
        case Chance():
            value = "chance"
        case _:
            value = programs.expected((node,))[0]
    return value


def _combined(node: Combined) -> Any:
    if node.how == "all_settled":
        return ["rejected"] * node.failing + ["fulfilled"] * node.succeeding
    if node.how == "all":
        return "none" if node.failing else ["ok"] * node.succeeding
    return "ok" if node.succeeding else "none"


def _early(node: Early) -> Any:
    done: list[Any] = []
    for item in node.items:
        done.append(None if item < 0 else item)
        succeeded = sum(one is not None for one in done)
        if node.enough is None and item < 0:
            break
        if node.enough is not None and succeeded >= node.enough:
            break
    return done


def without_chance(result: Any) -> Any:
    """Hide in *result* what no model can foresee."""
    if isinstance(result, dict) and set(result) == {"chance"}:
        return "chance"
    return [without_chance(one) for one in result] if isinstance(result, list) else result


def _rounds(error: Exception, attempts_made: int) -> RetryDecision:
    return RetryDecision(should_retry=True, delay=1)


def _early_config(node: Early) -> MapConfig:
    enough = CompletionConfig(min_successful=node.enough)
    config = CompletionConfig() if node.enough is None else enough
    return MapConfig(max_concurrency=1, completion_config=config)


def _enough(node: Early) -> Early:
    """Ask for no more successes than there are items."""
    return node if node.items else Early((), None)


class MoreAsync(Async):
    """The nodes above in an `async def` handler."""

    async def together(self, node: Together, ctx: DurableContext) -> list[Any]:
        futures = [
            ctx.step("step", programs._body(step, self._effects), config=programs._config(step))
            for step in node.steps
        ]
        return list(await asyncio.gather(*futures))

    async def combined(self, node: Combined, ctx: DurableContext) -> Any:
        def step(number: int) -> Any:
            config = programs._config(Step(0, for_good=True))
            return ctx.step("step", _outcome(node, number, self._effects), config=config)

        futures = [step(number) for number in range(node.failing + node.succeeding)]
        try:
            found = await getattr(ctx, node.how)(node.how, futures)
        except PromiseCombinatorError:
            return "none"
        return [one.status for one in found] if node.how == "all_settled" else found

    async def rounds(self, node: Rounds, ctx: DurableContext) -> Any:
        async def attempt(child: DurableContext, number: int) -> int:
            note = _note(self._effects)
            await child.step("round", note)
            if number < node.last:
                raise ValueError(number)
            return number

        return await ctx.with_retry("rounds", attempt, WithRetryConfig(retry_strategy=_rounds))

    async def early(self, node: Early, ctx: DurableContext) -> Any:
        async def item(child: DurableContext, value: int) -> int:
            await child.step("item", _note(self._effects))
            return _checked(value)

        batch = await ctx.map("early", node.items, item, _early_config(_enough(node)))
        return [one.result for one in batch.all]

    async def large(self, node: Large, ctx: DurableContext) -> Any:
        async def body(child: DurableContext) -> Any:
            return ["x" * LARGE, await self.run(node.body, child)]

        text, rest = await ctx.run_in_child_context("large", body, config=ChildConfig[Any]())
        return [len(text), rest]

    async def failing(self, node: Failing, ctx: DurableContext) -> Any:
        async def body(child: DurableContext) -> Any:
            await self.run(node.body, child)
            raise ValueError("no")

        try:
            await ctx.run_in_child_context("failing", body)
        except ChildContextError:
            return "child failed"

    async def chance(self, node: Chance, ctx: DurableContext) -> Any:
        return {"chance": [ctx.random(), str(ctx.uuid4())]}


class MoreSync(Sync):
    """The nodes above in a `def` handler."""

    def together(self, node: Together, ctx: SyncDurableContext) -> list[Any]:
        return [self.step(step, ctx) for step in node.steps]

    def combined(self, node: Combined, ctx: SyncDurableContext) -> Any:
        def branch(number: int) -> Any:
            config = programs._config(Step(0, for_good=True))
            body = _outcome(node, number, self._effects)
            return lambda child: child.step("step", body, config=config)

        branches = [branch(number) for number in range(node.failing + node.succeeding)]
        try:
            found = getattr(ctx, node.how)(node.how, branches)
        except PromiseCombinatorError:
            return "none"
        return [one.status for one in found] if node.how == "all_settled" else found

    def rounds(self, node: Rounds, ctx: SyncDurableContext) -> Any:
        def attempt(child: SyncDurableContext, number: int) -> int:
            child.step("round", _note(self._effects))
            if number < node.last:
                raise ValueError(number)
            return number

        return ctx.with_retry("rounds", attempt, WithRetryConfig(retry_strategy=_rounds))

    def early(self, node: Early, ctx: SyncDurableContext) -> Any:
        def item(child: SyncDurableContext, value: int) -> int:
            child.step("item", _note(self._effects))
            return _checked(value)

        batch = ctx.map("early", node.items, item, _early_config(_enough(node)))
        return [one.result for one in batch.all]

    def large(self, node: Large, ctx: SyncDurableContext) -> Any:
        def body(child: SyncDurableContext) -> Any:
            return ["x" * LARGE, self.run(node.body, child)]

        text, rest = ctx.run_in_child_context("large", body, config=ChildConfig[Any]())
        return [len(text), rest]

    def failing(self, node: Failing, ctx: SyncDurableContext) -> Any:
        def body(child: SyncDurableContext) -> Any:
            self.run(node.body, child)
            raise ValueError("no")

        try:
            ctx.run_in_child_context("failing", body)
        except ChildContextError:
            return "child failed"

    def chance(self, node: Chance, ctx: SyncDurableContext) -> Any:
        return {"chance": [ctx.random(), str(ctx.uuid4())]}


def _outcome(node: Combined, number: int, effects: Effects) -> Callable[[], str]:
    def body() -> str:
        effects.note(current_step())
        if number < node.failing:
            raise ValueError("no")
        return "ok"

    return body


def _note(effects: Effects) -> Callable[[], None]:
    def note() -> None:
        effects.note(current_step())

    return note


def _checked(value: int) -> int:
    if value < 0:
        raise ValueError(value)
    return value


def as_async(body: tuple[Any, ...], effects: Effects) -> DurableFunction:
    """Compile a program to an `async def` handler."""

    async def program(event: Any, ctx: DurableContext) -> Any:
        return await MoreAsync(effects).run(body, ctx)

    return durable_execution(program)


def as_sync(body: tuple[Any, ...], effects: Effects) -> DurableFunction:
    """Compile a program to a `def` handler."""

    def program(event: Any, ctx: SyncDurableContext) -> Any:
        return MoreSync(effects).run(body, ctx)

    return durable_execution(program)


# The ways to the backend


class Blocking(CrashingClient):
    """A client that blocks, so that it is called in threads."""

    answers_at_once = False


class Awaited:
    """A client that is awaited, and answers after a few turns of the loop."""

    def __init__(self, inner: CrashingClient) -> None:
        self._inner = inner

    async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        for _ in range(2):
            await asyncio.sleep(0)
        return self._inner.checkpoint(request)

    async def get_execution_state(
        self, request: GetExecutionStateRequest
    ) -> GetExecutionStateResponse:
        return self._inner.get_execution_state(request)


class Pushing(Awaited):
    """A client in the same process; nothing happens outside while an invocation runs."""

    request_id = "request"
    host = Host()

    def post(self, update: OperationUpdate) -> None:
        request = CheckpointRequest(
            durable_execution_arn="arn", checkpoint_token="", updates=(update,)
        )
        self._inner.checkpoint(request)

    def listen(self, listener: Listener) -> None:
        """Nothing is ever pushed."""


class Simulated:
    """A client under the driver that runs everything in one thread; each invocation differs."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.invocations = 0


def invoke(function: DurableFunction, backend: InMemoryClient, client: Any) -> dict[str, Any]:
    """Make one invocation, whatever kind of client it is."""
    if isinstance(client, Simulated):
        client.invocations += 1
        output = simulate(function, backend.event(), client.inner, seed=client.invocations)
        return {"Status": output.status, "Result": output.result, "Error": output.error}
    if not inspect.iscoroutinefunction(client.checkpoint):
        function._client = client
        return function(backend.event())

    async def work() -> Any:
        return await function.invoke(validate_durable_execution_event(backend.event()), client)

    output = asyncio.run(work())
    return {"Status": output.status, "Result": output.result, "Error": output.error}


def result_of(output: dict[str, Any]) -> Any:
    """Give the result of an invocation that has succeeded."""
    return json.loads(output["Result"])
