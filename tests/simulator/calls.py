"""What the nodes of a program are called with: strategies, configurations, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from durably import (
    ChildConfig,
    CompletionConfig,
    CompletionDecision,
    CompletionOutcome,
    CompletionStatus,
    ConcurrencyConfig,
    MapConfig,
    NamedParallelBranch,
    NestingType,
    ParallelConfig,
    RetryDecision,
    RetryStrategy,
    SerdesContext,
    StepConfig,
    StepSemantics,
    WaitForCallbackConfig,
    WaitForConditionConfig,
    WaitForConditionDecision,
    WithRetryConfig,
    complete_batch,
    continue_batch,
)
from tests.simulator.programs import Again, Ask, Child, Completion, Condition, Fan, Step
from tests.simulator.values import read_marked, write_marked

NOBODY = "nobody"
"""The name of a function that is not there."""


class BoomError(Exception):
    """What user code raises and strategies try again."""


class FatalError(Exception):
    """What user code raises and strategies give up on."""


class ExhaustedError(Exception):
    """What a wait strategy raises when the checks have run out."""


def step_config(node: Step) -> StepConfig[Any]:
    """Make the configuration of a step."""
    semantics = StepSemantics.AT_LEAST_ONCE_PER_RETRY
    if node.once:
        semantics = StepSemantics.AT_MOST_ONCE_PER_RETRY
    return StepConfig(
        retry_strategy=strategy(node.attempts, node.delay),
        semantics=semantics,
        serdes=_Marking() if node.marked else None,
    )


def child_config(node: Child) -> ChildConfig[Any]:
    """Make the configuration of a child context."""
    return ChildConfig(is_virtual=node.virtual, serdes=_Marking() if node.marked else None)


class _Marking:
    """Marks what it reads."""

    def serialize(self, value: object, context: SerdesContext) -> str:
        return write_marked(value)

    def deserialize(self, text: str, context: SerdesContext) -> object:
        return read_marked(text)


def condition_config(node: Condition) -> WaitForConditionConfig[int]:
    """Make the configuration of a condition."""
    return WaitForConditionConfig(wait_strategy=until(node), initial_state=0)


def ask_config(node: Ask) -> WaitForCallbackConfig[Any]:
    """Make the configuration of a `wait_for_callback`."""
    return WaitForCallbackConfig(
        timeout=node.timeout,
        heartbeat_timeout=node.heartbeat,
        retry_strategy=strategy(node.attempts, node.delay),
    )


def again_config(node: Again) -> WithRetryConfig:
    """Make the configuration of a `with_retry`."""
    return WithRetryConfig(
        retry_strategy=strategy(node.attempts, node.delay),
        wrap_with_run_in_child_context=node.wrapped,
    )


def strategy(attempts: int, delay: float) -> RetryStrategy:
    """Make a strategy for so many attempts, and no other after `FatalError`."""

    def decide(error: Exception, made: int) -> RetryDecision:
        if made >= attempts or isinstance(error, FatalError):
            return RetryDecision.no_retry()
        return RetryDecision.retry(delay)

    return decide


def until(node: Condition) -> Callable[[int, int], WaitForConditionDecision]:
    """Make the wait strategy of a condition."""

    def decide(state: int, made: int) -> WaitForConditionDecision:
        if state >= node.checks:
            return WaitForConditionDecision.stop_polling()
        if made >= node.limit:
            raise ExhaustedError(f"{made} checks")
        return WaitForConditionDecision.continue_waiting(node.delay)

    return decide


def completion(node: Completion) -> CompletionConfig:
    """Make a completion configuration."""
    if node.quorum is None:
        return CompletionConfig(
            min_successful=node.min_successful,
            tolerated_failure_count=node.tolerated_count,
            tolerated_failure_percentage=node.tolerated_percentage,
        )
    good, bad = node.quorum

    def decide(status: CompletionStatus) -> CompletionDecision:
        if status.success_count >= good:
            return complete_batch()
        if status.failure_count >= bad:
            return complete_batch(CompletionOutcome.FAILED)
        return continue_batch()

    return CompletionConfig(should_complete=decide)


def _map(ctx: Any, node: Fan, bodies: list[Callable[..., Any]]) -> Any:
    items = list(range(100, 100 + len(bodies)))

    def one(child: Any, item: int, index: int, every: list[int]) -> Any:
        assert every[index] == item == 100 + index
        return bodies[index](child)

    return ctx.map(node.name, items, one, MapConfig(**_settings(node)))


def _parallel(ctx: Any, node: Fan, bodies: list[Callable[..., Any]]) -> Any:
    branches = [
        NamedParallelBranch(f"branch {place}", body) if place % 2 else body
        for place, body in enumerate(bodies)
    ]
    return ctx.parallel(node.name, branches, ParallelConfig(**_settings(node)))


def _concurrently(ctx: Any, node: Fan, bodies: list[Callable[..., Any]]) -> Any:
    def one(child: Any, index: int) -> Any:
        return bodies[index](child)

    config = ConcurrencyConfig(
        top_level_sub_type="Crowd",
        iteration_sub_type="Member",
        item_namer=lambda _, index: f"member {index}",
        **_settings(node),
    )
    return ctx.execute_concurrently(node.name, range(len(bodies)), one, config)


FANS = {"map": _map, "parallel": _parallel, "concurrently": _concurrently}


def _settings(node: Fan) -> dict[str, Any]:
    return {
        "max_concurrency": node.limit,
        "completion_config": completion(node.completion),
        "nesting_type": NestingType.FLAT if node.flat else NestingType.NESTED,
    }
