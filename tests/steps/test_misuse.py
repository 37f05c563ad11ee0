"""The connection of a step is used as it may be, or the execution fails with a reason."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
import pytest
import sqlalchemy

from durably import (
    DurableContext,
    Engine,
    ExecutionFailedError,
    StepConfig,
    StepSemantics,
    TransactionError,
    ValidationError,
    WaitForConditionConfig,
    durable_execution,
    step_connection,
    sync_step_connection,
)
from durably.retries import WaitForConditionDecision
from tests.steps.conftest import Database


async def run(url: str, body: Callable[[], Any]) -> Any:
    """Run *body* as a step, and give its result. A retry would take longer than a test may."""

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> Any:
        return await ctx.step("pay", body)

    async with Engine(url, [order], grace=0) as engine:
        execution = await engine.start(order)
        return await execution.result()


async def connection_of(database: Database) -> Any:
    return await step_connection(database.kinds[0][0])


async def done(work: Any) -> None:
    """Wait for *work* if it is to be waited for."""
    if asyncio.iscoroutine(work):
        await work


async def test_outside_of_a_step_there_is_no_connection(database: Database) -> None:
    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        await database.write(1)

    with pytest.raises(TransactionError, match="no step runs"):
        await database.write(1)
    with pytest.raises(TransactionError, match="no step runs"):
        database.write_blocking(1)
    async with Engine(database.url, [order]) as engine:
        execution = await engine.start(order)
        with pytest.raises(ExecutionFailedError, match="no step runs"):
            await execution.result()


async def test_the_check_of_a_condition_is_no_step(database: Database) -> None:
    async def check(state: None) -> None:
        await database.write(1)

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        config = WaitForConditionConfig[None](
            initial_state=None,
            wait_strategy=lambda _, __: WaitForConditionDecision.stop_polling(),
        )
        await ctx.wait_for_condition("paid", check, config)

    async with Engine(database.url, [order]) as engine:
        execution = await engine.start(order)
        with pytest.raises(ExecutionFailedError, match="is no step"):
            await execution.result()
    assert database.paid() == []


async def test_in_memory_there_is_no_connection() -> None:
    with pytest.raises(ExecutionFailedError, match="sqlite:PATH or postgresql://"):
        await run("memory:", lambda: sync_step_connection(sqlite3.Connection))


async def test_an_attempt_has_one_connection(database: Database) -> None:
    async def twice() -> None:
        await database.write(1)
        await database.write(2)

    with pytest.raises(ExecutionFailedError, match="there is but one"):
        await run(database.url, twice)
    assert database.paid() == []


async def test_a_kind_that_the_store_has_not_is_refused(database: Database) -> None:
    async def wrong() -> str:
        with pytest.raises(ValidationError) as refused:
            await step_connection(sqlalchemy.Engine)
        await database.write(1)
        return str(refused.value)

    said = await run(database.url, wrong)

    assert said.startswith("kind: must be ")
    assert said.endswith("not sqlalchemy.Engine")
    assert database.paid() == [1]


async def test_a_thread_gets_no_connection_of_coroutines(postgres_database: Database) -> None:
    def wrong() -> str:
        with pytest.raises(ValidationError) as refused:
            sync_step_connection(psycopg.AsyncConnection)
        return str(refused.value)

    said = await run(postgres_database.url, wrong)

    assert "must be psycopg.Connection or sqlalchemy.Connection" in said


async def test_the_loop_is_not_blocked(database: Database) -> None:
    async def blocking() -> None:
        database.write_blocking(1)

    with pytest.raises(ExecutionFailedError, match="await step_connection"):
        await run(database.url, blocking)


@pytest.mark.parametrize("method", ["commit", "rollback", "close"])
async def test_the_code_does_not_end_the_transaction(database: Database, method: str) -> None:
    async def end() -> None:
        connection = await connection_of(database)
        await done(database.add(connection, 1))
        await done(getattr(connection, method)())

    with pytest.raises(ExecutionFailedError, match="must not"):
        await run(database.url, end)
    assert database.paid() == []


@pytest.mark.parametrize("method", ["commit", "rollback", "close"])
async def test_a_thread_does_not_end_the_transaction(database: Database, method: str) -> None:
    def end() -> None:
        connection: Any = sync_step_connection(database.kinds[1][0])
        database.add(connection, 1)
        getattr(connection, method)()

    with pytest.raises(ExecutionFailedError, match="must not"):
        await run(database.url, end)
    assert database.paid() == []


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
async def test_a_statement_does_not_end_the_transaction(database: Database, statement: str) -> None:
    async def end() -> None:
        connection = await connection_of(database)
        await done(database.add(connection, 1))
        await done(connection.execute(statement))

    with pytest.raises(ExecutionFailedError, match="must not commit or roll back"):
        await run(database.url, end)
    is_noticed_too_late = database.is_postgres and statement == "COMMIT"
    assert database.paid() == ([1] if is_noticed_too_late else [])


async def test_another_transaction_is_not_taken_for_the_one_of_the_step(
    postgres_database: Database,
) -> None:
    async def renew() -> None:
        connection = await connection_of(postgres_database)
        await connection.execute("COMMIT")
        await connection.execute("BEGIN")
        await postgres_database.add(connection, 1)

    with pytest.raises(ExecutionFailedError, match="must not commit or roll back"):
        await run(postgres_database.url, renew)
    assert postgres_database.paid() == []


async def test_sqlite_does_not_let_a_script_or_a_block_commit(sqlite_database: Database) -> None:
    async def end() -> None:
        connection = await step_connection(sqlite3.Connection)
        with pytest.raises(TransactionError, match="run a script"):
            connection.executescript("SELECT 1")
        with connection:
            sqlite_database.add(connection, 1)

    with pytest.raises(ExecutionFailedError, match="must not write `with` around"):
        await run(sqlite_database.url, end)
    assert sqlite_database.paid() == []


async def test_a_statement_that_failed_is_not_passed_over(postgres_database: Database) -> None:
    async def swallow() -> None:
        connection = await connection_of(postgres_database)
        await postgres_database.add(connection, 1)
        with pytest.raises(psycopg.errors.DivisionByZero):
            await connection.execute("SELECT 1 / 0")

    with pytest.raises(ExecutionFailedError, match="use a savepoint"):
        await run(postgres_database.url, swallow)
    assert postgres_database.paid() == []


async def test_a_savepoint_undoes_a_part(postgres_database: Database) -> None:
    async def partly() -> None:
        connection = await connection_of(postgres_database)
        await postgres_database.add(connection, 1)
        with suppress(psycopg.errors.DivisionByZero):
            async with connection.transaction():
                await postgres_database.add(connection, 2)
                await connection.execute("SELECT 1 / 0")

    await run(postgres_database.url, partly)

    assert postgres_database.paid() == [1]


async def test_sqlite_has_savepoints_too(sqlite_database: Database) -> None:
    async def partly() -> None:
        connection = await step_connection(sqlite3.Connection)
        sqlite_database.add(connection, 1)
        connection.execute("SAVEPOINT part")
        sqlite_database.add(connection, 2)
        connection.execute("ROLLBACK TO part")

    await run(sqlite_database.url, partly)

    assert sqlite_database.paid() == [1]


async def test_a_transaction_that_sqlite_has_rolled_back_is_not_passed_over(
    sqlite_database: Database,
) -> None:
    async def swallow() -> None:
        connection = await step_connection(sqlite3.Connection)
        connection.execute("CREATE TABLE once (n integer UNIQUE ON CONFLICT ROLLBACK)")
        connection.execute("INSERT INTO once VALUES (1)")
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT INTO once VALUES (1)")

    with pytest.raises(ExecutionFailedError, match="SQLite has rolled"):
        await run(sqlite_database.url, swallow)


@pytest.mark.parametrize("which", [0, 1], ids=["driver", "sqlalchemy"])
async def test_a_connection_ends_with_its_step(database: Database, which: int) -> None:
    kept: list[Any] = []

    async def keep() -> None:
        kept.append(await step_connection(database.kinds[0][which]))
        await done(database.add(kept[0], 1))

    await run(database.url, keep)
    refusal = (TransactionError, sqlalchemy.exc.ResourceClosedError)[which]

    with pytest.raises(refusal):
        await done(database.add(kept[0], 2))
    assert database.paid() == [1]


async def test_a_kept_connection_is_not_that_of_the_next_step(database: Database) -> None:
    kept: list[Any] = []

    async def keep() -> None:
        kept.append(await connection_of(database))
        await done(database.add(kept[0], 1))

    async def use_old() -> None:
        await database.write(2)
        with pytest.raises(TransactionError, match="after the step had ended"):
            await done(database.add(kept[0], 3))

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        await ctx.step("keep", keep)
        await ctx.step("use", use_old)

    async with Engine(database.url, [order]) as engine:
        execution = await engine.start(order)
        await execution.result()
    assert database.paid() == [1, 2]


async def test_a_step_does_not_end_while_its_connection_is_in_use(
    postgres_database: Database,
) -> None:
    tasks: list[asyncio.Task[Any]] = []

    async def leave() -> None:
        connection = await connection_of(postgres_database)
        tasks.append(asyncio.ensure_future(connection.execute("SELECT pg_sleep(5)")))
        await asyncio.sleep(0.05)

    with pytest.raises(ExecutionFailedError, match="still in use"):
        await run(postgres_database.url, leave)
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_a_step_sets_is_not_there_in_the_next(postgres_database: Database) -> None:
    seen: list[str] = []

    async def look() -> None:
        connection = await connection_of(postgres_database)
        [[value]] = await (await connection.execute("SHOW work_mem")).fetchall()
        seen.append(value)
        await connection.execute("SET work_mem = '77MB'")

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        await ctx.step("one", look)
        await ctx.step("two", look)

    async with Engine(postgres_database.url, [order]) as engine:
        execution = await engine.start(order)
        await execution.result()
    assert seen[0] == seen[1] != "77MB"


async def test_at_most_once_writes_together_too(database: Database) -> None:
    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        config = StepConfig[Any](semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY)
        await ctx.step("pay", database.write, 1, config=config)

    async with Engine(database.url, [order]) as engine:
        execution = await engine.start(order)
        await execution.result()
    assert database.paid() == [1]
