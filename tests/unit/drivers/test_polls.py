"""When a backend that does not tell by itself is asked."""

import asyncio
from datetime import timedelta

from durably.drivers.polls import Polls
from durably.testing.clock import EPOCH, ManualClock
from tests.unit.drivers.support import LeapingLoop


class Asked:
    """Notes when it was asked, in the time of its loop."""

    def __init__(self, ends_after: float = 1e9) -> None:
        self.loop = LeapingLoop()
        self.at: list[float] = []
        left = lambda: ends_after - self.loop.time()  # noqa: E731 - one expression
        self.polls = Polls(self.loop, ManualClock(), self.ask, left)

    def ask(self) -> None:
        self.at.append(round(self.loop.time(), 3))

    def after(self, seconds: float) -> list[float]:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self.loop.run_until_complete(asyncio.sleep(0))
        return self.at

    def close(self) -> None:
        self.polls.close()
        self.loop.close()


def test_it_is_asked_after_a_second_and_then_ever_more_seldom() -> None:
    asked = Asked()
    asked.polls.look_for("a", None)

    assert asked.after(60) == [1, 3, 6, 10, 15, 21, 28, 36, 45, 55]
    asked.close()


def test_nothing_is_armed_past_the_end_of_the_invocation() -> None:
    asked = Asked(ends_after=12)
    asked.polls.look_for("a", None)

    assert asked.after(60) == [1, 3, 6, 10]
    asked.close()


def test_it_is_asked_when_the_change_is_expected() -> None:
    asked = Asked()
    asked.polls.look_for("a", EPOCH + timedelta(seconds=20))

    assert asked.after(25) == [20, 22, 25]
    asked.close()


def test_whoever_is_due_first_is_asked_for_first_and_all_share_the_answer() -> None:
    asked = Asked()
    asked.polls.look_for("late", EPOCH + timedelta(seconds=50))
    asked.polls.look_for("soon", EPOCH + timedelta(seconds=5))

    assert asked.after(6) == [5]
    asked.close()


def test_it_is_not_asked_when_nobody_waits_any_more() -> None:
    asked = Asked()
    asked.polls.look_for("a", None)
    asked.polls.forget("a")
    asked.polls.forget("unknown")

    assert asked.after(60) == []
    asked.close()


def test_it_is_not_asked_after_the_end() -> None:
    asked = Asked()
    asked.polls.look_for("a", None)
    asked.polls.close()

    assert asked.after(60) == []
    asked.close()
