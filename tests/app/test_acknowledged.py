"""What is acknowledged can be read again; what could not be is refused, and changes nothing."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from durably import Engine, ErrorObject, InvalidParameterValueException, ValidationError
from durably.engine.policy import StartOptions
from tests.app.functions import ALL, GATES, Gate


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'durably.db'}"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"retention_days": 1.5}, "retention_days"),
        ({"retention_days": True}, "retention_days"),
        ({"retention_days": "7"}, "retention_days"),
        ({"retention_days": 0}, "retention_days"),
        ({"retention_days": 91}, "retention_days"),
        ({"execution_timeout": True}, "execution_timeout"),
        ({"execution_timeout": timedelta.max}, "execution_timeout"),
    ],
)
async def test_a_start_with_an_option_that_is_none_starts_nothing(
    url: str, options: dict[str, Any], field: str
) -> None:
    async with Engine(url, ALL) as engine:
        with pytest.raises(ValidationError) as refused:
            await engine.start("echo", 1, **options)

        assert refused.value.field == field
        assert (await engine.list()).executions == ()


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"error_type": 5}, "error_type"),
        ({"error_message": b"x"}, "error_message"),
        ({"error_data": ["x"]}, "error_data"),
        ({"stack_trace": "abc"}, "stack_trace"),
        ({"stack_trace": (1, 2)}, "stack_trace"),
        ({"error_message": "\ud800"}, "error_message"),
    ],
)
async def test_a_stop_for_a_reason_that_cannot_be_read_stops_nothing(
    url: str, members: dict[str, Any], field: str
) -> None:
    async with Engine(url, ALL) as engine:
        run = await engine.start("long_sleep", "x", name="run")
        for stop in (engine.stop(run, ErrorObject(**members)), run.stop(ErrorObject(**members))):
            with pytest.raises(ValidationError) as refused:
                await stop
            assert refused.value.field == field

    async with Engine(url, ALL) as engine:
        found = await engine.describe("run")
        assert (found.is_closed, found.damage) == (False, None)


async def test_why_something_was_stopped_may_be_given_as_an_error_or_as_text(url: str) -> None:
    async with Engine(url, ALL) as engine:
        for name, reason in (("a", "enough"), ("b", KeyError("enough"))):
            await engine.stop(await engine.start("long_sleep", "x", name=name), reason)

        said = [(await engine.describe(name)).error for name in ("a", "b")]

    assert said == [
        ErrorObject(error_message="enough"),
        ErrorObject(error_type="KeyError", error_message="'enough'"),
    ]


async def test_a_service_takes_nothing_that_it_could_not_read_again(url: str) -> None:
    GATES["x"] = gate = Gate()
    unreadable: Any = 1.5
    text: Any = "abc"
    async with Engine(url, ALL) as engine:
        run = await engine.start("gated", "x", name="run")
        await gate.reached.wait()
        for asked in (
            engine.service.start("echo", "1", options=StartOptions(retention_days=unreadable)),
            engine.service.start("echo", "1", options=StartOptions(timeout_seconds=True)),
            engine.service.stop(run.arn, ErrorObject(stack_trace=text)),
            engine.service.pause(run.arn, is_timeout_paused=text),
        ):
            with pytest.raises(
                InvalidParameterValueException, match="cannot be recorded: Expected"
            ):
                await asked
        gate.opened.set()

        assert await run.result(5) == "through"

    async with Engine(url, ALL) as engine:
        found = await engine.describe("run")
        assert (found.is_closed, found.damage, found.failures) == (True, None, 0)
        assert len((await engine.list()).executions) == 1
