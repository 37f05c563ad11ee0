"""What is said of what failed."""

from pathlib import Path

import durably
from durably.engine.reports import logged, places_in, recorded
from durably.errors import InvocationExitError, TerminationReason
from durably.wire.operation import ErrorObject

OURS = f'File "{Path(durably.__file__).parent / "handler.py"}", line 7, in run'
USERS = 'File "/app/orders.py", line 12, in charge'


def test_a_log_names_the_last_place_in_the_users_code() -> None:
    error = ErrorObject(
        error_type="E", error_message="no", stack_trace=(USERS, OURS, "-- cause --")
    )

    assert logged(error) == "E: no (/app/orders.py, line 12, in charge)"


def test_without_a_place_it_is_the_error_alone() -> None:
    assert logged(ErrorObject(error_type="E", stack_trace=(OURS,))) == "E"
    assert logged(None) == "no error was given"
    assert places_in(None) == []


def test_a_long_message_is_cut() -> None:
    assert logged(ErrorObject(error_message="x" * 600)) == "x" * 500 + "…"


def test_code_that_wants_to_end_the_process_has_ended_it() -> None:
    assert (
        recorded(InvocationExitError(TerminationReason.CUSTOM, "gone")).error_type
        == "Runtime.ExitError"
    )
    assert recorded(ValueError("no")).error_type == "ValueError"
