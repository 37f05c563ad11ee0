"""What Prometheus is told: scraped over HTTP, and read as it reads it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from durably import DurableContext, DurableFunction, Engine, durable_execution
from durably.app.assembly import Assembly
from durably.app.settings import EngineSettings
from durably.clock import SystemClock
from durably.drivers.settings import Host
from durably.engine.arns import LATEST
from durably.engine.commands import Target
from durably.engine.service import Service
from durably.engine.store import Census, WakeAt
from durably.engine.views import Standing
from durably.errors import StoreError
from durably.seams import RandomIds
from durably.server.access import Access, BearerToken, Permission
from durably.server.app import make_app, make_metrics_app
from durably.server.listening import bound_socket, listening, port_of
from durably.stores.memory import MemoryStore
from durably.testing.clock import ManualClock
from durably.testing.store_values import creation
from durably.wire.execution import ExecutionStatus
from tests.app.functions import ALL, BROKEN, reach
from tests.server.hostile import target
from tests.server.served import http_client

Labels: TypeAlias = frozenset[tuple[str, str]]

SCRAPER = BearerToken("the-secret-of-prometheus", frozenset({Permission.METRICS}), "prometheus")
READER = BearerToken("the-secret-of-dashboards", frozenset({Permission.READ}), "dashboards")


class Scraped:
    """One scrape."""

    def __init__(self, reply: httpx.Response) -> None:
        assert reply.status_code == 200, reply.text
        assert reply.headers["Content-Type"].startswith("text/plain; version=")
        self.kinds: dict[str, str] = {}
        self._values: dict[tuple[str, Labels], float] = {}
        for family in text_string_to_metric_families(reply.text):
            assert family.documentation.endswith(".")
            self.kinds[family.name] = family.type
            for sample in family.samples:
                self._values[sample.name, frozenset(sample.labels.items())] = sample.value

    def value(self, name: str, **labels: str) -> float:
        return self._values[name, frozenset(labels.items())]

    def by_label(self, name: str, label: str) -> Mapping[str, float]:
        found = [
            (dict(labels), value) for (one, labels), value in self._values.items() if one == name
        ]
        return {labels[label]: value for labels, value in found}


@asynccontextmanager
async def scraping(engine: Engine | Assembly, **how: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an engine at a port of this machine."""
    bound = bound_socket()
    async with (
        listening(make_app(engine, **how), [bound]),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port_of(bound)}") as client,
    ):
        yield client


async def scrape(client: httpx.AsyncClient) -> Scraped:
    return Scraped(await client.get("/metrics"))


@asynccontextmanager
async def assembled(
    store: MemoryStore, *functions: DurableFunction, host: Host | None = None
) -> AsyncIterator[Assembly]:
    """Work on a store that was made before."""
    named = {function.name: function for function in functions}
    worker = Assembly(store, named, EngineSettings(store_url="memory:"), host=host)
    await worker.open()
    yield worker
    await worker.close(timedelta(0))


@durable_execution
async def greet(name: str, ctx: DurableContext) -> str:
    await ctx.step("first", len, name)
    return await ctx.step("second", "Hello, {}!".format, name)


@durable_execution
async def sleep_long(event: Any, ctx: DurableContext) -> None:
    await ctx.wait("night", timedelta(days=300))


async def test_everything_is_told_with_its_kind() -> None:
    async with Engine("memory:", ALL) as engine, scraping(engine) as client:
        found = await scrape(client)

    assert found.kinds == {
        "durably_executions": "gauge",
        "durably_executions_parked": "gauge",
        "durably_lag_seconds": "gauge",
        "durably_claims": "counter",
        "durably_claims_lost": "counter",
        "durably_invocation_retries": "counter",
        "durably_parkings": "counter",
        "durably_checkpoint_seconds": "histogram",
        "durably_write_group_size": "histogram",
    }


async def test_executions_are_counted_by_their_status() -> None:
    async with (
        Engine("memory:", [greet, sleep_long], grace=0) as engine,
        scraping(engine) as client,
    ):
        for name in ("a", "b"):
            await (await engine.start(greet, name, name=name)).result()
        for name in ("c", "d", "e"):
            await engine.start(sleep_long, name=name)
            await reach(engine, name, Standing.WAITING)
        await engine.stop("d")
        await engine.pause("e")

        found = await scrape(client)

    counted = {"RUNNING": 1, "PAUSED": 1, "SUCCEEDED": 2, "STOPPED": 1}
    nothing = dict.fromkeys(ExecutionStatus, 0)
    assert found.by_label("durably_executions", "status") == nothing | counted


async def test_claims_and_checkpoints_of_functions_here_are_counted() -> None:
    async with Engine("memory:", [greet]) as engine, scraping(engine) as client:
        before = await scrape(client)
        await (await engine.start(greet, "Ada")).result()
        after = await scrape(client)

    assert before.value("durably_claims_total") == 0
    assert after.value("durably_claims_total") == 1
    assert after.value("durably_claims_lost_total") == 0
    # Each step's outcome was waited for, and the end of the execution goes without a checkpoint.
    assert after.value("durably_checkpoint_seconds_count") == 2
    assert after.value("durably_checkpoint_seconds_bucket", le="+Inf") == 2
    assert 0 < after.value("durably_checkpoint_seconds_sum") < 60


async def test_a_checkpoint_of_a_function_elsewhere_is_counted_when_it_was_accepted() -> None:
    step = {"Id": "s", "Type": "STEP", "Action": "START", "SubType": "Step", "Name": "a step"}
    said = {"Updates": [step]}
    async with target() as api:
        before = await scrape(api.client)
        for token in ("AAAA", api.token):
            body = {**said, "CheckpointToken": token}
            await api.client.post(api.execution(verb="/checkpoint"), json=body)
        after = await scrape(api.client)

    name = "durably_checkpoint_seconds_count"
    assert after.value(name) == before.value(name) + 1


async def test_an_invocation_that_is_to_be_made_again_is_counted() -> None:
    BROKEN.add("again")
    async with Engine("memory:", ALL, grace=0) as engine, scraping(engine) as client:
        await reach(engine, await engine.start("crash", "again"), Standing.RETRYING)
        found = await scrape(client)

    assert found.value("durably_invocation_retries_total") == 1
    assert found.value("durably_parkings_total") == 0
    assert found.value("durably_executions_parked") == 0


async def test_what_is_parked_is_counted() -> None:
    BROKEN.add("parked")
    async with Engine("memory:", ALL, park_after=1) as engine, scraping(engine) as client:
        await reach(engine, await engine.start("crash", "parked"), Standing.PARKED)
        found = await scrape(client)

    assert found.value("durably_invocation_retries_total") == 0
    assert found.value("durably_parkings_total") == 1
    assert found.value("durably_executions_parked") == 1
    assert found.value("durably_executions", status="RUNNING") == 1


async def test_what_an_owner_never_released_is_counted_by_who_takes_it_over() -> None:
    store = MemoryStore()
    clock = SystemClock()
    service = Service(store, clock, RandomIds(), lambda name: Target(name, LATEST))
    arn = await service.start("greet", '"Ada"')
    await store.claim("dead", ("greet",), clock.now(), timedelta(seconds=30), 1)

    async with assembled(store, greet) as worker, scraping(worker) as client:
        await worker.service.wait_closed(arn)
        found = await scrape(client)

    assert found.value("durably_claims_total") == 1
    assert found.value("durably_claims_lost_total") == 1


async def test_the_lag_is_that_of_the_execution_that_has_been_due_for_longest() -> None:
    store, clock = MemoryStore(), ManualClock()
    async with assembled(store, host=Host(clock=clock)) as worker, scraping(worker) as client:
        lags = [(await scrape(client)).value("durably_lag_seconds")]
        for name, seconds in (("a", 20), ("b", 10)):  # of a function that nobody has
            at = clock.now() + timedelta(seconds=seconds)
            await store.append([creation(name, wake=WakeAt(at))])
        for seconds in (5, 5, 15):
            clock.advance(seconds)
            lags.append((await scrape(client)).value("durably_lag_seconds"))

    assert lags == [0, 0, 0, 15]


async def test_the_sizes_of_groups_are_told_of_a_store_that_writes_in_groups(
    tmp_path: Path,
) -> None:
    async with Engine(f"sqlite:{tmp_path}/x.db", [greet]) as engine, scraping(engine) as client:
        await (await engine.start(greet, "Ada")).result()
        found = await scrape(client)

    groups = found.value("durably_write_group_size_count")
    assert groups > 2
    assert found.value("durably_write_group_size_sum") >= groups
    assert found.value("durably_write_group_size_bucket", le="200.0") == groups


async def test_metrics_need_the_permission_of_their_own() -> None:
    access = Access(tokens=(SCRAPER, READER))
    async with Engine("memory:", ALL) as engine, scraping(engine, access=access) as client:
        statuses: list[int] = []
        for token in (None, READER, SCRAPER):
            said = {} if token is None else {"Authorization": f"Bearer {token.secret}"}
            statuses.append((await client.get("/metrics", headers=said)).status_code)
        by_scraper = {"Authorization": f"Bearer {SCRAPER.secret}"}
        listed = await client.get("/2015-03-31/functions", headers=by_scraper)

    assert statuses == [403, 403, 200]
    assert listed.status_code == 403
    assert "metrics" not in listed.json()["message"]


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}], ids=str
)
async def test_a_page_of_another_origin_is_told_nothing(headers: dict[str, str]) -> None:
    async with Engine("memory:", ALL) as engine, scraping(engine) as client:
        reply = await client.get("/metrics", headers=headers)

    assert reply.status_code == 403
    assert "durably_" not in reply.text


async def test_where_metrics_alone_are_served_there_is_nothing_else() -> None:
    async with (
        Engine("memory:", ALL) as engine,
        http_client(make_metrics_app(engine, Access())) as client,
    ):
        assert (await scrape(client)).value("durably_claims_total") == 0
        for path in ("/2015-03-31/functions", "/", "/metrics/"):
            assert (await client.get(path)).status_code == 404
        assert (await client.post("/metrics")).status_code == 405


async def test_without_the_extra_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "durably.server.metrics", raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    async with Engine("memory:", ALL) as engine, http_client(make_app(engine)) as client:
        reply = await client.get("/metrics")

    assert reply.status_code == 404
    assert reply.json()["message"] == (
        "Metrics need `pip install 'durably[metrics]'` where this is served."
    )


async def test_of_a_store_that_cannot_be_read_nothing_is_told() -> None:
    class Unreadable(MemoryStore):
        async def census(self, statuses: Sequence[str], limit: int) -> Census:
            raise StoreError("canary")

    async with assembled(Unreadable(), greet) as worker, scraping(worker) as client:
        reply = await client.get("/metrics")

    assert reply.status_code == 500
    assert "durably_" not in reply.text
    assert "canary" not in reply.text
