"""Steps, `def`."""

from __future__ import annotations

from typing import Any

from durably import StepConfig, StepError, StepSemantics, SyncDurableContext, current_step
from tests.conformance.handlers.functions import fail, fail_before, greet, log_and_crash, same
from tests.conformance.handlers.shared import (
    NO_RETRY,
    Loud,
    TransientError,
    backoff,
    crash,
    retrying,
)
from tests.conformance.suite import Suite

suite = Suite()


@suite.serves("1-1")
def step_basic(name: str, ctx: SyncDurableContext) -> str:
    return ctx.step(None, greet, name)


@suite.serves("1-2")
def step_named(name: str, ctx: SyncDurableContext) -> str:
    return ctx.step("custom_step_name", greet, name)


@suite.serves("1-3")
def step_after_step(_event: None, ctx: SyncDurableContext) -> str:
    def append(first: str) -> str:
        return f"{first}_second"

    first = ctx.step(None, same, "first")
    return ctx.step(None, append, first)


@suite.serves("1-4")
def step_of_object(event: dict[str, Any], ctx: SyncDurableContext) -> dict[str, Any]:
    def describe() -> dict[str, Any]:
        return {"user": event, "count": len(event["tags"])}

    return ctx.step(None, describe)


@suite.serves("1-5")
def step_of_null(_event: None, ctx: SyncDurableContext) -> None:
    ctx.step(None, same, None)


@suite.serves("1-6")
def step_with_serdes(text: str, ctx: SyncDurableContext) -> Any:
    return ctx.step(None, same, text, config=StepConfig(serdes=Loud()))


@suite.serves("1-7")
def step_that_logs(name: str, ctx: SyncDurableContext) -> str:
    def greet_aloud() -> str:
        log = current_step().logger
        log.info("Greeting step started for: %s", name)
        greeting = greet(name)
        log.info("Greeting step completed with: %s", greeting)
        return greeting

    return ctx.step(None, greet_aloud)


def _step_then_wait(ctx: SyncDurableContext, value: str, seconds: int) -> Any:
    result = ctx.step(None, same, value)
    ctx.wait(None, seconds)
    return result


@suite.serves("1-8")
def step_then_wait(_event: None, ctx: SyncDurableContext) -> Any:
    return _step_then_wait(ctx, "computed", 2)


@suite.serves("1-9")
def step_is_replayed(_event: None, ctx: SyncDurableContext) -> Any:
    return _step_then_wait(ctx, "cached_value", 1)


@suite.serves("1-10")
def step_failure_is_replayed(_event: None, ctx: SyncDurableContext) -> str:
    try:
        ctx.step(None, fail, config=NO_RETRY)
    except StepError as error:
        ctx.wait(None, 1)
        return f"caught {error}"
    raise AssertionError("the step must fail")


@suite.serves("1-11")
def step_retried(_event: None, ctx: SyncDurableContext) -> str:
    return ctx.step(None, fail_before, 2, "Operation succeeded", config=retrying(2))


@suite.serves("1-12")
def step_retried_in_vain(_event: None, ctx: SyncDurableContext) -> None:
    ctx.step(None, fail, config=retrying(4))


@suite.serves("1-13")
def step_retried_by_default(_event: None, ctx: SyncDurableContext) -> str:
    return ctx.step(None, fail_before, 3, "Operation succeeded")


@suite.serves("1-14")
def step_retried_ever_later(_event: None, ctx: SyncDurableContext) -> str:
    config: StepConfig[Any] = StepConfig(retry_strategy=backoff(3, first=2, rate=3))
    return ctx.step(None, fail_before, 3, "Operation succeeded", config=config)


@suite.serves("1-15")
def step_retried_for_type(_event: None, ctx: SyncDurableContext) -> str:
    config: StepConfig[Any] = StepConfig(retry_strategy=backoff(3, types=(TransientError,)))
    return ctx.step(None, fail_before, 2, "done", TransientError, config=config)


@suite.serves("1-16")
def step_not_retried_for_type(_event: None, ctx: SyncDurableContext) -> str:
    config: StepConfig[Any] = StepConfig(retry_strategy=backoff(3, types=(ValueError,)))
    return ctx.step(None, fail_before, 2, "done", TransientError, config=config)


@suite.serves("1-17")
def step_at_most_once(text: str, ctx: SyncDurableContext) -> None:
    config: StepConfig[Any] = StepConfig(
        semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, retry_strategy=backoff(1)
    )
    ctx.step("at_most_once_flaky_step", log_and_crash, text, config=config)


@suite.serves("1-18")
def step_at_most_once_retried(text: str, ctx: SyncDurableContext) -> str:
    def crash_once() -> str:
        step = current_step()
        step.logger.info("attempt %d: %s", step.attempt, text)
        if step.attempt == 1:
            crash()
        return "succeeded on second attempt"

    config: StepConfig[Any] = StepConfig(
        semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY, retry_strategy=backoff(2)
    )
    return ctx.step(None, crash_once, config=config)


@suite.serves("1-19")
def step_fails(_event: None, ctx: SyncDurableContext) -> None:
    ctx.step(None, fail, config=NO_RETRY)


@suite.serves("1-20")
def step_falls_back(_event: None, ctx: SyncDurableContext) -> Any:
    try:
        ctx.step(None, fail, config=NO_RETRY)
    except StepError:
        return ctx.step(None, same, "fallback_result")
    raise AssertionError("the step must fail")
