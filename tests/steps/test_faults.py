"""What networks and dead machines do to the transaction of a step, and to everybody else."""

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from durably import (
    DurableContext,
    Engine,
    StepConfig,
    durable_execution,
    exponential_backoff,
    step_connection,
)
from tests.steps.conftest import Database
from tests.stores.postgres_load import wait_until
from tests.stores.postgres_proxy import Fault, Proxy

pytestmark = pytest.mark.timeout(60)

ANSWER_SECONDS = 0.5
SOON = StepConfig[Any](retry_strategy=exponential_backoff(initial_delay=1))
WORDS = {
    "begin": "SET LOCAL durably.step",
    "commit": "append_in_step(",
    "forget": "DISCARD ALL",
    "undo": "ROLLBACK",
}


@pytest.fixture
async def proxy(postgres: str) -> AsyncIterator[Proxy]:
    async with Proxy(postgres) as proxy:
        yield proxy


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durably.stores.postgres_database._ANSWER_SECONDS", ANSWER_SECONDS)


def through(proxy: Proxy, database: Database) -> str:
    """Give the address of the store by way of the proxy."""
    schema = database.url.index("schema=")
    return f"{proxy.url}&{database.url[schema:]}"


def once(proxy: Proxy, fault: Fault, words: str) -> None:
    """Have *fault* befall the next request that says this."""
    waiting = [fault]
    proxy.fault = lambda text: waiting.pop() if waiting and words in text else None


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("statement", WORDS)
@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name)
async def test_after_a_fault_rows_and_outcome_are_there_once(
    postgres_database: Database, proxy: Proxy, statement: str, fault: Fault
) -> None:
    runs = 0

    async def pay() -> int:
        nonlocal runs
        runs += 1
        await postgres_database.write(runs)
        if statement == "undo" and runs == 1:
            raise ValueError("not this time")
        return runs

    @durable_execution
    async def order(event: Any, ctx: DurableContext) -> int:
        return int(await ctx.step("pay", pay, config=SOON))

    async with Engine(through(proxy, postgres_database), [order], lease=2) as engine:
        once(proxy, fault, WORDS[statement])
        execution = await engine.start(order)
        result = await execution.result()

    assert proxy.fired.total() == 1
    assert postgres_database.paid() == [result]


async def test_a_commit_that_nothing_is_heard_of_is_in_nobodys_way(
    postgres_database: Database, proxy: Proxy
) -> None:
    runs = 0

    async def pay() -> None:
        nonlocal runs
        runs += 1
        await (await step_connection(psycopg.AsyncConnection)).execute(
            "INSERT INTO paid VALUES (%s)", (runs,)
        )

    @durable_execution
    async def order(event: int, ctx: DurableContext) -> int:
        if event:
            await ctx.step("pay", pay)
        return event

    cut_off = Engine(through(proxy, postgres_database), [order], lease=2, grace=0)
    async with cut_off, Engine(postgres_database.url, [], lease=2) as looking:
        once(proxy, Fault.HOLE, WORDS["commit"])
        execution = await cut_off.start(order, 1)
        await wait_until(lambda: proxy.fired[Fault.HOLE])

        # The worker itself goes on with everything else.
        assert await (await cut_off.start(order, 0)).result() == 0
        # So does whoever takes over, once the lease is over.
        proxy.cut()
        async with Engine(postgres_database.url, [order], lease=2):
            assert await (await looking.get(execution.arn)).result() == 1

    assert postgres_database.paid() == [runs]
