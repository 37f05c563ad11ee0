"""A standby takes over that has not heard of the latest commits: they never were, for everybody."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from durably import DurableContext, Engine, durable_execution
from durably.errors import ResourceNotFoundException
from durably.wire.history import EventType
from tests.stores import postgres_load as load
from tests.stores.postgres_load import fleet, ledger, start, wait_until
from tests.stores.postgres_server import in_schema
from tests.stores.postgres_standby import WithStandby

pytestmark = pytest.mark.timeout(120)

_STEPS = 30


@pytest.fixture
def server() -> Iterator[WithStandby]:
    server = WithStandby()
    yield server
    server.end()


@durable_execution
async def long(event: int, ctx: DurableContext) -> list[str]:
    async def slow() -> str:
        await asyncio.sleep(0.05)
        return ledger.note()

    return [await ctx.step(str(number), slow) for number in range(_STEPS)]


async def test_what_a_standby_has_not_heard_of_contradicts_nothing_after_it_has_taken_over(
    server: WithStandby,
) -> None:
    url = in_schema(server.url)
    async with fleet(url, url, function=long) as engines:
        kept = [(await engines[0].start(long, number)).arn for number in range(6)]
        await wait_until(lambda: all(entered(arn) > 3 for arn in kept))
        await asyncio.to_thread(server.await_standby)
        await asyncio.to_thread(server.cut_standby_off)
        lost = [await engines[1].start(long, number, name=f"lost-{number}") for number in range(3)]
        waiting = [asyncio.ensure_future(one.result()) for one in lost]
        await wait_until(
            lambda: all(entered(arn) > 10 for arn in [*kept, *(one.arn for one in lost)])
        )
        await asyncio.to_thread(server.fail_over)

        for arn in kept:
            await check(engines[1], arn)
        for one in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(one, ResourceNotFoundException)
        for number in range(3):
            again = await engines[0].start(long, number, name=f"lost-{number}")
            await check(engines[1], again.arn)
        assert sum(ledger.entered.values()) > 9 * _STEPS, "nothing was lost, and done again"


async def test_with_a_synchronous_standby_nothing_that_was_acknowledged_is_lost(
    server: WithStandby,
) -> None:
    server.be_synchronous()
    url = in_schema(server.url)
    async with fleet(url, url) as engines:
        starting = [asyncio.ensure_future(start(engine, 15)) for engine in engines]
        arns = await start(engines[0], 10)
        await wait_until(lambda: sum(map(entered, arns)) > 10)
        await asyncio.to_thread(server.fail_over)

        for more in await asyncio.gather(*starting):
            arns += more
        await load.check(engines[1], arns)


def entered(arn: str) -> int:
    return sum(amount for key, amount in ledger.entered.items() if key[0] == arn)


async def check(engine: Engine, arn: str) -> None:
    """Wait for an execution, and see that its result is made of what its history says."""
    execution = await engine.get(arn)
    result = await execution.result()
    recorded: dict[str | None, str] = {}
    for event in await execution.history():
        if event.event_type is EventType.STEP_SUCCEEDED:
            assert event.name not in recorded
            assert event.step_succeeded_details is not None
            recorded[event.name] = msgspec.json.decode(
                event.step_succeeded_details.result.payload or "null"
            )
    assert result == [recorded[str(number)] for number in range(_STEPS)]
