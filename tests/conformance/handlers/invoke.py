"""Functions that invoke others."""

from __future__ import annotations

from typing import Any

from durably import DurableContext, InvokeConfig, InvokeError
from tests.conformance.handlers.coroutines import same
from tests.conformance.handlers.shared import LoudJson, RequirementError
from tests.conformance.suite import Suite

suite = Suite()


@suite.target
async def echo(event: Any, ctx: DurableContext) -> Any:
    await ctx.wait(None, 1)
    return event


@suite.target
async def failing(_event: Any, ctx: DurableContext) -> None:
    await ctx.wait(None, 1)
    raise RequirementError("the target fails")


@suite.serves("5-1")
async def invoke_basic(event: Any, ctx: DurableContext) -> Any:
    return await ctx.invoke(None, "echo", event)


@suite.serves("5-2")
async def invoke_named(event: dict[str, str], ctx: DurableContext) -> Any:
    return await ctx.invoke(event["name"], "echo", event["payload"])


@suite.serves("5-3")
async def invoke_with_object(event: Any, ctx: DurableContext) -> Any:
    return await ctx.invoke(None, "echo", event)


@suite.serves("5-4")
async def invoke_with_null(event: Any, ctx: DurableContext) -> Any:
    return await ctx.invoke(None, "echo", event)


@suite.serves("5-5")
async def invoke_fails(event: Any, ctx: DurableContext) -> Any:
    return await ctx.invoke(None, "failing", event)


@suite.serves("5-6")
async def invoke_failure_caught(event: Any, ctx: DurableContext) -> Any:
    try:
        return await ctx.invoke(None, "failing", event)
    except InvokeError:
        return "fallback"


@suite.serves("5-7")
async def invoke_with_large_payload(_event: None, ctx: DurableContext) -> int:
    return len(await ctx.invoke(None, "echo", "x" * 200 * 1024))


@suite.serves("5-8")
async def invoke_for_tenant(event: dict[str, str], ctx: DurableContext) -> Any:
    config: InvokeConfig[Any] = InvokeConfig(tenant_id=event["tenantId"])
    return await ctx.invoke(None, "echo", event["payload"], config)


@suite.serves("5-9")
async def invoke_is_replayed(event: Any, ctx: DurableContext) -> Any:
    result = await ctx.invoke(None, "echo", event)
    await ctx.wait(None, 1)
    return result


@suite.serves("5-10")
async def invoke_failure_is_replayed(event: Any, ctx: DurableContext) -> str:
    try:
        await ctx.invoke(None, "failing", event)
    except InvokeError as error:
        await ctx.wait(None, 1)
        return f"caught: {error}"
    raise AssertionError("the target must fail")


@suite.serves("5-11")
async def invoke_after_step(event: Any, ctx: DurableContext) -> Any:
    return await ctx.invoke(None, "echo", await ctx.step(None, same, event))


@suite.serves("5-12")
async def invoke_before_step(event: Any, ctx: DurableContext) -> Any:
    return await ctx.step(None, same, await ctx.invoke(None, "echo", event))


@suite.serves("5-13")
async def invoke_in_child(event: Any, ctx: DurableContext) -> Any:
    async def body(child: DurableContext) -> Any:
        return await child.invoke(None, "echo", event)

    return await ctx.run_in_child_context(None, body)


@suite.serves("5-14")
async def invoke_twice(event: Any, ctx: DurableContext) -> list[Any]:
    return [await ctx.invoke(None, "echo", event), await ctx.invoke(None, "echo", event)]


@suite.serves("5-15")
async def invoke_with_payload_serdes(event: Any, ctx: DurableContext) -> Any:
    config: InvokeConfig[Any] = InvokeConfig(payload_serdes=LoudJson())
    return await ctx.invoke(None, "echo", event, config)


@suite.serves("5-16")
async def invoke_with_result_serdes(event: Any, ctx: DurableContext) -> Any:
    return await ctx.invoke(None, "echo", event, InvokeConfig(result_serdes=LoudJson()))
