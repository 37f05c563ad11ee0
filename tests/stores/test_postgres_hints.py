"""What one process writes wakes another, which need not look by itself."""

from datetime import timedelta

from durably.app.assembly import Assembly
from durably.app.settings import EngineSettings
from durably.engine.policy import DispatcherPolicy
from durably.engine.service import Service
from durably.stores.postgres import PostgresStore
from tests.app.functions import echo


async def _known(service: Service, function: str) -> None:
    """Return when *service* knows that somebody has *function*."""
    assert service.sharing is not None
    while service.sharing.find_target(function) is None:
        await service.sharing.learn()


async def test_what_others_start_is_begun_by_whoever_has_its_function(address: str) -> None:
    settings = EngineSettings(store_url=address)
    told = DispatcherPolicy(poll_interval=timedelta(hours=1))  # it finds nothing by looking
    here = Assembly(PostgresStore(address), {"echo": echo}, settings, worker=told)
    there = Assembly(PostgresStore(address), {}, settings)
    await here.open()
    await there.open()
    try:
        await _known(there.service, "echo")
        for number in range(3):  # the first may be found when it begins to listen
            arn = await there.service.start("echo", str(number))
            closed = await here.service.wait_closed(arn)
            assert closed.result == str(number)
    finally:
        await there.close(timedelta(0))
        await here.close(timedelta(0))
