"""Child contexts, `def`."""

from __future__ import annotations

import threading
from typing import Any, Never

from durably import ChildConfig, ChildContextError, SyncDurableContext
from tests.conformance.handlers.functions import fail, fail_before, gives, raises, same, steps_to
from tests.conformance.handlers.shared import LARGE, NO_RETRY, Loud, crash, retrying
from tests.conformance.suite import Suite

suite = Suite()


def step_fails(ctx: SyncDurableContext) -> Never:
    ctx.step(None, fail, config=NO_RETRY)
    raise AssertionError("the step must fail")


def step_then_wait(ctx: SyncDurableContext, value: str) -> Any:
    result = ctx.step(None, same, value)
    ctx.wait(None, 1)
    return result


@suite.serves("3-1")
def child_basic(text: str, ctx: SyncDurableContext) -> Any:
    return ctx.run_in_child_context(None, steps_to(text))


@suite.serves("3-2")
def child_named(event: dict[str, str], ctx: SyncDurableContext) -> Any:
    return ctx.run_in_child_context(event["name"], steps_to(event["value"]))


@suite.serves("3-3")
def child_of_two_steps(text: str, ctx: SyncDurableContext) -> Any:
    def both(child: SyncDurableContext) -> Any:
        first = child.step(None, same, text)
        return child.step(None, same, first)

    return ctx.run_in_child_context("both", both)


@suite.serves("3-4")
def child_fails(_event: None, ctx: SyncDurableContext) -> None:
    ctx.run_in_child_context("failing", step_fails)


@suite.serves("3-5")
def child_failure_caught(text: str, ctx: SyncDurableContext) -> Any:
    try:
        ctx.run_in_child_context(None, step_fails)
    except ChildContextError:
        return ctx.step(None, same, text)
    raise AssertionError("the child must fail")


@suite.serves("3-6")
def child_in_child(text: str, ctx: SyncDurableContext) -> Any:
    def outer(child: SyncDurableContext) -> Any:
        child.step(None, same, text)
        return child.run_in_child_context("inner", steps_to(text))

    return ctx.run_in_child_context("outer", outer)


@suite.serves("3-7")
def child_step_retried(text: str, ctx: SyncDurableContext) -> str:
    def flaky(child: SyncDurableContext) -> str:
        return child.step(None, fail_before, 2, text, config=retrying(2))

    return ctx.run_in_child_context("flaky", flaky)


@suite.serves("3-8")
def child_step_retried_in_vain(_event: None, ctx: SyncDurableContext) -> None:
    def flaky(child: SyncDurableContext) -> None:
        child.step(None, fail, config=retrying(2))

    ctx.run_in_child_context("flaky", flaky)


@suite.serves("3-9")
def child_is_replayed(text: str, ctx: SyncDurableContext) -> Any:
    result = ctx.run_in_child_context(None, steps_to(text))
    ctx.wait(None, 1)
    return result


@suite.serves("3-10")
def child_of_step_and_wait(text: str, ctx: SyncDurableContext) -> Any:
    return ctx.run_in_child_context("mixed", step_then_wait, text)


@suite.serves("3-11")
def child_of_large_result(text: str, ctx: SyncDurableContext) -> int:
    def large(child: SyncDurableContext) -> str:
        child.logger.with_mode(mode_aware=False).info("the body runs: %s", text)
        small: str = child.step(None, same, "x")
        return small * LARGE

    result = ctx.run_in_child_context("large", large)
    ctx.wait(None, 1)
    return len(result)


@suite.serves("3-12")
def child_crashes_once(text: str, ctx: SyncDurableContext) -> str:
    def body(child: SyncDurableContext) -> str:
        was_cut_off = child.is_replaying

        def crash_once() -> str:
            if not was_cut_off:
                threading.Event().wait(0.2)  # the start of the step is recorded meanwhile
                crash()
            return text

        return child.step(None, crash_once)

    return ctx.run_in_child_context(None, body)


@suite.serves("3-13")
def child_of_wait(text: str, ctx: SyncDurableContext) -> Any:
    def pause(child: SyncDurableContext) -> str:
        child.wait(None, 1)
        return text

    return ctx.step(None, same, ctx.run_in_child_context("pause", pause))


@suite.serves("3-14")
def child_with_serdes(text: str, ctx: SyncDurableContext) -> Any:
    return ctx.run_in_child_context("loud", steps_to(text), config=ChildConfig(serdes=Loud()))


@suite.serves("3-15")
def child_fails_without_step(_event: None, ctx: SyncDurableContext) -> None:
    ctx.run_in_child_context("failing", raises)


@suite.serves("3-16")
def child_of_null(_event: None, ctx: SyncDurableContext) -> None:
    ctx.run_in_child_context("nothing", gives(None))


@suite.serves("3-17")
def child_that_logs(text: str, ctx: SyncDurableContext) -> str:
    def aloud(child: SyncDurableContext) -> str:
        child.logger.with_mode(mode_aware=False).info("the body runs: %s", text)
        return text

    result = ctx.run_in_child_context("aloud", aloud)
    ctx.wait(None, 1)
    return result


@suite.serves("3-18")
def child_and_more(text: str, ctx: SyncDurableContext) -> Any:
    inner = ctx.run_in_child_context("mixed", step_then_wait, text)
    return step_then_wait(ctx, inner)
