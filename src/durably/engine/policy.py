"""What a service and a worker are free to decide about executions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from durably.engine.arns import LATEST, Home
from durably.engine.commands import DEFAULT_EXECUTION_TIMEOUT_SECONDS, DEFAULT_RETENTION_DAYS
from durably.engine.roster import DEFAULT_LEASE


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePolicy:
    """How long to wait after failed invocations in a row, and when to give up.

    Attributes:
        first_delay_seconds: after the first one; every further one doubles it.
        max_delay_seconds: it grows to no more than this.
        park_after: with so many the execution is parked until somebody resumes it.
    """

    first_delay_seconds: float = 1.0
    max_delay_seconds: float = 300.0
    park_after: int = 10

    def delay_seconds(self, failures: int) -> float:
        """Say how long after the last of *failures* failed invocations the next one is made."""
        doublings = min(failures - 1, 30)
        return float(min(self.first_delay_seconds * 2**doublings, self.max_delay_seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePolicy:
    """How one service runs.

    Attributes:
        home: the region and account in the arns it gives.
        version: the version that functions have here: `$LATEST`, or a number.
        execution_timeout_seconds: for starts that name none, and for chained invokes.
        retention_days: likewise, how long closed executions are kept.
        is_shared: other processes write to the store, too. Then nothing is remembered of
            executions that nobody works on here, and what others do is found by polling.
        max_idle_executions: how many executions that nobody works on are remembered otherwise.
        max_idle_bytes: what the facts of those may take.
        poll_interval: how long a change made by another process may stay unnoticed.
    """

    home: Home = field(default_factory=Home)
    version: str = LATEST
    execution_timeout_seconds: int = DEFAULT_EXECUTION_TIMEOUT_SECONDS
    retention_days: int = DEFAULT_RETENTION_DAYS
    failures: FailurePolicy = field(default_factory=FailurePolicy)
    is_shared: bool = False
    max_idle_executions: int = 1000
    max_idle_bytes: int = 64 * 1024 * 1024
    poll_interval: timedelta = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """What holds for a whole execution, beside its name and its payload.

    Attributes:
        timeout_seconds: after how long it ends by itself; the service's default if `None`.
        retention_days: how long it is kept once it has ended; likewise.
        is_synchronous: the caller is going to wait, so payload and result may take 6 MB.
        tenant_id: the tenant it runs for.
        trace_id: the trace it belongs to.
    """

    timeout_seconds: int | None = None
    retention_days: int | None = None
    is_synchronous: bool = False
    tenant_id: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatcherPolicy:
    """How one worker works.

    Attributes:
        max_concurrency: how many invocations may run at once.
        max_threads: how many of them may be of functions that hold a thread; no more are claimed.
        lease: how long the worker may be silent before its work is given away.
        version: of the functions; only executions of it are claimed.
        poll_interval: how long work may stay unnoticed that nobody told of: what other processes
            hand in, and what came due while the machine was asleep. Everything else is told at
            once. `None`: as often as the service polls when the store is shared, else every 5 s.
        housekeeping_interval: how often executions that were kept long enough are removed.
        unwinding: how long what is cut off may take to end; then nothing waits for it any more.
    """

    max_concurrency: int = 100
    max_threads: int = 32
    lease: timedelta = DEFAULT_LEASE
    version: str = LATEST
    poll_interval: timedelta | None = None
    housekeeping_interval: timedelta = timedelta(minutes=1)
    unwinding: timedelta = timedelta(seconds=5)
