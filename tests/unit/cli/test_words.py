"""How an execution ended, what a log record says, what an error means: in words."""

import logging
import sys
from typing import Any

import click
import pytest

from durably.cli.errors import Trouble, places_of, tell, trouble_of
from durably.cli.logs import ConsoleLogs, line_of, log_to_console
from durably.cli.outcome import ended_line, error_text, failure_lines
from durably.engine.reports import places_in
from durably.engine.views import Description
from durably.errors import (
    DurableError,
    DurableExecutionAlreadyStartedException,
    InvalidStateError,
    ResourceConflictException,
    ResourceNotFoundException,
    StoreFullError,
    StoreLockedError,
    ValidationError,
)
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import ErrorObject
from tests.unit.cli.records import ARN, at


@pytest.fixture(autouse=True)
def _no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


def described(status: ExecutionStatus, **members: Any) -> Description:
    is_closed = status is not ExecutionStatus.RUNNING
    given: dict[str, Any] = {
        "arn": ARN,
        "execution_name": "run",
        "function_name": "f",
        "function_arn": ARN.partition("/")[0],
        "version": "$LATEST",
        "status": status,
        "input_payload": "{}",
        "result": None,
        "error": None,
        "started_at": at(-3),
        "ended_at": at(0) if is_closed else None,
        "times_out_at": None,
        "timeout_seconds": 60,
        "retention_days": 14,
        "parent_arn": None,
        "tenant_id": None,
        "trace_id": None,
        "parked_reason": None,
        "failures": 0,
        "pause": None,
        "operation_count": 1,
        "event_count": 3,
    }
    return Description(**given | members)


ERROR = ErrorObject(
    error_type="ValueError",
    error_message="no\x1b money",
    stack_trace=(
        f'File "{sys.modules["durably.cli.outcome"].__file__}", line 3, in run',
        'File "/orders/shop.py", line 7, in charge',
        "nonsense",
        'File "/orders/shop.py", line 9, in <lambda>',
    ),
)


# Endings


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (ExecutionStatus.SUCCEEDED, "f/run succeeded in 3.0 s, 1 operation"),
        (ExecutionStatus.FAILED, "f/run failed in 3.0 s, 1 operation"),
        (ExecutionStatus.TIMED_OUT, "f/run timed out in 3.0 s, 1 operation"),
        (ExecutionStatus.STOPPED, "f/run was stopped in 3.0 s, 1 operation"),
        (ExecutionStatus.DELETING, "f/run deleting in 3.0 s, 1 operation"),
    ],
)
def test_an_ending_is_one_line(status: ExecutionStatus, said: str) -> None:
    assert ended_line(described(status)) == said


def test_a_failure_says_where_in_the_user_s_code() -> None:
    lines = list(failure_lines(described(ExecutionStatus.FAILED, error=ERROR, operation_count=2)))

    assert lines == [
        r"f/run failed in 3.0 s, 2 operations: ValueError: no\x1b money",
        "  /orders/shop.py, line 7, in charge",
        "  /orders/shop.py, line 9, in <lambda>",
    ]


def test_a_failure_without_an_error_is_told_all_the_same() -> None:
    stopped = described(ExecutionStatus.STOPPED)

    assert list(failure_lines(stopped)) == ["f/run was stopped in 3.0 s, 1 operation"]
    assert error_text(None) == ""
    assert places_in(None) == []


def test_a_parked_execution_says_why() -> None:
    parked = described(ExecutionStatus.RUNNING, parked_reason="10 invocations failed")

    assert list(failure_lines(parked)) == ["f/run is parked: 10 invocations failed"]


# Errors


@pytest.mark.parametrize(
    ("error", "sentence", "step"),
    [
        (ResourceNotFoundException("There is no x."), "There is no x.", "durably list"),
        (ResourceConflictException("It is open."), "It is open.", "durably show"),
        (DurableExecutionAlreadyStartedException("Known."), "Known.", "Choose another --name"),
        (ValidationError("store_url", "is bad"), "Store url: is bad", ""),
        (StoreLockedError("x.db is held"), "x.db is held.", "durably start"),
        (StoreFullError("x.db"), "x.db. Make room", ""),
        (InvalidStateError("not now"), "not now", ""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_a_sentence_and_a_next_step(
    error: DurableError, sentence: str, step: str
) -> None:
    trouble = trouble_of(error)

    assert trouble.message.startswith(sentence)
    assert step in trouble.next_step
    assert trouble.exit_code == 2


def test_trouble_is_told_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Trouble("No\x1b.", "Do this.", ("shop.py, line 7\x1b",)))
    tell(click.UsageError("no such thing"))

    out, err = capsys.readouterr()
    assert out == ""
    assert err == "Error: No\\x1b.\n  shop.py, line 7\\x1b\nDo this.\nError: no such thing\n"


def test_places_leave_out_frames_that_are_not_the_user_s() -> None:
    try:
        ConsoleLogs(level="nonsense")
    except ValueError as error:
        places = places_of(error.__traceback__)

    assert f"{__file__}, line" in places[0]


# Log records


def record_of(name: str, text: str, **fields: Any) -> logging.LogRecord:
    given = {"name": name, "levelname": "INFO", "msg": text, "executionArn": ARN}
    return logging.makeLogRecord(given | fields)


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (record_of("shop", "paying", executionArn=None, due=7), "INFO shop paying due=7"),
        (record_of("shop", "paying", operationId="1f"), "INFO shop f/run: paying"),
        (
            record_of("shop", "paying", operationName="charge", attempt=2),
            "INFO shop f/run, charge: paying attempt=2",
        ),
        (record_of("durably", "lost", threads=["x"]), "INFO f/run: lost"),
        (record_of("durably.engine", "f/run was parked", limit=3), "INFO f/run was parked"),
        (record_of("durably", "a b\x1b\n", executionArn=""), r"INFO a b\x1b\n"),
        (
            record_of(
                "sh\x1bop", "a", executionArn="", operationName="b\x1b", **{"c\x1b": "d\x1b"}
            ),
            r"INFO sh\x1bop b\x1b: a c\x1b=d\x1b",
        ),
    ],
)
def test_a_record_is_one_line_that_names_its_execution_once(
    record: logging.LogRecord, line: str
) -> None:
    assert line_of(record) == line


def broken() -> None:
    raise ValueError("no\x1b[2J")


def test_a_record_with_an_exception_shows_where_it_came_from() -> None:
    try:
        broken()
    except ValueError as error:
        kind = (type(error), error, error.__traceback__)
    record = logging.makeLogRecord({"msg": "broken", "exc_info": kind})

    text = line_of(record)

    assert "raise ValueError(" in text
    assert "in broken\n" in text
    assert text.endswith(r"no\x1b[2J")


def test_records_are_printed_from_the_level_on(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    try:
        log_to_console("info")
        assert root.level == logging.INFO
        [handler] = root.handlers
        assert isinstance(handler, ConsoleLogs)
    finally:
        root.handlers = before
        root.setLevel(level)
