"""What the code of a step leaves behind keeps nobody waiting: statements, tasks and threads."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from durably import (
    DurableContext,
    Engine,
    ExecutionFailedError,
    StepConfig,
    TransactionError,
    durable_execution,
    exponential_backoff,
    step_connection,
)
from durably.errors import StepError
from tests.steps.conftest import Database

ONCE = StepConfig[Any](retry_strategy=exponential_backoff(max_attempts=1))

kept: list[Any] = []


async def stream(connection: Any) -> None:
    rows = connection.cursor().stream("SELECT generate_series(1, 100000)")
    await anext(rows)
    kept.append(rows)


async def copy(connection: Any) -> None:
    copying = connection.cursor().copy("COPY paid FROM STDIN")
    await copying.__aenter__()
    kept.append(copying)


async def pipeline(connection: Any) -> None:
    pipelining = connection.pipeline()
    await pipelining.__aenter__()
    kept.append(pipelining)


@pytest.mark.parametrize("leave", [stream, copy, pipeline])
@pytest.mark.parametrize("fails", [False, True])
async def test_a_statement_that_is_still_open_is_no_outcome(
    postgres_database: Database, leave: Callable[[Any], Any], *, fails: bool
) -> None:
    async def body() -> None:
        connection = await step_connection(psycopg.AsyncConnection)
        await postgres_database.add(connection, 1)
        await leave(connection)
        if fails:
            raise ValueError("and is left by an error")

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        if fails:
            with pytest.raises(StepError, match="left by an error"):
                await ctx.step("leave", body, config=ONCE)
        else:
            await ctx.step("leave", body, config=ONCE)
        await ctx.step("again", postgres_database.write, 2)

    postgres_database.url += "&pool=1"
    async with Engine(postgres_database.url, [order], grace=0) as engine:
        execution = await engine.start(order)
        if fails:
            await execution.result()
        else:
            with pytest.raises(ExecutionFailedError, match="still in use"):
                await execution.result()
    kept.clear()
    assert postgres_database.paid() == [2] * fails


async def test_rows_that_are_not_read_to_the_end_are_committed(sqlite_database: Database) -> None:
    async def body() -> int:
        connection = await step_connection(sqlite3.Connection)
        rows = connection.execute("INSERT INTO paid VALUES (1), (2) RETURNING n")
        kept.append(rows)
        [first] = rows.fetchone()
        return int(first)

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> int:
        return await ctx.step("pay", body)

    async with Engine(sqlite_database.url, [order], grace=0) as engine:
        execution = await engine.start(order)
        assert await execution.result() == 1
    with pytest.raises(sqlite3.ProgrammingError):
        kept.pop().fetchone()
    assert sqlite_database.paid() == [1, 2]


async def test_a_task_that_outlives_its_step_gets_no_connection(database: Database) -> None:
    go_on = asyncio.Event()
    late: list[asyncio.Task[None]] = []

    async def ask() -> None:
        await go_on.wait()
        await database.write(2)

    async def leave() -> None:
        late.append(asyncio.ensure_future(ask()))

    async def wait_for_it() -> None:
        go_on.set()
        await asyncio.wait(late)

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        await ctx.step("leave", leave)
        await ctx.step("wait", wait_for_it)
        await ctx.step("pay", database.write, 1)

    async with Engine(database.url, [order], grace=0) as engine:
        await (await engine.start(order)).result()
    with pytest.raises(TransactionError, match="had ended"):
        late[0].result()
    assert database.paid() == [1]


async def test_a_thread_that_was_given_up_gets_no_connection(database: Database) -> None:
    go_on, has_asked = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    errors: list[str] = []

    def ask() -> None:
        go_on.wait()
        with pytest.raises(TransactionError) as refused:
            database.write_blocking(2)
        errors.append(str(refused.value))
        loop.call_soon_threadsafe(has_asked.set)

    async def wait_for_it() -> None:
        go_on.set()
        await has_asked.wait()

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        config = StepConfig[Any](timeout=0.05, retry_strategy=ONCE.retry_strategy)
        with pytest.raises(StepError, match="ran longer"):
            await ctx.step("leave", ask, config=config)
        await ctx.step("wait", wait_for_it)
        await ctx.step("pay", database.write, 1)

    async with Engine(database.url, [order], grace=0) as engine:
        await (await engine.start(order)).result()
    assert "had ended" in "".join(errors)
    assert database.paid() == [1]
