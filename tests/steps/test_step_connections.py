"""What a step writes with the connection of its outcome is stored with the outcome (P6)."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from durably import (
    CompletionConfig,
    DurableContext,
    Engine,
    ExecutionFailedError,
    ParallelConfig,
    StepConfig,
    SyncDurableContext,
    durable_execution,
    exponential_backoff,
    step_connection,
    sync_step_connection,
)
from durably.errors import StepError
from tests.steps.conftest import Database

ONCE = StepConfig[Any](retry_strategy=exponential_backoff(max_attempts=1))


async def result_of(database: Database, *functions: Any, event: Any = None) -> Any:
    """Run the first of *functions* on the database, and give its result."""
    async with Engine(database.url, functions, grace=0) as engine:
        run = await engine.start(functions[0], event)
        return await run.result()


@pytest.mark.parametrize("which", [0, 1], ids=["driver", "sqlalchemy"])
async def test_rows_are_written_with_the_outcome_in_a_coroutine(
    database: Database, which: int
) -> None:
    async def pay(number: int) -> int:
        await database.write(number, database.kinds[0][which])
        return number

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> list[int]:
        return [await ctx.step("one", pay, 1), await ctx.step("two", pay, 2)]

    assert await result_of(database, order) == [1, 2]
    assert database.paid() == [1, 2]


@pytest.mark.parametrize("which", [0, 1], ids=["driver", "sqlalchemy"])
async def test_rows_are_written_with_the_outcome_in_a_thread(
    database: Database, which: int
) -> None:
    def pay(number: int) -> int:
        database.write_blocking(number, database.kinds[1][which])
        return number

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> int:
        return await ctx.step("pay", pay, 1)

    @durable_execution
    def plain_order(event: Any, ctx: SyncDurableContext) -> int:
        return ctx.step("pay", pay, 2)

    assert await result_of(database, order) == 1
    assert await result_of(database, plain_order) == 2
    assert database.paid() == [1, 2]


async def test_a_coroutine_is_a_step_of_a_plain_function_too(database: Database) -> None:
    @durable_execution
    def order(event: Any, ctx: SyncDurableContext) -> Any:
        return ctx.step("pay", database.write, 1)

    await result_of(database, order)

    assert database.paid() == [1]


async def test_a_replay_writes_nothing(database: Database) -> None:
    runs = asked = 0
    waits = asyncio.Event()
    ids: list[str] = []

    async def pay() -> None:
        nonlocal runs
        runs += 1
        await database.write(runs)

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> Any:
        nonlocal asked
        asked += 1
        await ctx.step("pay", pay)
        approval = await ctx.create_callback("approval")
        ids.append(approval.callback_id)
        waits.set()
        return await approval.result()

    async with Engine(database.url, [order]) as engine:
        run = await engine.start(order)
        await waits.wait()
    async with Engine(database.url, [order]) as engine:
        await engine.callback_succeed(ids[0])
        await (await engine.get(run.arn)).result()

    assert (runs, asked) == (1, 2)
    assert database.paid() == [1]


async def test_what_a_failed_attempt_has_written_is_undone(database: Database) -> None:
    async def pay(number: int) -> None:
        await database.write(number)
        raise ValueError(number)

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> str:
        with pytest.raises(StepError, match="ValueError"):
            await ctx.step("pay", pay, 1, config=ONCE)
        await ctx.step("again", database.write, 2)
        return "done"

    assert await result_of(database, order) == "done"
    assert database.paid() == [2]


@pytest.mark.parametrize("where", ["loop", "thread"])
async def test_what_an_attempt_that_is_given_up_has_written_is_undone(
    database: Database, where: str
) -> None:
    go_on = asyncio.Event()
    left = threading.Event()

    async def hang() -> None:
        await database.write(1)
        await go_on.wait()

    def hang_in_thread() -> None:
        database.write_blocking(1)
        left.wait(5)

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> str:
        config = StepConfig[Any](timeout=0.05, retry_strategy=exponential_backoff(max_attempts=1))
        body: Callable[[], Any] = hang_in_thread if where == "thread" else hang
        with pytest.raises(StepError, match="StepTimeoutError"):
            await ctx.step("pay", body, config=config)
        left.set()
        await ctx.step("again", database.write, 2)
        return "done"

    assert await result_of(database, order) == "done"
    assert database.paid() == [2]


async def test_an_attempt_that_is_given_up_before_it_has_a_connection_keeps_none(
    database: Database,
) -> None:
    """Threads are left behind, and ask to the end."""
    has_written, go_on, left = asyncio.Event(), asyncio.Event(), threading.Event()

    async def hold() -> None:
        await database.write(1)
        has_written.set()
        await go_on.wait()

    def ask() -> None:
        try:
            database.write_blocking(2)
        finally:
            left.set()

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        holding = asyncio.ensure_future(ctx.step("hold", hold))
        await has_written.wait()
        asking = asyncio.ensure_future(ctx.step("ask", ask))
        await asyncio.sleep(0.05)
        asking.cancel()
        go_on.set()
        await asyncio.gather(holding, asking, return_exceptions=True)
        await asyncio.to_thread(left.wait)
        await ctx.step("again", database.write, 3)

    database.url += "&pool=1" * database.is_postgres
    await result_of(database, order)

    assert database.paid() == [1, 3]


async def test_a_cancelled_step_leaves_nothing_and_keeps_nobody_waiting(database: Database) -> None:
    has_written = asyncio.Event()

    async def hang() -> None:
        await database.write(1)
        has_written.set()
        await asyncio.Event().wait()

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> str:
        hanging = ctx.step("pay", hang)
        task = asyncio.ensure_future(hanging)
        await has_written.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await ctx.step("again", database.write, 2)
        return "done"

    assert await result_of(database, order) == "done"
    assert database.paid() == [2]


async def test_a_result_that_cannot_be_written_undoes_the_rows(database: Database) -> None:
    async def pay() -> object:
        await database.write(1)
        return object()

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        await ctx.step("pay", pay, config=ONCE)

    with pytest.raises(ExecutionFailedError, match="object"):
        await result_of(database, order)
    assert database.paid() == []


async def test_branches_write_beside_one_another_and_beside_other_steps(database: Database) -> None:
    async def nothing(number: int) -> int:
        return number

    async def pay(number: int) -> int:
        await database.write(number)
        await asyncio.sleep(0)
        return number

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> list[int]:
        return await asyncio.gather(
            *(ctx.step(None, pay if number % 2 else nothing, number) for number in range(20))
        )

    async with Engine(database.url, [order]) as engine:
        runs = [await engine.start(order) for _ in range(5)]
        for run in runs:
            assert await run.result() == list(range(20))

    assert database.paid() == [number for number in range(20) if number % 2 for _ in range(5)]


async def test_what_another_step_has_recorded_meanwhile_is_no_conflict(database: Database) -> None:
    runs = 0
    has_written = asyncio.Event()

    async def pay() -> None:
        nonlocal runs
        runs += 1
        await database.write(runs)
        has_written.set()
        for _ in range(20):  # until the outcome of the other one is on its way
            await asyncio.sleep(0)

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        await asyncio.gather(ctx.step("pay", pay), ctx.step("other", has_written.wait))

    await result_of(database, order)

    assert runs == 1
    assert database.paid() == [1]


async def test_a_branch_that_is_no_longer_wanted_leaves_nothing(
    postgres_database: Database,
) -> None:
    database = postgres_database  # in SQLite, the other branch could not end before this one
    has_written = asyncio.Event()

    async def hang(ctx: DurableContext) -> None:
        async def body() -> None:
            await database.write(1)
            has_written.set()
            await asyncio.Event().wait()

        await ctx.step("pay", body)

    async def end(ctx: DurableContext) -> str:
        await has_written.wait()
        return "first"

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> str:
        config = ParallelConfig(completion_config=CompletionConfig(min_successful=1))
        await ctx.parallel("both", [hang, end], config)
        await ctx.step("again", database.write, 2)
        return "done"

    assert await result_of(database, order) == "done"
    assert database.paid() == [2]


async def test_an_engine_that_is_closed_meanwhile_leaves_nothing(database: Database) -> None:
    has_written = asyncio.Event()
    is_first = True

    async def pay() -> None:
        nonlocal is_first
        await database.write(1)
        if is_first:
            is_first = False
            has_written.set()
            await asyncio.Event().wait()

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        await ctx.step("pay", pay)

    async with Engine(database.url, [order], grace=0) as engine:
        run = await engine.start(order)
        await has_written.wait()
    assert database.paid() == []
    async with Engine(database.url, [order]) as engine:
        await (await engine.get(run.arn)).result()
    assert database.paid() == [1]


class Base(orm.DeclarativeBase):
    """What the ORM maps."""


class Paid(Base):
    __tablename__ = "paid"
    n: orm.Mapped[int] = orm.mapped_column(primary_key=True)


async def test_a_session_of_the_orm_joins_the_transaction(database: Database) -> None:
    def pay(number: int) -> None:
        with orm.Session(bind=sync_step_connection(database.kinds[1][1])) as session:
            session.add(Paid(n=number))
            session.commit()
        if number == 2:
            raise ValueError(number)

    @durable_execution
    def order(event: Any, ctx: SyncDurableContext) -> None:
        ctx.step("one", pay, 1)
        with pytest.raises(StepError):
            ctx.step("two", pay, 2, config=ONCE)

    await result_of(database, order)

    assert database.paid() == [1]


async def test_an_asynchronous_session_joins_too(postgres_database: Database) -> None:
    async def pay(number: int) -> None:
        connection = await step_connection(AsyncConnection)
        async with AsyncSession(bind=connection) as session:
            session.add(Paid(n=number))
            await session.commit()
        if number == 2:
            raise ValueError(number)

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> None:
        await ctx.step("one", pay, 1)
        with pytest.raises(StepError):
            await ctx.step("two", pay, 2, config=ONCE)

    await result_of(postgres_database, order)

    assert postgres_database.paid() == [1]
