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
    ParallelConfig,
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
    st.builds(Step, st.integers(0, 9), for_good=st.just(True)),
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
            return "failed" if node.for_good else node.value
        case Wait():
            return None
        case Condition():
            return node.polls
        case Callback():
            return "answer"
        case Invoke():
            return {"n": node.payload}
        case Child():
            return expected(node.body)
        case Map(items=bodies) | Parallel(branches=bodies):
            return [expected(body) for body in bodies]


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


def as_async(nodes: tuple[Node, ...], effects: Effects) -> DurableFunction:
    """Compile a program to an `async def` handler."""

    async def run(body: tuple[Node, ...], ctx: DurableContext) -> list[Any]:
        return [await one(node, ctx) for node in body]

    async def one(node: Node, ctx: DurableContext) -> Any:  # noqa: C901, PLR0911, PLR0912
        match node:
            case Step():
                plain = _body(node, effects)

                async def body() -> int:
                    await asyncio.sleep(0)
                    return plain()

                try:
                    return await ctx.step("step", body, config=_config(node))
                except StepError:
                    return "failed"
            case Wait():
                return await ctx.wait("wait", node.seconds)
            case Condition():
                check = _check(effects)

                async def checked(state: int) -> int:
                    return check(state)

                return await ctx.wait_for_condition("condition", checked, _condition(node))
            case Callback(with_submitter=True):

                async def submit(callback_id: str) -> None:
                    effects.note(current_step())

                return await ctx.wait_for_callback("callback", submit)
            case Callback():
                callback = await ctx.create_callback("callback")
                return await callback.result()
            case Invoke():
                return await ctx.invoke("invoke", "echo", {"n": node.payload})
            case Child():
                config = ChildConfig[Any](is_virtual=node.is_virtual)
                return await ctx.run_in_child_context(
                    "child", lambda child: run(node.body, child), config=config
                )
            case Map():
                mapped: Any = await ctx.map(
                    "map", node.items, lambda child, item: run(item, child), _map_config(node)
                )
                return mapped.results()
            case Parallel():
                branches = [_branch(run, body) for body in node.branches]
                both: Any = await ctx.parallel("parallel", branches, ParallelConfig())
                return both.results()

    async def program(event: Any, ctx: DurableContext) -> Any:
        return await run(nodes, ctx)

    return durable_execution(program)


def _branch(run: Callable[..., Any], body: tuple[Node, ...]) -> Callable[[Any], Any]:
    return lambda child: run(body, child)


def as_sync(nodes: tuple[Node, ...], effects: Effects) -> DurableFunction:
    """Compile a program to a `def` handler."""

    def run(body: tuple[Node, ...], ctx: SyncDurableContext) -> list[Any]:
        return [one(node, ctx) for node in body]

    def one(node: Node, ctx: SyncDurableContext) -> Any:  # noqa: PLR0911
        match node:
            case Step():
                try:
                    return ctx.step("step", _body(node, effects), config=_config(node))
                except StepError:
                    return "failed"
            case Wait():
                return ctx.wait("wait", node.seconds)  # type: ignore[func-returns-value]  # None is its value
            case Condition():
                return ctx.wait_for_condition("condition", _check(effects), _condition(node))
            case Callback(with_submitter=True):
                return ctx.wait_for_callback(
                    "callback", lambda callback_id: effects.note(current_step())
                )
            case Callback():
                return ctx.create_callback("callback").result()
            case Invoke():
                return ctx.invoke("invoke", "echo", {"n": node.payload})
            case Child():
                config = ChildConfig[Any](is_virtual=node.is_virtual)
                return ctx.run_in_child_context(
                    "child", lambda child: run(node.body, child), config=config
                )
            case Map():
                items = node.items
                return ctx.map(
                    "map", items, lambda child, item: run(item, child), _map_config(node)
                ).results()
            case Parallel():
                branches = [_branch(run, body) for body in node.branches]
                return ctx.parallel("parallel", branches, ParallelConfig()).results()

    def program(event: Any, ctx: SyncDurableContext) -> Any:
        return run(nodes, ctx)

    return durable_execution(program)
