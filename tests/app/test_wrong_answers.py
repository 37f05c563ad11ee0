"""What functions of the user's give back that is nothing of the kind: their operation says so."""

from collections.abc import Callable
from typing import Any

import pytest

from durably import (
    ChildConfig,
    CompletionConfig,
    DurableContext,
    Engine,
    ExecutionFailedError,
    MapConfig,
    StepConfig,
    SyncDurableContext,
    complete_batch,
    durable_execution,
)

LARGE = "x" * 300_000


class Numbering:
    """A serdes that gives no text."""

    def serialize(self, value: Any, _context: object, /) -> Any:
        return 5

    def deserialize(self, text: str, _context: object, /) -> Any:
        return text


def item(_ctx: Any, value: Any) -> Any:
    return value


def large(_ctx: Any) -> str:
    return LARGE


def broken(_ctx: Any) -> None:
    raise ValueError("mine")


def gives(value: Any) -> Any:
    return lambda *_: value


def decided(_status: object) -> Any:
    outcome: Any = 5
    return complete_batch(outcome)


def until(decide: Any) -> MapConfig:
    return MapConfig(completion_config=CompletionConfig(should_complete=decide))


CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "predicate": (
        lambda ctx: ctx.map("m", [0], item, until(gives(None))),
        r"should_complete: must be a function that returns continue_batch\(\) or complete_batch",
    ),
    "outcome": (
        lambda ctx: ctx.map("m", [0], item, until(decided)),
        "outcome: must be CompletionOutcome.SUCCEEDED or CompletionOutcome.FAILED, not 5",
    ),
    "mapper": (
        lambda ctx: ctx.run_in_child_context(
            "c", broken, config=ChildConfig(error_mapper=gives("no"))
        ),
        "error_mapper: must be a function that returns an exception, not 'no'",
    ),
    "summary": (
        lambda ctx: ctx.run_in_child_context(
            "c", large, config=ChildConfig(summary_generator=gives(5))
        ),
        "a summary_generator must give text, not int",
    ),
    "summary of a batch": (
        lambda ctx: ctx.map("m", [LARGE], item, MapConfig(summary_generator=gives(5))),
        "a summary_generator must give text, not int",
    ),
    "large summary": (
        lambda ctx: ctx.map("m", [LARGE], item, MapConfig(summary_generator=gives(LARGE * 4))),
        "what m records takes 12[0-9]* bytes; 1048576 are allowed",
    ),
    "name": (
        lambda ctx: ctx.map("m", [1], item, MapConfig(item_namer=gives(5))),
        "item name: must be text or None, not 5",
    ),
    "serdes": (
        lambda ctx: ctx.step("s", lambda: 1, config=StepConfig(serdes=Numbering())),
        "a serdes must give text, not int",
    ),
}


@durable_execution
async def asking(which: str, ctx: DurableContext) -> Any:
    return await CALLS[which][0](ctx)


@durable_execution
def asking_sync(which: str, ctx: SyncDurableContext) -> Any:
    return CALLS[which][0](ctx)


@pytest.mark.parametrize("function", [asking, asking_sync], ids=["async", "sync"])
@pytest.mark.parametrize("which", CALLS)
async def test_an_answer_that_is_none_fails_its_operation(function: Any, which: str) -> None:
    async with Engine("memory:", [function]) as engine:
        run = await engine.start(function, which)

        with pytest.raises(ExecutionFailedError, match=CALLS[which][1]):
            await run.result(5)
        assert (await run.describe()).failures == 0
