"""Functions with plugins that watch them."""

from __future__ import annotations

from typing import Any

from durably import (
    DurableContext,
    InvocationInfo,
    NamedParallelBranch,
    OperationInfo,
    ParallelConfig,
    current_step,
)
from tests.conformance.handlers.coroutines import fail, fail_before, gives, greet, same
from tests.conformance.handlers.shared import NO_RETRY, branches_in_order, retrying
from tests.conformance.handlers.watchers import Change, View, dump, is_terminal, of, watching
from tests.conformance.suite import Suite

suite = Suite()

STEP, WAIT, CONTEXT = "STEP", "WAIT", "CONTEXT"

INVOCATIONS: dict[str, View] = {
    "invocation-start": of(first="is_first_invocation"),
    "invocation-end": of(status="status"),
}
ATTEMPTS: dict[str, View] = {
    "attempt-start": of(n="attempt", op="id"),
    "attempt-end": of(n="attempt", outcome="outcome", op="id"),
}
LIFE: dict[str, View] = {**INVOCATIONS, **ATTEMPTS} | {
    "operation-start": of(op="id"),
    "operation-end": of(op="id", status="status"),
}


def _ended(info: OperationInfo) -> dict[str, object]:
    error = "NONE" if info.error is None else info.error.error_message
    result = "NONE" if info.result is None else info.result
    return {"op": info.id, "status": info.status, "result": result, "error": error}


def _with_parent(**names: str) -> View:
    shown = of(parent="parent_id", **names)
    return lambda info: {**shown(info), "parent": info.parent_id or "NONE"}


def _invocation_ended(info: InvocationInfo) -> dict[str, object]:
    first, status = info.is_first_invocation, info.status
    return {"first": first, "terminal": is_terminal(info), "status": status}


def _wait_started(info: OperationInfo) -> dict[str, object]:
    shown = of(type="type", name="name", replay="is_replay")(info)
    return {**shown, "pending": info.end_timestamp is None}


def _changed(change: Change) -> dict[str, object]:
    item = change.item
    is_known = item.id in change.whole.operations
    return {"op": item.id, "status": item.status, "in_full_map": is_known}


def _dump_change(change: Change) -> dict[str, object]:
    is_known = change.item.id in change.whole.operations
    return {**dump(change.whole), **dump(change.item), "inFullMap": is_known}


@suite.serves("10-1", plugins=[watching(INVOCATIONS)])
async def plugin_invocations(name: str, ctx: DurableContext) -> str:
    async def greet_aloud() -> str:
        current_step().logger.info("Greeting step running for: %s", name)
        return await greet(name)

    return await ctx.step(None, greet_aloud)


@suite.serves("10-2", plugins=[watching(LIFE, STEP)])
async def plugin_operations(name: str, ctx: DurableContext) -> str:
    return await ctx.step(None, greet, name)


@suite.serves("10-3", plugins=[watching(ATTEMPTS, STEP)])
async def plugin_attempts(_event: None, ctx: DurableContext) -> str:
    return await ctx.step(None, fail_before, 2, "Operation succeeded", config=retrying(2))


@suite.serves("10-4", plugins=[watching(LIFE, STEP, name="CONFPLUGIN-FAULTY", is_faulty=True)])
async def plugin_faulty(name: str, ctx: DurableContext) -> str:
    return await ctx.step(None, greet, name)


@suite.serves(
    "10-5",
    plugins=[
        watching(INVOCATIONS, name="CONFPLUGIN-A"),
        watching(INVOCATIONS, name="CONFPLUGIN-B"),
    ],
)
async def plugin_pair(name: str, ctx: DurableContext) -> str:
    return await ctx.step(None, greet, name)


@suite.serves("10-6", plugins=[watching(INVOCATIONS)])
async def plugin_first_invocation(_event: None, ctx: DurableContext) -> None:
    await ctx.wait(None, 2)


@suite.serves("10-7", plugins=[watching(INVOCATIONS)])
async def plugin_failure(_event: None, ctx: DurableContext) -> None:
    await ctx.step(None, fail, config=NO_RETRY)


@suite.serves("10-8", plugins=[watching({"operation-change": _changed}, STEP)])
async def plugin_changes(name: str, ctx: DurableContext) -> str:
    return await ctx.step(None, greet, name)


@suite.serves("10-9", plugins=[watching({"updated-on-invoke": of(op="id", status="status")}, WAIT)])
async def plugin_updates(_event: None, ctx: DurableContext) -> None:
    await ctx.wait(None, 2)


@suite.serves(
    "10-10",
    plugins=[
        watching(
            {
                "operation-start": of(op="id", type="type"),
                "operation-end": of(op="id", type="type", status="status"),
            },
            WAIT,
        )
    ],
)
async def plugin_waits(_event: None, ctx: DurableContext) -> None:
    await ctx.wait(None, 2)


@suite.serves(
    "10-11", plugins=[watching({"operation-end": _with_parent(op="id", status="status")})]
)
async def plugin_parents(name: str, ctx: DurableContext) -> str:
    async def body(child: DurableContext) -> str:
        return await child.step(None, greet, name)

    return await ctx.run_in_child_context(None, body)


@suite.serves(
    "10-12",
    plugins=[
        watching(
            {
                "fn-start": _with_parent(op="id"),
                "fn-end": _with_parent(op="id", outcome="outcome"),
            },
            "ParallelBranch",
        )
    ],
)
async def plugin_branches(_event: None, ctx: DurableContext) -> list[Any]:
    branches = [gives("task-1"), gives("task-2")]
    return (await ctx.parallel("parallel", branches, branches_in_order())).results()


@suite.serves(
    "10-13",
    plugins=[
        watching(
            {
                "operation-start": of(op="id", replay="is_replay"),
                "operation-end": of(op="id", status="status"),
            },
            STEP,
        )
    ],
)
async def plugin_replay(_event: None, ctx: DurableContext) -> str:
    await ctx.step(None, same, "a")
    return await ctx.step(None, fail_before, 2, "Operation succeeded", config=retrying(2))


@suite.serves("10-14", plugins=[watching({"operation-end": _ended}, STEP)])
async def plugin_outcomes(_event: None, ctx: DurableContext) -> None:
    await ctx.step(None, same, "task-a")
    await ctx.step(None, fail, "boom", config=NO_RETRY)


@suite.serves(
    "10-15",
    plugins=[watching({**ATTEMPTS, "operation-end": of(op="id", status="status")}, STEP)],
)
async def plugin_attempts_in_vain(_event: None, ctx: DurableContext) -> None:
    await ctx.step(None, fail, config=retrying(2))


@suite.serves("10-16", plugins=[watching({**INVOCATIONS, "invocation-end": _invocation_ended})])
async def plugin_invocation_ends(_event: None, ctx: DurableContext) -> None:
    await ctx.wait(None, 2)


@suite.serves(
    "10-17",
    plugins=[
        watching(LIFE, STEP, name="CONFPLUGIN-FAULTY", is_faulty=True),
        watching(LIFE, STEP, name="CONFPLUGIN-HEALTHY"),
    ],
)
async def plugin_beside_faulty(name: str, ctx: DurableContext) -> str:
    return await ctx.step(None, greet, name)


@suite.serves(
    "10-18",
    plugins=[
        watching(
            {
                "operation-start": _wait_started,
                "operation-end": of(type="type", name="name", status="status"),
            },
            WAIT,
        )
    ],
)
async def plugin_pending_wait(_event: None, ctx: DurableContext) -> list[Any]:
    def pausing(name: str, seconds: int) -> Any:
        async def branch(inner: DurableContext) -> str:
            await inner.wait(name, seconds)
            return f"{name}-done"

        return branch

    branches = [pausing("short", 2), pausing("long", 8)]
    return (await ctx.parallel("waits", branches, ParallelConfig(max_concurrency=2))).results()


@suite.serves(
    "10-19",
    plugins=[
        watching(
            {
                "invocation-start": dump,
                "invocation-end": lambda info: {**dump(info), "terminal": is_terminal(info)},
            }
        )
    ],
)
async def plugin_invocation_info(text: str, ctx: DurableContext) -> str:
    await ctx.wait(None, 2)
    return f"done-{text}"


@suite.serves("10-20", plugins=[watching({"operation-start": dump, "operation-end": dump}, STEP)])
async def plugin_operation_info(_event: None, ctx: DurableContext) -> Any:
    return await ctx.step("greet", same, "task-a")


@suite.serves("10-21", plugins=[watching({"attempt-start": dump, "attempt-end": dump}, STEP)])
async def plugin_attempt_info(_event: None, ctx: DurableContext) -> str:
    return await ctx.step("flaky", fail_before, 2, "ok", config=retrying(2))


@suite.serves("10-22", plugins=[watching({"operation-change": _dump_change}, STEP)])
async def plugin_change_info(_event: None, ctx: DurableContext) -> Any:
    return await ctx.step("greet", same, "task-a")


@suite.serves("10-23", plugins=[watching({"operation-start": dump, "fn-start": dump}, CONTEXT)])
async def plugin_context_info(_event: None, ctx: DurableContext) -> list[Any]:
    async def first(branch: DurableContext) -> str:
        await branch.step("inner", same, "x")
        await branch.wait(None, 2)
        return "a-done"

    branches: list[NamedParallelBranch[Any]] = [
        NamedParallelBranch("branch-a", first),
        NamedParallelBranch("branch-b", gives("b-done")),
    ]
    return (await ctx.parallel("ctx", branches, branches_in_order())).results()
