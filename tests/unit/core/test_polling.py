import pytest

from durably.core.polling import poll_delay_seconds
from tests.unit.core.support import LATER, NOW


def test_the_first_look_is_when_the_change_is_expected() -> None:
    assert poll_delay_seconds(0, NOW, LATER) == 300


def test_what_should_have_changed_already_is_looked_at_at_once() -> None:
    assert poll_delay_seconds(0, LATER, NOW) == 0


@pytest.mark.parametrize(
    ("polls_made", "seconds"), [(0, 1), (1, 2), (8, 9), (9, 10), (94, 10), (95, 60), (1000, 60)]
)
def test_looks_get_rarer_up_to_ten_seconds_and_after_95_up_to_a_minute(
    polls_made: int, seconds: float
) -> None:
    assert poll_delay_seconds(polls_made, NOW, None) == seconds


def test_later_looks_do_not_wait_for_a_time_that_has_proved_wrong() -> None:
    assert poll_delay_seconds(1, NOW, LATER) == 2
