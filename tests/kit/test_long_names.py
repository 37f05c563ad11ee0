"""Operations that others are named after: a name without room for that is refused at the call."""

from typing import Any

import pytest

from durably import (
    DurableContext,
    RetryDecision,
    SyncDurableContext,
    ValidationError,
    WithRetryConfig,
    durable_execution,
)
from durably.testing import TestEngine

AGAIN = WithRetryConfig(retry_strategy=lambda error, attempt: RetryDecision(attempt < 3))


@durable_execution
async def asks(name: str, ctx: DurableContext) -> Any:
    try:
        return await ctx.wait_for_callback(name, print)
    except ValidationError as refused:
        return refused.field


@durable_execution
def asks_blocking(name: str, ctx: SyncDurableContext) -> Any:
    try:
        return ctx.wait_for_callback(name, print)
    except ValidationError as refused:
        return refused.field


def third(ctx: object, attempt: int) -> int:
    if attempt < 3:
        raise ConnectionError(attempt)
    return attempt


@durable_execution
async def tries(name: str, ctx: DurableContext) -> Any:
    try:
        return await ctx.with_retry(name, third, AGAIN)
    except ValidationError as refused:
        return refused.field


@durable_execution
def tries_blocking(name: str, ctx: SyncDurableContext) -> Any:
    try:
        return ctx.with_retry(name, third, AGAIN)
    except ValidationError as refused:
        return refused.field


@pytest.mark.parametrize("function", [asks, asks_blocking])
async def test_a_callback_s_name_leaves_room_for_what_it_does(function: Any) -> None:
    async with TestEngine(functions=[function]) as t:
        t.answer_callbacks("n" * 237, payload="yes")
        longest = await t.run(function, "n" * 237)
        refused = await t.run(function, "n" * 238)

    assert longest.result == "yes"
    assert refused.result == "name"
    assert refused.operations == ()


@pytest.mark.parametrize("function", [tries, tries_blocking])
async def test_a_round_s_name_leaves_room_for_its_waits(function: Any) -> None:
    async with TestEngine(functions=[function]) as t:
        longest = await t.run(function, "n" * 240)
        refused = await t.run(function, "n" * 241)

    assert longest.result == 3
    assert refused.result == "name"
    assert refused.operations == ()
