"""What single invocations of an engine look like, from inside and in the history."""

from typing import Any

import pytest

from durably import (
    DurableContext,
    DurablePlugin,
    Engine,
    InvocationInfo,
    SyncDurableContext,
    durable_execution,
)
from durably.wire.history import InvocationCompletedDetails

LEAVES: list[int] = []
"""With which codes `leave` still wants to end the process."""


def leave() -> str:
    if LEAVES:
        raise SystemExit(LEAVES.pop())
    return "stayed"


@durable_execution
async def leaving(_event: None, ctx: DurableContext) -> str:
    return await ctx.step("leave", leave)


@durable_execution
def leaving_sync(_event: None, ctx: SyncDurableContext) -> str:
    return ctx.step("leave", leave)


async def invocations(engine: Engine, name: str) -> list[InvocationCompletedDetails]:
    page = await engine.history(name)
    details = [event.invocation_completed_details for event in page.events]
    return [each for each in details if each is not None]


@pytest.mark.parametrize("function", [leaving, leaving_sync])
async def test_sys_exit_is_to_the_history_what_a_dead_process_is(function: Any) -> None:
    LEAVES.append(3)
    async with Engine("memory:", [function], grace=0) as engine:
        run = await engine.start(function, None, name="leaver")

        assert await run.result() == "stayed"
        first, last = await invocations(engine, "leaver")

    assert first.error is not None
    assert first.error.payload is not None
    assert first.error.payload.error_type == "Runtime.ExitError"
    assert first.error.payload.error_message == "user code called sys.exit(3)"
    assert last.error is None


class Listening(DurablePlugin):
    def __init__(self) -> None:
        self.request_ids: list[str | None] = []

    def on_invocation_start(self, info: InvocationInfo) -> None:
        self.request_ids.append(info.request_id)

    def on_invocation_end(self, info: InvocationInfo) -> None:
        self.request_ids.append(info.request_id)


async def test_a_plugin_hears_the_request_id_that_the_history_shows() -> None:
    async def watched(_event: None, ctx: DurableContext) -> str:
        return await ctx.step("stay", leave)

    plugin = Listening()
    function = durable_execution(watched, plugins=[plugin])
    async with Engine("memory:", [function], grace=0) as engine:
        await (await engine.start(function, None, name="heard")).result()

        (invocation,) = await invocations(engine, "heard")

    assert plugin.request_ids == [invocation.request_id] * 2
