"""Text and numbers of derived classes, such as members of enumerations, are recorded as plain."""

import asyncio
from collections.abc import Callable
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any

import pytest

from durably import (
    CallbackConfig,
    ChildConfig,
    ConcurrencyConfig,
    DurableContext,
    Engine,
    ErrorObject,
    Execution,
    ExecutionFailedError,
    InvokeConfig,
    MapConfig,
    NamedParallelBranch,
    Query,
    RecordedError,
    RetryPresets,
    SerdesContext,
    StepConfig,
    StepError,
    SyncDurableContext,
    durable_execution,
)


class Marked(str):
    __slots__ = ()


class Word(StrEnum):
    NAME = "name"
    ECHO = "echo"
    OTHER = "other"


class Size(str, Enum):  # noqa: UP042 - the one that is not formatted as its value
    LARGE = "large"


class Few(IntEnum):
    ONE = 1


class MarkingSerdes:
    """What a serdes gives that somebody else wrote."""

    def serialize(self, value: Any, context: SerdesContext, /) -> str:
        return Marked(f'"{value}"')

    def deserialize(self, text: str, context: SerdesContext, /) -> Any:
        return text


class MarkedError(Exception):
    def __str__(self) -> str:
        return Marked("marked")


MarkedError.__name__ = Marked("MarkedError")

NO_RETRY = RetryPresets.none()
SERDES = MarkingSerdes()
LARGE = "x" * 300_000


def one() -> int:
    return 1


def fail() -> None:
    raise MarkedError


def fail_as_recorded() -> None:
    raise RecordedError(
        Marked("text"), error_type=Size.LARGE, data=Marked("data"), stack_trace=(Marked("line"),)
    )


def item(_ctx: Any, value: int) -> int:
    return value


def large(_ctx: Any) -> str:
    return LARGE


def summary(_value: Any) -> str:
    return Marked("large")


Call = Callable[[Any], Any]
MARKED = Marked("x")

CALLS: dict[str, Call] = {
    "name": lambda ctx: ctx.step(Word.NAME, one),
    "name of a mixed class": lambda ctx: ctx.step(Size.LARGE, one),
    "sub type": lambda ctx: ctx.step("s", one, config=StepConfig(sub_type=Word.NAME)),
    "result": lambda ctx: ctx.step("s", one, config=StepConfig(serdes=SERDES)),
    "wait": lambda ctx: ctx.wait(MARKED, Few.ONE),
    "error": lambda ctx: ctx.step("s", fail, config=StepConfig(retry_strategy=NO_RETRY)),
    "recorded error": lambda ctx: ctx.run_in_child_context("c", lambda _: fail_as_recorded()),
    "function": lambda ctx: ctx.invoke(MARKED, Word.ECHO, 1),
    "payload": lambda ctx: ctx.invoke("i", "echo", 1, InvokeConfig(payload_serdes=SERDES)),
    "tenant": lambda ctx: ctx.invoke("i", "echo", 1, InvokeConfig(tenant_id=Word.OTHER)),
    "callback": lambda ctx: ctx.create_callback(MARKED, CallbackConfig(sub_type=Word.NAME)),
    "child": lambda ctx: ctx.run_in_child_context(
        MARKED, large, config=ChildConfig(sub_type=Word.NAME, summary_generator=summary)
    ),
    "item": lambda ctx: ctx.map("m", [1], item, MapConfig(item_namer=lambda *_: Word.NAME)),
    "summary": lambda ctx: ctx.map(
        "m", [LARGE], item, MapConfig(summary_generator=summary, item_namer=lambda *_: MARKED)
    ),
    "branch": lambda ctx: ctx.parallel("p", [NamedParallelBranch(Word.NAME, lambda _: 1)]),
    "sub types": lambda ctx: ctx.execute_concurrently(
        "m",
        [1],
        item,
        ConcurrencyConfig(
            top_level_sub_type=Word.NAME,
            iteration_sub_type=Word.OTHER,
            item_namer=lambda *_: Word.OTHER,
        ),
    ),
}


@durable_execution
async def echo(event: Any, ctx: DurableContext) -> Any:
    return event


@durable_execution
async def derived(which: str, ctx: DurableContext) -> str:
    try:
        await CALLS[which](ctx)
    except Exception as error:  # noqa: BLE001 - how it ended is not the question
        return type(error).__name__
    return "done"


@durable_execution
def derived_sync(which: str, ctx: SyncDurableContext) -> str:
    try:
        CALLS[which](ctx)
    except Exception as error:  # noqa: BLE001 - likewise
        return type(error).__name__
    return "done"


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory:" if request.param == "memory" else f"sqlite:{tmp_path / 'durably.db'}"


@pytest.mark.parametrize("function", [derived, derived_sync], ids=["async", "sync"])
@pytest.mark.parametrize("which", CALLS)
async def test_derived_text_in_an_operation_is_recorded_as_plain(
    tmp_path: Path, function: Any, which: str
) -> None:
    url = f"sqlite:{tmp_path / 'durably.db'}"
    async with Engine(url, [function, echo]) as engine:
        run = await engine.start(function, which, name="r")
        said = await run.result(5)
        before = (await run.history(), (await run.describe()).failures)

    async with Engine(url, [function, echo]) as engine:
        run = await engine.get("r")
        after = (await run.history(), (await run.describe()).failures)

    assert after == before
    assert after[1] == 0
    assert said == {"error": "StepError", "recorded error": "ChildContextError"}.get(which, "done")


@durable_execution
async def answered(event: str, ctx: DurableContext) -> str:
    callback = await ctx.create_callback("c")
    await ASKED.put(callback.callback_id)
    answer: str = await callback.result()
    return answer


ASKED: asyncio.Queue[str] = asyncio.Queue()


async def test_derived_text_given_to_an_engine_is_recorded_as_plain(tmp_path: Path) -> None:
    url = Marked(f"sqlite:{tmp_path / 'durably.db'}")
    async with Engine(url, [answered, echo], region=Word.OTHER) as engine:
        run = await engine.start(Word.ECHO, {"a": Word.NAME}, name=Size.LARGE)
        assert await run.result(5) == {"a": "name"}
        run = await engine.start(answered, "x", name=Word.NAME, retention_days=Few.ONE)
        callback_id = await ASKED.get()
        await engine.pause(Marked(run.arn), Marked("because"))
        await engine.callback_succeed(Marked(callback_id), Marked("answer"))
        await engine.resume(Word.NAME, Word.NAME)
        assert await run.result(5) == "answer"
        before = await run.history()

    async with Engine(url, [answered, echo]) as engine:
        run = await engine.get("name")
        assert await run.history() == before
        assert run.arn.startswith("arn:aws:lambda:other:")
        assert [type(name) for name in (run.name, run.arn)] == [str, str]
        assert (await engine.describe("large")).damage is None


async def test_derived_text_that_is_looked_for_is_found(tmp_path: Path) -> None:
    async with Engine(f"sqlite:{tmp_path / 'durably.db'}", [answered]) as engine:
        stopped = await engine.start(answered, "x")
        lines: Any = [Marked("line")]
        error = ErrorObject(error_type=Word.NAME, error_message=Size.LARGE, stack_trace=lines)
        await engine.stop(stopped, error)

        query = Query(function_name=Marked("answered"), statuses=(Marked("STOPPED"), Word.NAME))
        [found] = (await engine.list(query)).executions
        page = await engine.history(Marked(found.arn), max_items=Few.ONE, oldest_first=False)

    assert len(page.events) == 1
    assert str(page.events[0]).count("'line'") == 1


async def test_an_error_made_of_anything_is_recorded(tmp_path: Path) -> None:
    @durable_execution
    async def strange(event: Any, ctx: DurableContext) -> None:
        raise StepError(5, error_type=6, data=7, stack_trace="abc")  # type: ignore[arg-type]  # that is the point

    url = f"sqlite:{tmp_path / 'durably.db'}"
    async with Engine(url, [strange]) as engine:
        run: Execution = await engine.start(strange, 1, name="r")
        with pytest.raises(ExecutionFailedError, match="StepError: 5"):
            await run.result(5)

    async with Engine(url, [strange]) as engine:
        found = await engine.describe("r")

    assert found.error == ErrorObject(error_type="StepError", error_message="5", error_data="7")
