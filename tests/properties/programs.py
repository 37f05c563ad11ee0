"""Random durable programs: one description, compiled to both flavours and to what must come out.

The model below shares nothing with the product: it reads the description and knows the promises.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from durably import (
    ChildConfig,
    CompletionConfig,
    DurableContext,
    MapConfig,
    NestingType,
    StepConfig,
    StepSemantics,
    SyncDurableContext,
    WaitForConditionConfig,
    current_step,
    durable_execution,
)
from durably.core.active import StepContext
from durably.errors import StepError
from durably.handler import DurableFunction
from durably.retries import RetryDecision, WaitForConditionDecision

MANY_ATTEMPTS = 40


@dataclass(frozen=True)
class Step:
    """Fails *fails* times, then returns *value*; gives up first if it may fail *for good*."""

    value: int
    fails: int = 0
    at_most_once: bool = False
    for_good: bool = False


@dataclass(frozen=True)
class Wait:
    seconds: int


@dataclass(frozen=True)
class Condition:
    polls: int


@dataclass(frozen=True)
class Callback:
    with_submitter: bool


@dataclass(frozen=True)
class Invoke:
    payload: int


@dataclass(frozen=True)
class Child:
    body: tuple[Node, ...]
    is_virtual: bool = False


@dataclass(frozen=True)
class Map:
    items: tuple[tuple[Node, ...], ...]
    max_concurrency: int | None = None
    is_flat: bool = False


@dataclass(frozen=True)
class Parallel:
    branches: tuple[tuple[Node, ...], ...]


Node = Step | Wait | Condition | Callback | Invoke | Child | Map | Parallel


def _bodies(nodes: st.SearchStrategy[Node], most: int) -> st.SearchStrategy[Any]:
    return st.lists(st.lists(nodes, max_size=2).map(tuple), min_size=0, max_size=most).map(tuple)


LEAVES: st.SearchStrategy[Node] = st.one_of(
    st.builds(Step, st.integers(0, 9), st.integers(0, 2), st.booleans()),
    st.builds(Step, st.integers(0, 9), for_good=st.just(value=True)),
    st.builds(Wait, st.integers(1, 3600)),
    st.builds(Condition, st.integers(1, 3)),
    st.builds(Callback, st.booleans()),
    st.builds(Invoke, st.integers(0, 9)),
)
NODES: st.SearchStrategy[Node] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Child, st.lists(inner, max_size=3).map(tuple), st.booleans()),
        st.builds(Map, _bodies(inner, 3), st.one_of(st.none(), st.integers(1, 2)), st.booleans()),
        st.builds(Parallel, _bodies(inner, 3)),
    ),
    max_leaves=6,
)
PROGRAMS: st.SearchStrategy[tuple[Node, ...]] = st.lists(NODES, max_size=4).map(tuple)


@dataclass
class Effects:
    """Every entry of a body, outside of anything that a crash undoes."""

    entered: list[tuple[str, int]] = field(default_factory=list)

    def note(self, context: StepContext) -> int:
        """Note that an attempt has entered its body; give its number."""
        self.entered.append((context.operation_id, context.attempt))
        return context.attempt

    def repeats(self) -> Counter[tuple[str, int]]:
        """Count the entries of each attempt of each operation."""
        return Counter(self.entered)


def expected(nodes: tuple[Node, ...]) -> list[Any]:
    """Say what a program gives: the independent model."""
    return [_expected(node) for node in nodes]


def _expected(node: Node) -> Any:
    match node:
        case Step():
            value: Any = "failed" if node.for_good else node.value
        case Wait():
            value = None
        case Condition():
            value = node.polls
        case Callback():
            value = "answer"
        case Invoke():
            value = {"n": node.payload}
        case Child():
            value = expected(node.body)
        case Map(items=bodies) | Parallel(branches=bodies):
            value = [expected(body) for body in bodies]
    return value


def _retry(error: Exception, attempts_made: int) -> RetryDecision:
    return RetryDecision(should_retry=attempts_made < MANY_ATTEMPTS, delay=1)


def _give_up(error: Exception, attempts_made: int) -> RetryDecision:
    return RetryDecision(should_retry=False)


def _config(node: Step) -> StepConfig[Any]:
    semantics = (
        StepSemantics.AT_MOST_ONCE_PER_RETRY
        if node.at_most_once
        else StepSemantics.AT_LEAST_ONCE_PER_RETRY
    )
    return StepConfig(retry_strategy=_give_up if node.for_good else _retry, semantics=semantics)


def _body(node: Step, effects: Effects) -> Callable[[], int]:
    def body() -> int:
        attempt = effects.note(current_step())
        if node.for_good or attempt <= node.fails:
            raise ValueError(f"attempt {attempt}")
        return node.value

    return body


def _check(effects: Effects) -> Callable[[int], int]:
    def check(state: int) -> int:
        effects.note(current_step())
        return state + 1

    return check


def _condition(node: Condition) -> WaitForConditionConfig[int]:
    def strategy(state: int, attempt: int) -> WaitForConditionDecision:
        return WaitForConditionDecision(should_continue=state < node.polls, delay=1)

    return WaitForConditionConfig(wait_strategy=strategy, initial_state=0)


def _map_config(node: Map) -> MapConfig:
    return MapConfig(
        max_concurrency=node.max_concurrency,
        completion_config=CompletionConfig.all_completed(),
        nesting_type=NestingType.FLAT if node.is_flat else NestingType.NESTED,
    )


class Async:
    """A program as an `async def` handler."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    async def run(self, body: tuple[Node, ...], ctx: DurableContext) -> list[Any]:
        return [await getattr(self, type(node).__name__.lower())(node, ctx) for node in body]

    async def step(self, node: Step, ctx: DurableContext) -> Any:
        plain = _body(node, self._effects)

        async def body() -> int:
            await asyncio.sleep(0)
            return plain()

        try:
            return await ctx.step("step", body, config=_config(node))
        except StepError:
            return "failed"

    async def wait(self, node: Wait, ctx: DurableContext) -> None:
        await ctx.wait("wait", node.seconds)

    async def condition(self, node: Condition, ctx: DurableContext) -> int:
        check = _check(self._effects)

        async def checked(state: int) -> int:
            return check(state)

        return await ctx.wait_for_condition("condition", checked, _condition(node))

    async def callback(self, node: Callback, ctx: DurableContext) -> Any:
        if node.with_submitter:
            return await ctx.wait_for_callback("callback", self._submit)
        callback = await ctx.create_callback("callback")
        return await callback.result()

    async def _submit(self, callback_id: str) -> None:
        self._effects.note(current_step())

    async def invoke(self, node: Invoke, ctx: DurableContext) -> Any:
        return await ctx.invoke("invoke", "echo", {"n": node.payload})

    async def child(self, node: Child, ctx: DurableContext) -> Any:
        config = ChildConfig[Any](is_virtual=node.is_virtual)
        body = _branch(self.run, node.body)
        return await ctx.run_in_child_context("child", body, config=config)

    async def map(self, node: Map, ctx: DurableContext) -> list[Any]:
        async def item(child: DurableContext, body: tuple[Node, ...]) -> list[Any]:
            return await self.run(body, child)

        results: list[Any] = (await ctx.map("map", node.items, item, _map_config(node))).results()
        return results

    async def parallel(self, node: Parallel, ctx: DurableContext) -> list[Any]:
        branches = [_branch(self.run, body) for body in node.branches]
        results: list[Any] = (await ctx.parallel("parallel", branches)).results()
        return results


class Sync:
    """A program as a `def` handler."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects

    def run(self, body: tuple[Node, ...], ctx: SyncDurableContext) -> list[Any]:
        return [getattr(self, type(node).__name__.lower())(node, ctx) for node in body]

    def step(self, node: Step, ctx: SyncDurableContext) -> Any:
        try:
            return ctx.step("step", _body(node, self._effects), config=_config(node))
        except StepError:
            return "failed"

    def wait(self, node: Wait, ctx: SyncDurableContext) -> None:
        ctx.wait("wait", node.seconds)

    def condition(self, node: Condition, ctx: SyncDurableContext) -> int:
        return ctx.wait_for_condition("condition", _check(self._effects), _condition(node))

    def callback(self, node: Callback, ctx: SyncDurableContext) -> Any:
        if node.with_submitter:
            return ctx.wait_for_callback("callback", self._submit)
        return ctx.create_callback("callback").result()

    def _submit(self, callback_id: str) -> None:
        self._effects.note(current_step())

    def invoke(self, node: Invoke, ctx: SyncDurableContext) -> Any:
        return ctx.invoke("invoke", "echo", {"n": node.payload})

    def child(self, node: Child, ctx: SyncDurableContext) -> Any:
        config = ChildConfig[Any](is_virtual=node.is_virtual)
        body = _branch(self.run, node.body)
        return ctx.run_in_child_context("child", body, config=config)

    def map(self, node: Map, ctx: SyncDurableContext) -> list[Any]:
        def item(child: SyncDurableContext, body: tuple[Node, ...]) -> Any:
            return self.run(body, child)

        return ctx.map("map", node.items, item, _map_config(node)).results()

    def parallel(self, node: Parallel, ctx: SyncDurableContext) -> list[Any]:
        branches = [_branch(self.run, body) for body in node.branches]
        return ctx.parallel("parallel", branches).results()


def _branch(run: Callable[..., Any], body: tuple[Node, ...]) -> Callable[[Any], Any]:
    return lambda child: run(body, child)


def as_async(nodes: tuple[Node, ...], effects: Effects) -> DurableFunction:
    """Compile a program to an `async def` handler."""

    async def program(event: Any, ctx: DurableContext) -> Any:
        return await Async(effects).run(nodes, ctx)

    return durable_execution(program)


def as_sync(nodes: tuple[Node, ...], effects: Effects) -> DurableFunction:
    """Compile a program to a `def` handler."""

    def program(event: Any, ctx: SyncDurableContext) -> Any:
        return Sync(effects).run(nodes, ctx)

    return durable_execution(program)
