from __future__ import annotations

from datetime import UTC, timedelta

from durably.clock import SystemClock


def test_the_system_clock_gives_aware_instants_in_utc() -> None:
    now = SystemClock().now()

    assert now.tzinfo is UTC
    assert SystemClock().now() - now < timedelta(minutes=1)


def test_monotonic_time_never_runs_backwards() -> None:
    clock = SystemClock()

    readings = [clock.monotonic() for _ in range(100)]

    assert readings == sorted(readings)
