"""What the database refuses of a transaction because of its step is a failed attempt."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from durably import (
    DurableContext,
    Engine,
    ExecutionFailedError,
    StepConfig,
    StepSemantics,
    durable_execution,
    exponential_backoff,
    step_connection,
)
from tests.steps.conftest import Database

CARD = "4111-1111"
AT_LAST = "ALTER TABLE paid ADD UNIQUE (n) DEFERRABLE INITIALLY DEFERRED"
SPOILT = {
    "deferred": ("INSERT INTO paid VALUES (1), (1)", "UniqueViolation"),
    "read only": ("SET TRANSACTION READ ONLY", "ReadOnlySqlTransaction"),
}


async def run(url: str, body: Callable[[], Any], semantics: StepSemantics) -> Any:
    config = StepConfig[Any](
        semantics=semantics,
        retry_strategy=exponential_backoff(max_attempts=2),
    )

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> Any:
        return await ctx.step("pay", body, config=config)

    async with Engine(url, [order]) as engine:
        return await (await engine.start(order)).result()


async def elsewhere(database: Database, statement: str) -> None:
    address, _, options = database.url.partition("&options=")
    address = address.partition("&schema=")[0]
    async with await psycopg.AsyncConnection.connect(f"{address}&options={options}") as other:
        await other.execute(statement.encode())


@pytest.mark.timeout(60)
@pytest.mark.parametrize("semantics", StepSemantics)
@pytest.mark.parametrize("how", SPOILT)
async def test_it_is_told_to_the_retry_strategy(
    postgres_database: Database, semantics: StepSemantics, how: str
) -> None:
    runs = 0
    spoil, error = SPOILT[how]
    await elsewhere(postgres_database, AT_LAST)

    async def pay() -> int:
        nonlocal runs
        runs += 1
        connection = await step_connection(psycopg.AsyncConnection)
        await connection.execute(spoil.encode())
        return runs

    with pytest.raises(ExecutionFailedError, match=error):
        await run(postgres_database.url, pay, semantics)

    assert runs == 2
    assert postgres_database.paid() == []


@pytest.mark.timeout(60)
async def test_a_step_that_was_ended_for_being_idle_has_failed(
    postgres_database: Database,
) -> None:
    async def pay() -> None:
        connection = await step_connection(psycopg.AsyncConnection)
        await postgres_database.add(connection, 1)
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 1")
        await asyncio.sleep(0.1)

    # What the server says at its end may be lost with the connection: then the step is run again.
    with pytest.raises(ExecutionFailedError, match=r"IdleInTransaction|others were in the way"):
        await run(postgres_database.url, pay, StepSemantics.AT_LEAST_ONCE_PER_RETRY)

    assert postgres_database.paid() == []


@pytest.mark.timeout(60)
async def test_another_attempt_may_do_better(postgres_database: Database) -> None:
    runs = 0
    await elsewhere(postgres_database, AT_LAST)

    async def pay() -> int:
        nonlocal runs
        runs += 1
        connection = await step_connection(psycopg.AsyncConnection)
        for _ in range(2 if runs == 1 else 1):
            await postgres_database.add(connection, 1)
        return runs

    assert await run(postgres_database.url, pay, StepSemantics.AT_LEAST_ONCE_PER_RETRY) == 2
    assert postgres_database.paid() == [1]


async def test_what_the_rows_hold_is_in_no_log(
    postgres_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    await elsewhere(postgres_database, "CREATE TABLE cards (card text)")
    await elsewhere(
        postgres_database,
        "ALTER TABLE cards ADD UNIQUE (card) DEFERRABLE INITIALLY DEFERRED",
    )

    async def pay() -> None:
        connection = await step_connection(psycopg.AsyncConnection)
        await connection.execute("INSERT INTO cards VALUES (%s), (%s)", (CARD, CARD))

    caplog.set_level(logging.DEBUG, "durably.stores")
    with pytest.raises(ExecutionFailedError, match="cards_card_key"):
        await run(postgres_database.url, pay, StepSemantics.AT_MOST_ONCE_PER_RETRY)

    told = [one.getMessage() for one in caplog.records if one.name == "durably.stores"]
    assert any("was not committed" in one and "23505" in one for one in told)
    assert not any(CARD in one for one in told)


async def test_a_step_may_have_become_another_role(postgres_database: Database) -> None:
    await elsewhere(
        postgres_database,
        "DO $$ BEGIN CREATE ROLE clerk; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
    )
    schema = postgres_database.url.rpartition("%3D")[2]
    await elsewhere(postgres_database, f"GRANT USAGE ON SCHEMA {schema} TO clerk")
    await elsewhere(postgres_database, "GRANT INSERT ON paid TO clerk")

    async def pay() -> int:
        connection = await step_connection(psycopg.AsyncConnection)
        await connection.execute("SET LOCAL ROLE clerk")
        await postgres_database.add(connection, 1)
        return 1

    assert await run(postgres_database.url, pay, StepSemantics.AT_LEAST_ONCE_PER_RETRY) == 1
    assert postgres_database.paid() == [1]
