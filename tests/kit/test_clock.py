"""A virtual clock stands still, and its timers go off when it is moved."""

import asyncio
import threading
from datetime import timedelta

import pytest

from durably.testing.clock import EPOCH, QUIET_TURNS, ManualClock, VirtualClock


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_timer_goes_off_when_the_clock_is_moved_to_its_moment() -> None:
    clock = VirtualClock()
    rung: list[object] = []
    clock.call_later(60, rung.append, "a minute")
    clock.call_later(3600, rung.append, "an hour")

    clock.advance(59)
    await turns(2)
    before = list(rung)
    clock.advance(1)
    await turns(2)

    assert before == []
    assert rung == ["a minute"]
    assert clock.now() == EPOCH + timedelta(minutes=1)
    assert clock.monotonic() == 60
    assert clock.next_due == EPOCH + timedelta(hours=1)


async def test_timers_go_off_in_the_order_in_which_they_are_due() -> None:
    clock = VirtualClock()
    rung: list[object] = []
    for seconds in (3, 1, 2, 1):
        clock.call_later(seconds, rung.append, seconds)

    clock.advance(timedelta(seconds=3))
    await turns(2)

    assert rung == [1, 1, 2, 3]


async def test_a_cancelled_timer_does_not_go_off_and_is_waited_for_by_nobody() -> None:
    clock = VirtualClock()
    rung: list[object] = []
    timers = [clock.call_later(1, rung.append, number) for number in range(1000)]
    last = clock.call_later(5, rung.append, "last")
    for timer in timers:
        timer.cancel()

    assert clock.next_due == EPOCH + timedelta(seconds=5)
    last.cancel()
    clock.call_later(7, rung.append, "later")
    clock.advance(6)
    await turns(2)

    assert rung == []
    assert clock.next_due == EPOCH + timedelta(seconds=7)


async def test_time_does_not_run_backwards() -> None:
    clock = VirtualClock()
    clock.advance(10)

    clock.advance_to(EPOCH)

    assert clock.now() == EPOCH + timedelta(seconds=10)
    assert clock.next_due is None


async def test_quiet_comes_after_some_turns_without_any_time() -> None:
    clock = VirtualClock()
    heard: list[str] = []
    clock.call_when_quiet(20, lambda: heard.append("quiet"))
    cancelled = clock.call_when_quiet(20, lambda: heard.append("never"))
    await turns(2)
    cancelled.cancel()

    before = list(heard)
    await turns(QUIET_TURNS)

    assert before == []
    assert heard == ["quiet"]
    assert clock.now() == EPOCH


@pytest.mark.process  # it waits for a thread
def test_a_thread_waits_until_the_clock_is_moved() -> None:
    clock, done = VirtualClock(), threading.Event()
    thread = threading.Thread(target=clock.wait, args=(done, 60))
    thread.start()
    while clock.next_due is None:
        thread.join(0.001)

    clock.advance(60)
    thread.join(8)

    assert not thread.is_alive()
    assert clock.next_due is None


async def test_a_timer_is_overdue_once_as_much_time_has_passed_outside() -> None:
    clock = VirtualClock()
    clock.call_later(60, print)
    is_overdue = clock.is_overdue()
    clock.call_later(0, print)

    assert not is_overdue
    assert clock.is_overdue()


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock()

    clock.advance(1.5)
    clock.advance(timedelta(seconds=1))

    assert clock.monotonic() == 2.5
    assert clock.now() == EPOCH + timedelta(seconds=2.5)
