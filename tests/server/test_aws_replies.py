"""Replies that are not the service's, or not whole: real boto3 over HTTP, and a durable handler."""

from typing import Any

import pytest

from durably.core.ids import hash_id
from durably.errors import CheckpointUnrecoverableInvocationError, UnrecoverableInvocationError
from tests.server.broken_backend import WELL, awaiting, backend, blocking, event, reply

BROKEN = {
    "cut off": reply(b'{"CheckpointToken":"a', more_bytes=5000),
    "a page of HTML": reply(b"<html>sign in</html>"),
    "an empty object": reply({}),
    "nothing": reply(b""),
    "null": reply(None),
    "a list": reply([1]),
    "a text": reply("busy"),
}
ENDED: dict[str, Any] = {"NewExecutionState": {"Operations": []}}

both = pytest.mark.parametrize("handler", [blocking, awaiting])
broken = pytest.mark.parametrize("bad", list(BROKEN.values()), ids=list(BROKEN))


@both
@broken
def test_a_broken_reply_has_the_same_checkpoint_sent_again(handler: Any, bad: bytes) -> None:
    with backend([bad, bad, reply(WELL)]) as server:
        answer = server.function(handler)(event())

    first, second, third, last = server.posted
    assert answer == {"Status": "SUCCEEDED", "Result": "7"}
    assert first == second == third
    assert first["ClientToken"] != last["ClientToken"]


@both
@broken
def test_three_broken_replies_in_a_row_fail_the_invocation(handler: Any, bad: bytes) -> None:
    with backend([bad]) as server, pytest.raises(CheckpointUnrecoverableInvocationError) as failure:
        server.function(handler)(event())

    assert "cut off, or not the service's" in str(failure.value)
    assert len(server.posted) == 3


@broken
def test_a_broken_page_of_the_state_is_asked_for_three_times(bad: bytes) -> None:
    with backend([], page=bad) as server, pytest.raises(UnrecoverableInvocationError):
        server.function(blocking)(event("more"))

    assert server.pages == 3


@both
def test_a_reply_with_a_state_and_no_token_ends_the_invocation(handler: Any) -> None:
    with backend([reply(ENDED)]) as server:
        assert server.function(handler)(event()) == {"Status": "PENDING"}

    assert len(server.posted) == 1


ROUND = reply({"Operations": [], "NextMarker": "same"})


@both
def test_pages_that_lead_in_a_circle_at_the_start_fail_the_invocation(handler: Any) -> None:
    with (
        backend([], page=ROUND) as server,
        pytest.raises(CheckpointUnrecoverableInvocationError, match="marker 'same' came twice"),
    ):
        server.function(handler)(event("first"))

    assert server.pages == 2
    assert server.posted == []


@both
def test_pages_that_lead_in_a_circle_after_a_checkpoint_fail_the_invocation(handler: Any) -> None:
    paged = WELL | {"NewExecutionState": {"NextMarker": "same"}}
    with (
        backend([reply(paged)], page=ROUND) as server,
        pytest.raises(CheckpointUnrecoverableInvocationError, match="marker 'same' came twice"),
    ):
        server.function(handler)(event())

    assert (len(server.posted), server.pages) == (1, 1)


@both
def test_a_record_of_another_type_than_was_sent_ends_the_execution(handler: Any) -> None:
    other = {"Id": hash_id("1"), "Type": "WAIT", "Status": "SUCCEEDED", "StartTimestamp": 1}
    mixed_up = WELL | {"NewExecutionState": {"Operations": [other]}}
    with backend([reply(mixed_up)]) as server:
        answer = server.function(handler)(event())

    assert answer["Status"] == "FAILED"
    assert answer["Error"]["ErrorType"] == "NonDeterministicExecutionError"
    assert "is a STEP here, and the backend tells of a WAIT" in answer["Error"]["ErrorMessage"]
