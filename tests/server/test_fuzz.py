"""The fuzzer itself: it finds nothing wrong, and it would."""

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from durably.errors import InvalidParameterValueException
from durably.server import calls
from tests.server.fuzz import WrongAnswerError, fuzz


async def test_whatever_is_sent_the_answer_is_what_it_must_be() -> None:
    statuses = await fuzz(seed=1, count=500)
    assert {200, 400, 403, 404, 405, 409, 413, 415, 431} <= statuses.keys()


async def test_a_defect_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls.Query, "flag", lambda query, name, *, default: 1 / 0)
    with pytest.raises(WrongAnswerError, match="status 500"):
        await fuzz(seed=1, count=500)


async def test_what_is_taken_though_it_is_spoilt_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durably.server.guards._SAME", {"none", "same-origin", "cross-site"})
    with pytest.raises(WrongAnswerError, match="for what is not legal"):
        await fuzz(seed=1, count=5000)


async def test_a_refusal_that_changes_something_is_found() -> None:
    def wrap(app: ASGIApp) -> ASGIApp:
        async def refuse_afterwards(scope: Scope, receive: Receive, send: Send) -> None:
            is_stop = scope["path"].endswith("/stop")
            await app(scope, receive, lambda said: send(_refused(said) if is_stop else said))

        return refuse_afterwards

    with pytest.raises(WrongAnswerError, match="and something has changed"):
        await fuzz(seed=1, count=500, wrap=wrap)


def _refused(message: Message) -> Message:
    if message["type"] == "http.response.start" and message["status"] in {200, 202}:
        return {**message, "status": 400}
    return message


async def test_a_text_that_tells_too_much_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(field: str, text: str) -> InvalidParameterValueException:
        return InvalidParameterValueException(f"canary {text}")

    monkeypatch.setattr(calls, "refuse", told)
    with pytest.raises(WrongAnswerError, match="tells too much"):
        await fuzz(seed=1, count=500)
