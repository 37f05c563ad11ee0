"""What operators send twice is done once."""

import pytest

from durably.engine.commands import Pause, Resume, Stop
from durably.errors import InvalidParameterValueException
from tests.unit.engine.support import PENDING, Case, callback

SENT, OTHER = "one", "other"


def test_what_was_carried_out_does_nothing_again_for_fifteen_minutes() -> None:
    case = Case.suspended(callback())
    pause, resume = Pause("lunch", client_token=SENT), Resume("back", client_token=OTHER)
    case.ask(pause)
    case.ask(resume)

    assert case.ask(pause, after=899) == []
    assert case.ask(resume) == []
    assert case.execution.pause is None
    assert case.ask(pause, after=1) != []


def test_a_pause_that_waited_for_an_invocation_does_nothing_again_either() -> None:
    case = Case.running()
    case.ask(Pause(client_token=SENT))
    case.end(PENDING)
    case.ask(Resume(client_token=SENT))

    assert case.ask(Pause(client_token=SENT)) == []
    case.ask(Stop())
    assert case.ask(Resume(client_token=SENT)) == []


def test_a_client_token_is_for_one_request() -> None:
    case = Case.suspended(callback())
    case.ask(Pause("lunch", client_token=SENT))
    case.ask(Resume("back", client_token=OTHER))

    for other in (
        Pause("a nap", client_token=SENT),
        Pause("lunch", is_timeout_paused=False, client_token=SENT),
        Resume("home", client_token=OTHER),
    ):
        with pytest.raises(InvalidParameterValueException, match="ClientToken was given before"):
            case.ask(other)
    assert case.execution.pause is None


def test_client_tokens_are_forgotten_in_time() -> None:
    case = Case.suspended(callback())
    for number in range(10):
        case.ask(Pause(client_token=f"p{number}"), after=300)
        case.ask(Resume(client_token=f"r{number}"))

    assert len(case.execution.carried_out) == 6
