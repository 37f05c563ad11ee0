"""What goes wrong, what is said of it, that nothing is lost, and that work goes on afterwards."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from durably import (
    DurableContext,
    Engine,
    ExecutionFailedError,
    InvalidParameterValueException,
    StepConfig,
    StepError,
    StoreCorruptedError,
    StoreError,
    StoreTooNewError,
    StoreUnavailableError,
    SyncDurableContext,
    ValidationError,
    durable_execution,
)
from durably.engine.views import Standing
from durably.retries import RetryPresets
from durably.stores.sqlite_file import SCHEMA_VERSION
from tests.app.functions import ALL, CALLS, count, reach


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path}/durably.db"


def deep() -> Any:
    value: Any = 1
    for _ in range(5000):
        value = [value]
    return value


def cycle() -> Any:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "nan": (lambda: {"rate": float("nan")}, "nan"),
    "cycle": (cycle, "contains itself"),
    "surrogate": (lambda: "\ud800", "surrogate"),
    "deep": (deep, "nested too deep"),
    "object": (object, "object"),
}
HUGE = "x" * 1_100_000
OVER_ALL = "x" * 6_300_000


@durable_execution
async def bad_result(event: str, ctx: DurableContext) -> Any:
    await ctx.step("effect", count, f"effect {event}")
    return BAD[event][0]()


@durable_execution
def bad_result_sync(event: str, ctx: SyncDurableContext) -> Any:
    return BAD[event][0]()


@durable_execution
async def bad_step(event: str, ctx: DurableContext) -> str:
    async def produce() -> Any:
        await count(f"produce {event}")
        return HUGE if event == "huge" else BAD[event][0]()

    try:
        await ctx.step("produce", produce)
    except StepError as error:
        return f"{error.error_type}: {error}"
    return "written"


@durable_execution
async def huge_result(event: Any, ctx: DurableContext) -> str:
    return OVER_ALL


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("function", [bad_result, bad_result_sync], ids=["async", "sync"])
async def test_a_result_that_cannot_be_written_fails_its_execution_and_no_other(
    url: str, function: Any, kind: str
) -> None:
    async with Engine(url, [function, *ALL]) as engine:
        run = await engine.start(function, kind)

        with pytest.raises(ExecutionFailedError, match=f"SerdesError.*{BAD[kind][1]}"):
            await run.result(5)

        assert await (await engine.start("echo", 1)).result(5) == 1


@pytest.mark.parametrize("kind", BAD)
async def test_a_step_s_result_that_cannot_be_written_fails_the_step_at_once(
    url: str, kind: str
) -> None:
    async with Engine(url, [bad_step]) as engine:
        said = await (await engine.start(bad_step, kind)).result(5)

    assert said.startswith("SerdesError: ")
    assert BAD[kind][1] in said
    assert CALLS[f"produce {kind}"] == 1


async def test_a_step_s_result_over_the_limit_fails_the_step_where_it_can_be_caught(
    url: str,
) -> None:
    async with Engine(url, [bad_step, *ALL]) as engine:
        said = await (await engine.start(bad_step, "huge")).result(5)

        assert said.startswith("SerdesError: ")
        assert "1048576 are allowed" in said
        assert await (await engine.start("echo", 1)).result(5) == 1
    assert CALLS["produce huge"] == 1


async def test_a_result_over_the_limit_ends_the_execution_with_the_limit(url: str) -> None:
    async with Engine(url, [huge_result]) as engine:
        run = await engine.start(huge_result, {})

        with pytest.raises(ExecutionFailedError, match="6291456"):
            await run.result(8)


async def test_an_input_over_the_limit_is_refused_and_nothing_starts(url: str) -> None:
    async with Engine(url, ALL) as engine:
        with pytest.raises(InvalidParameterValueException, match="at most 6291456 are allowed"):
            await engine.start("echo", OVER_ALL)

        assert (await engine.list()).executions == ()


async def test_code_that_asks_for_another_type_than_recorded_fails_loudly(url: str) -> None:
    """The input of an execution under way, read by a handler that has changed its mind."""
    async with Engine(url, ALL) as engine:
        run = await engine.start("sleepy", "x")
        await reach(engine, run, Standing.WAITING)

    @durable_execution
    async def sleepy(event: int, ctx: DurableContext) -> str:
        return "woken"

    async with Engine(url, [sleepy]) as engine:
        with pytest.raises(ExecutionFailedError, match="the input is not what the handler asks"):
            await (await engine.get(run.arn)).result(5)


# The database


async def test_a_database_that_another_program_made_is_not_touched(
    url: str, tmp_path: Path
) -> None:
    path = tmp_path / "durably.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE orders (id)")
    database.close()
    before = path.read_bytes()

    with pytest.raises(StoreCorruptedError, match="another program"):
        async with Engine(url, ALL):
            pass

    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_not_touched(url: str, tmp_path: Path) -> None:
    path = tmp_path / "durably.db"
    path.write_bytes(b"orders\n" * 100)

    with pytest.raises(StoreCorruptedError, match="not a SQLite database"):
        async with Engine(url, ALL):
            pass

    assert path.read_bytes() == b"orders\n" * 100


async def test_a_database_of_a_newer_version_is_refused_and_usable_by_that_version(
    url: str, tmp_path: Path
) -> None:
    await _with_one_execution(url)
    path = tmp_path / "durably.db"
    _set_version(path, SCHEMA_VERSION + 1)
    with pytest.raises(StoreTooNewError, match="Install that version or a later one"):
        async with Engine(url, ALL):
            pass
    _set_version(path, SCHEMA_VERSION)

    async with Engine(url, ALL) as engine:
        assert await (await engine.get("kept")).result(5) == 1


async def test_a_damaged_database_is_refused_and_a_restored_one_goes_on(
    url: str, tmp_path: Path
) -> None:
    await _with_one_execution(url)
    path = tmp_path / "durably.db"
    good = path.read_bytes()
    path.write_bytes(good[:100] + b"\xa5" * (len(good) - 100))

    with pytest.raises(StoreError, match="backup"):
        async with Engine(url, ALL) as engine:
            await engine.list()
    path.write_bytes(good)

    async with Engine(url, ALL) as engine:
        assert await (await engine.get("kept")).result(5) == 1


async def test_an_engine_that_cannot_be_opened_keeps_nobody_out(url: str, tmp_path: Path) -> None:
    await _with_one_execution(url)
    path = tmp_path / "durably.db"
    good = path.read_bytes()
    path.write_bytes(_without_the_page_of("store", path))
    with pytest.raises(StoreCorruptedError):
        async with Engine(url, ALL):
            pass

    path.write_bytes(good)
    async with Engine(url, ALL) as engine:
        assert await (await engine.get("kept")).result(5) == 1


@pytest.mark.parametrize("kind", ["directory", "pipe"])
async def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "there"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()

    with pytest.raises(StoreUnavailableError, match=f"{path} is no regular file"):
        async with Engine(f"sqlite:{path}", ALL):
            pass


async def test_links_that_lead_to_one_another_are_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")

    # Python 3.13 follows them no further, and the system refuses.
    with pytest.raises((ValidationError, StoreError), match=r"cannot be followed|symbolic links"):
        async with Engine(f"sqlite:{tmp_path}/loop", ALL):
            pass


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"no/durably\.db"):
        async with Engine(f"sqlite:{tmp_path}/no/durably.db", ALL):
            pass


async def _with_one_execution(url: str) -> None:
    async with Engine(url, ALL) as engine:
        assert await (await engine.start("echo", 1, name="kept")).result(5) == 1


def _without_the_page_of(table: str, path: Path) -> bytes:
    database = sqlite3.connect(path)
    look = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
    [page] = database.execute(look, (table,)).fetchone()
    [size] = database.execute("PRAGMA page_size").fetchone()
    database.close()
    whole = path.read_bytes()
    return whole[: (page - 1) * size] + bytes(size) + whole[page * size :]


def _set_version(path: Path, version: int) -> None:
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {version}")
    database.commit()
    database.close()


# Retries of what will not be better


async def test_a_refused_payload_does_not_loop(url: str) -> None:
    attempts = 0

    @durable_execution
    async def stubborn(event: Any, ctx: DurableContext) -> None:
        async def produce() -> Any:
            nonlocal attempts
            attempts += 1
            return float("inf")

        config = StepConfig[Any](retry_strategy=RetryPresets.default())
        await ctx.step("produce", produce, config=config)

    async with Engine(url, [stubborn]) as engine:
        run = await engine.start(stubborn, {})
        with pytest.raises(ExecutionFailedError, match="inf"):
            await run.result(5)
        await asyncio.sleep(0)

    assert attempts == 1
