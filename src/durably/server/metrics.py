"""The counts of a store and of those who work on it, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from durably.engine.service import Service
from durably.engine.store import Census
from durably.engine.tally import Spread, Tally
from durably.wire.execution import ExecutionStatus

MEDIA = CONTENT_TYPE_LATEST
"""What `exposition` writes."""

_STATUSES = tuple(status.value for status in ExecutionStatus)
_MOST = 10_000
"""How many of a status are counted: enough to see that there are many, in a few milliseconds."""


async def exposition(service: Service) -> bytes:
    """Write what there is in the store of *service* now, and what was counted in this process.

    Raises:
        StoreError: the store cannot be read.
    """
    store = service.store
    census = await store.census(_STATUSES, _MOST)
    now = service.clock.now()
    return generate_latest(_Metrics([*_of_store(census, now), *_of_process(store.tally)]))


class _Metrics(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _of_store(census: Census, now: datetime) -> Iterator[Metric]:
    said = f"Executions in the store by status; the counting stops at {_MOST} of each."
    by_status = GaugeMetricFamily("durably_executions", said, labels=["status"])
    for status, amount in census.by_status.items():
        by_status.add_metric([status], amount)
    yield by_status
    said = f"Executions in the store that are parked; the counting stops at {_MOST}."
    yield GaugeMetricFamily("durably_executions_parked", said, census.parked)
    lag = 0.0 if census.wake_at is None else (now - census.wake_at).total_seconds()
    said = "For how long the execution in the store has been due that has waited longest."
    yield GaugeMetricFamily("durably_lag_seconds", said, max(lag, 0.0))


def _of_process(tally: Tally) -> Iterator[Metric]:
    said = "Executions claimed by this process."
    yield CounterMetricFamily("durably_claims", said, tally.claims)
    said = "Those of them that the owner before had lost: it died, or was silent for too long."
    yield CounterMetricFamily("durably_claims_lost", said, tally.claims_lost)
    said = "Invocations that failed, and are to be made again."
    yield CounterMetricFamily("durably_invocation_retries", said, tally.retries)
    said = "How often an execution was parked."
    yield CounterMetricFamily("durably_parkings", said, tally.parkings)
    said = "How long checkpoints took until they were durable."
    yield _histogram("durably_checkpoint_seconds", said, tally.checkpoint_seconds)
    said = "How many writes shared one transaction of the store."
    yield _histogram("durably_write_group_size", said, tally.group_sizes)


def _histogram(name: str, said: str, spread: Spread) -> Metric:
    ends = [*map(str, map(float, spread.bounds)), "+Inf"]
    buckets = list(zip(ends, accumulate(spread.amounts), strict=True))
    return HistogramMetricFamily(name, said, buckets, spread.total)
