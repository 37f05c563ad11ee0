"""Where another transaction, another process or a fault is in the way, a step is run again."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from durably import (
    DurableContext,
    Engine,
    ExecutionFailedError,
    ExecutionStoppedError,
    StepConfig,
    StepSemantics,
    current_step,
    durable_execution,
    exponential_backoff,
    step_connection,
    sync_step_connection,
)
from durably.core.operations.step import MAX_TRANSACTIONS
from durably.stores.postgres_steps import PostgresSteps
from durably.wire.history import EventType
from tests.steps.conftest import Database

SERIALIZABLE = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
ONCE = StepConfig[Any](retry_strategy=exponential_backoff(max_attempts=1))
AT_MOST_ONCE = StepConfig[Any](
    retry_strategy=exponential_backoff(max_attempts=1),
    semantics=StepSemantics.AT_MOST_ONCE_PER_RETRY,
)


async def run(url: str, body: Callable[[], Any], config: StepConfig[Any] = ONCE) -> Any:
    """Run *body* as a step that is not retried, and give its result."""

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> Any:
        return await ctx.step("pay", body, config=config)

    async with Engine(url, [order], grace=0) as engine:
        execution = await engine.start(order)
        return await execution.result()


async def elsewhere(database: Database, *statements: str) -> None:
    """Run *statements* in a transaction of somebody else's."""
    address = database.url.partition("&schema=")[0].partition("?schema=")[0]
    options = database.url.partition("options=")[2]
    joiner = "&" if "?" in address else "?"
    async with await psycopg.AsyncConnection.connect(
        f"{address}{joiner}options={options}"
    ) as connection:
        for statement in statements:
            await connection.execute(statement.encode())


async def test_a_serialization_failure_of_a_statement_runs_the_step_again(
    postgres_database: Database,
) -> None:
    attempts: list[int] = []
    await elsewhere(postgres_database, "INSERT INTO paid VALUES (1)")

    async def add_one() -> None:
        connection = await step_connection(psycopg.AsyncConnection)
        attempts.append(current_step().attempt)
        await connection.execute(SERIALIZABLE)
        await connection.execute("SELECT * FROM paid")
        if len(attempts) == 1:
            await elsewhere(postgres_database, "UPDATE paid SET n = n + 10")
        await connection.execute("UPDATE paid SET n = n + 1")

    await run(postgres_database.url, add_one)

    assert attempts == [1, 1]
    assert postgres_database.paid() == [12]


async def test_a_serialization_failure_runs_a_thread_with_sqlalchemy_again(
    postgres_database: Database,
) -> None:
    import sqlalchemy  # noqa: PLC0415 - one test's

    runs = 0
    loop = asyncio.get_running_loop()
    await elsewhere(postgres_database, "INSERT INTO paid VALUES (1)")

    def add_one() -> None:
        nonlocal runs
        runs += 1
        connection = sync_step_connection(sqlalchemy.Connection)
        connection.execute(sqlalchemy.text(SERIALIZABLE))
        connection.execute(sqlalchemy.text("SELECT * FROM paid"))
        if runs == 1:
            work = elsewhere(postgres_database, "UPDATE paid SET n = n + 10")
            asyncio.run_coroutine_threadsafe(work, loop).result()
        connection.execute(sqlalchemy.text("UPDATE paid SET n = n + 1"))

    await run(postgres_database.url, add_one)

    assert runs == 2
    assert postgres_database.paid() == [12]


async def test_a_serialization_failure_of_the_commit_runs_the_step_again(
    postgres_database: Database,
) -> None:
    runs = 0
    await elsewhere(postgres_database, "CREATE TABLE other (n integer)")

    async def write_skew() -> None:
        nonlocal runs
        runs += 1
        connection = await step_connection(psycopg.AsyncConnection)
        await connection.execute(SERIALIZABLE)
        await connection.execute("SELECT * FROM other")
        await connection.execute("INSERT INTO paid VALUES (1)")
        if runs == 1:
            await elsewhere(
                postgres_database,
                SERIALIZABLE,
                "SELECT * FROM paid",
                "INSERT INTO other VALUES (1)",
            )

    await run(postgres_database.url, write_skew)

    assert runs == 2
    assert postgres_database.paid() == [1]


async def test_the_start_of_a_step_is_not_in_the_way_of_a_strict_transaction(
    postgres_database: Database,
) -> None:
    runs = 0

    async def pay() -> None:
        nonlocal runs
        runs += 1
        connection = await step_connection(psycopg.AsyncConnection)
        await connection.execute(SERIALIZABLE)
        await connection.execute("SELECT 1")
        await postgres_database.add(connection, runs)

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        for _ in range(10):
            await ctx.step(None, pay)

    async with Engine(postgres_database.url, [order], grace=0) as engine:
        execution = await engine.start(order)
        await execution.result()

    assert runs == 10
    assert postgres_database.paid() == list(range(1, 11))


async def test_conflicts_without_end_are_a_failure_that_the_retry_strategy_sees(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = 0

    async def conflict(*_: object) -> None:
        raise psycopg.errors.SerializationFailure("always")

    monkeypatch.setattr(PostgresSteps, "commit", conflict)

    async def pay() -> None:
        nonlocal runs
        runs += 1
        await postgres_database.write(1)

    with pytest.raises(ExecutionFailedError, match="others were in the way"):
        await run(postgres_database.url, pay)
    assert runs == MAX_TRANSACTIONS
    assert postgres_database.paid() == []


@pytest.mark.parametrize("where", ["statement", "commit"])
async def test_an_at_most_once_attempt_is_not_run_again(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    runs = 0

    async def conflict(*_: object) -> None:
        raise psycopg.errors.SerializationFailure("once")

    async def pay() -> None:
        nonlocal runs
        runs += 1
        await postgres_database.write(1)
        if where == "statement":
            raise psycopg.errors.DeadlockDetected("a deadlock")
        monkeypatch.setattr(PostgresSteps, "commit", conflict)

    with pytest.raises(ExecutionFailedError):
        await run(postgres_database.url, pay, AT_MOST_ONCE)
    assert runs == 1
    assert postgres_database.paid() == []


async def test_another_process_that_was_first_does_not_part_rows_and_outcome(
    postgres_database: Database,
) -> None:
    runs = 0
    ids: list[str] = []

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> str:
        approval = await ctx.create_callback("approval")
        ids.append(approval.callback_id)
        async with Engine(postgres_database.url) as other:

            async def pay() -> None:
                nonlocal runs
                runs += 1
                await postgres_database.write(runs)
                if runs == 1:
                    await other.callback_succeed(ids[0], "yes")

            await ctx.step("pay", pay)
        return str(await approval.result())

    async with Engine(postgres_database.url, [order]) as engine:
        execution = await engine.start(order)
        assert await execution.result() == "yes"
        types = [event.event_type for event in await execution.history()]

    assert runs == 2
    assert postgres_database.paid() == [2]
    assert types.count(EventType.STEP_SUCCEEDED) == 1


async def test_a_step_of_a_stopped_execution_leaves_nothing(postgres_database: Database) -> None:
    engine = Engine(postgres_database.url)

    async def pay() -> None:
        await postgres_database.write(1)
        await engine.stop(current_step().execution_arn)

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        await ctx.step("pay", pay)

    async with engine, Engine(postgres_database.url, [order]) as worker:
        execution = await worker.start(order)
        with pytest.raises(ExecutionStoppedError):
            await execution.result()
    assert postgres_database.paid() == []


async def test_a_step_whose_claim_is_lost_leaves_nothing(postgres_database: Database) -> None:
    schema = postgres_database.url.partition("schema=")[2].partition("&")[0]
    take = f'UPDATE "{schema}".executions SET epoch = epoch + 1'  # noqa: S608 - the test's own
    over = asyncio.Event()

    async def pay() -> None:
        await postgres_database.write(1)
        await elsewhere(postgres_database, take)
        over.set()

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        try:
            await ctx.step("pay", pay)
        finally:
            over.set()

    async with Engine(postgres_database.url, [order], grace=0) as worker:
        execution = await worker.start(order)
        await over.wait()
    async with Engine(postgres_database.url) as engine:
        types = [event.event_type for event in (await engine.history(execution.arn)).events]
    assert EventType.STEP_SUCCEEDED not in types
    assert postgres_database.paid() == []


@pytest.mark.parametrize("is_applied", ["before", "after"])
async def test_a_commit_whose_answer_is_lost_is_found_out(
    postgres_database: Database, monkeypatch: pytest.MonkeyPatch, is_applied: str
) -> None:
    runs = 0
    commit = PostgresSteps.commit

    async def lose_answer(self: Any, base: Any, parameters: Any) -> None:
        monkeypatch.undo()
        if is_applied == "after":
            await commit(self, base, parameters)
        raise psycopg.OperationalError("the answer is lost")

    async def pay() -> int:
        nonlocal runs
        runs += 1
        await postgres_database.write(runs)
        return runs

    monkeypatch.setattr(PostgresSteps, "commit", lose_answer)

    assert await run(postgres_database.url, pay) == {"after": 1, "before": 2}[is_applied]
    assert postgres_database.paid() == [runs]


async def test_a_connection_that_is_cut_is_a_failure_of_the_step(
    postgres_database: Database,
) -> None:
    async def pay() -> None:
        connection = await step_connection(psycopg.AsyncConnection)
        await postgres_database.add(connection, 1)
        await elsewhere(
            postgres_database, f"SELECT pg_terminate_backend({connection.info.backend_pid})"
        )
        await postgres_database.add(connection, 2)

    with pytest.raises(ExecutionFailedError, match="terminat"):
        await run(postgres_database.url, pay)
    assert postgres_database.paid() == []


async def test_an_idle_connection_that_is_gone_is_replaced(postgres_database: Database) -> None:
    pids: list[int] = []

    async def pay() -> None:
        connection = await step_connection(psycopg.AsyncConnection)
        pids.append(connection.info.backend_pid)
        await postgres_database.add(connection, len(pids))

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        await ctx.step("one", pay)
        await ctx.step("two", pay)
        await elsewhere(postgres_database, f"SELECT pg_terminate_backend({pids[-1]})")
        await ctx.step("three", pay)

    async with Engine(postgres_database.url, [order]) as engine:
        execution = await engine.start(order)
        await execution.result()

    assert pids[0] == pids[1] != pids[2]
    assert postgres_database.paid() == [1, 2, 3]


async def test_with_room_for_one_connection_steps_take_turns(postgres_database: Database) -> None:
    url = f"{postgres_database.url}&pool=1&listen=off"
    at_once = most = 0

    async def pay(number: int) -> None:
        nonlocal at_once, most
        await postgres_database.write(number)
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        await asyncio.gather(*(ctx.step(None, pay, number) for number in range(8)))

    async with Engine(url, [order]) as engine:
        execution = await engine.start(order)
        await execution.result()

    assert postgres_database.paid() == list(range(8))
    assert most == 1


async def test_a_thread_that_was_given_up_in_a_statement_is_cut_off(
    postgres_database: Database,
) -> None:
    ended = threading.Event()

    def hang() -> None:
        connection = sync_step_connection(psycopg.Connection)
        postgres_database.add(connection, 1)
        try:
            connection.execute("SELECT pg_sleep(60)")
        finally:
            ended.set()

    config = StepConfig[Any](timeout=0.1, retry_strategy=exponential_backoff(max_attempts=1))
    with pytest.raises(ExecutionFailedError, match="StepTimeoutError"):
        await run(postgres_database.url, hang, config)
    assert await asyncio.to_thread(ended.wait, 5)
    assert postgres_database.paid() == []


async def test_in_sqlite_a_disk_error_of_the_commit_leaves_nothing(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3  # noqa: PLC0415 - one test's

    from durably.stores.sqlite_ledger import Ledger  # noqa: PLC0415 - one test's

    runs = 0
    commit = Ledger.commit

    def fail(self: Ledger) -> None:
        monkeypatch.undo()
        raise sqlite3.OperationalError("disk I/O error")

    async def pay() -> int:
        nonlocal runs
        runs += 1
        await sqlite_database.write(runs)
        if runs == 1:
            monkeypatch.setattr(Ledger, "commit", fail)
        return runs

    assert await run(sqlite_database.url, pay) == 2
    assert sqlite_database.paid() == [2]
    assert Ledger.commit is commit
