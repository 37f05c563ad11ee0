"""What the commands print, from values."""

from io import StringIO
from typing import Any

import click
import pytest

from durably import durable_execution
from durably.app.settings import EngineSettings
from durably.cli.errors import Trouble
from durably.cli.following import Left
from durably.cli.history import details_of
from durably.cli.list import fitting
from durably.cli.main import told
from durably.cli.options import json_of, text_of
from durably.cli.run import Wanted, tell
from durably.cli.show import outcome_of
from durably.cli.watching import is_suspended
from durably.cli.why import sentences
from durably.engine.rules import EXIT_ERROR
from durably.engine.views import Description, Next, Standing, Why
from durably.errors import ResourceNotFoundException
from durably.wire.execution import ExecutionStatus
from durably.wire.history import (
    CallbackStartedDetails,
    ErrorDetails,
    Event,
    EventError,
    EventType,
    RetryDetails,
    StepFailedDetails,
)
from durably.wire.operation import (
    CallbackDetails,
    ErrorObject,
    Operation,
    OperationStatus,
    OperationType,
    StepDetails,
)
from tests.unit.cli.records import ARN, INVOKE, NOW, STEP, WAIT, at, awaited, operation, why
from tests.unit.cli.test_words import described

ERROR = ErrorObject(error_type="ValueError", error_message="no\x1b")


@pytest.fixture(autouse=True)
def _no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


# why


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        (why(Standing.RUNNING), ["f/run runs, since "]),
        (why(Standing.QUEUED), ["f/run can go on and waits for a worker, since "]),
        (
            why(Standing.WAITING),
            ["f/run waits, since ", "It goes on by itself at "],
        ),
        (
            why(Standing.WAITING, wakes_at=at(60), next=Next.EXECUTION_TIMEOUT),
            ["f/run waits, since ", "Unless something wakes it, it times out at "],
        ),
        (
            why(Standing.WAITING, next=Next.CALLBACK_TIMEOUT),
            ["f/run waits, since ", "Unless it is answered, its callback times out at "],
        ),
        (
            why(Standing.PAUSED),
            ["f/run is paused, since ", "Nothing lets it go on before `durably resume run`."],
        ),
        (
            why(Standing.RETRYING, failures=2, last_error=ERROR),
            [
                "f/run waits for its next try, since ",
                r"It loops: 2 invocations failed in a row, the last one with ValueError: no\x1b",
                "It goes on by itself at ",
            ],
        ),
        (
            why(Standing.PARKED, failures=9, last_error=ERROR, parked_reason="9 in a row"),
            [
                "f/run is parked, since ",
                "It loops: 9 invocations failed in a row",
                "Mend the cause; nothing lets it go on before `durably resume run`.",
            ],
        ),
    ],
    ids=lambda value: value.standing.value if isinstance(value, Why) else "",
)
def test_why_says_it_in_sentences(said: Why, lines: list[str]) -> None:
    description = described(ExecutionStatus.RUNNING, times_out_at=at(60))

    found = list(sentences(description, said, NOW))

    assert len(found) == len(lines)
    for line, beginning in zip(found, lines, strict=True):
        assert line.startswith(beginning)


def test_why_says_how_a_closed_execution_ended() -> None:
    frame = ('File "/orders/shop.py", line 7, in charge',)
    error = ErrorObject(error_type="ValueError", error_message="no", stack_trace=frame)
    failed = described(ExecutionStatus.FAILED, error=error)

    first, place = sentences(failed, why(Standing.CLOSED), NOW)

    assert first.startswith("f/run failed in 3.0 s, 1 operation, at ")
    assert first.endswith("ago): ValueError: no")
    assert place == "  /orders/shop.py, line 7, in charge"


# show and history


@pytest.mark.parametrize(
    ("record", "outcome"),
    [
        (STEP, ""),
        (WAIT, ""),
        (operation("x", step_details=StepDetails(attempt=2, result="[1]")), "attempt 2, [1]"),
        (operation("x", step_details=StepDetails(attempt=1, error=ERROR)), r"ValueError: no\x1b"),
        (
            operation(
                "x",
                OperationType.CALLBACK,
                callback_details=CallbackDetails(callback_id="cb-1"),
            ),
            "id cb-1",
        ),
        (
            operation(
                "x",
                OperationType.CALLBACK,
                OperationStatus.SUCCEEDED,
                callback_details=CallbackDetails(callback_id="cb-1", result='"yes"'),
            ),
            '"yes"',
        ),
    ],
)
def test_what_an_operation_has_come_to_is_said_in_a_few_words(
    record: Operation, outcome: str
) -> None:
    assert outcome_of(record) == outcome


NAMES = {"NAME": 36, "FUNCTION": 10, "STATUS": 9, "STARTED": 8, "TOOK": 10, "NEXT": 50}


@pytest.mark.parametrize(
    ("room", "titles", "width"),
    [
        (4096, "NAME FUNCTION STATUS STARTED TOOK NEXT", 4096),
        (120, "NAME FUNCTION STATUS STARTED TOOK NEXT", 120),
        (100, "NAME FUNCTION STATUS STARTED NEXT", 100),
        (90, "NAME STATUS STARTED NEXT", 90),
        (60, "NAME STATUS STARTED NEXT", 74),
    ],
)
def test_a_list_drops_columns_where_it_is_narrow_and_cuts_none(
    room: int, titles: str, width: int
) -> None:
    assert fitting(NAMES, room) == (titles.split(), width)


def event(event_type: EventType, **details: Any) -> Event:
    return Event(event_type=event_type, event_id=1, event_timestamp=at(0), **details)


@pytest.mark.parametrize(
    ("happened", "details"),
    [
        (event(EventType.EXECUTION_PAUSED), ""),
        (
            event(
                EventType.CALLBACK_STARTED,
                callback_started_details=CallbackStartedDetails(callback_id="cb-1", timeout=60),
            ),
            "callback id cb-1, answer within 1 min",
        ),
        (
            event(
                EventType.STEP_FAILED,
                step_failed_details=StepFailedDetails(
                    error=EventError(truncated=False, payload=ERROR),
                    retry_details=RetryDetails(current_attempt=2),
                ),
            ),
            r"ValueError: no\x1b, attempt 2",
        ),
        (
            event(
                EventType.EXECUTION_FAILED,
                execution_failed_details=ErrorDetails(error=EventError(truncated=True)),
            ),
            "",
        ),
    ],
)
def test_the_details_of_an_event_are_one_line(happened: Event, details: str) -> None:
    assert details_of(happened) == details


# Watching


class Seen:
    """A service that has been asked before."""

    def __init__(self, answers: dict[str, Why]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def why(self, arn: str) -> Why:
        self.asked.append(arn)
        return self.answers[arn]


def family(child: Standing) -> Seen:
    """A parent that waits for two executions, which wait for each other's."""
    first, second = f"{ARN}1", f"{ARN}2"
    both = (awaited(INVOKE, first), awaited(INVOKE, second), awaited(WAIT))
    return Seen(
        {
            ARN: why(waits_for=both),
            first: why(waits_for=(awaited(INVOKE, second),)),
            second: why(child),
        }
    )


@pytest.mark.parametrize(
    ("child", "is_so"),
    [
        (Standing.WAITING, True),
        (Standing.PAUSED, True),
        (Standing.PARKED, True),
        (Standing.RETRYING, True),
        (Standing.RUNNING, False),
        (Standing.QUEUED, False),
        (Standing.CLOSED, False),
    ],
)
async def test_an_execution_is_suspended_when_all_that_it_waits_for_are(
    child: Standing, *, is_so: bool
) -> None:
    seen = family(child)

    assert await is_suspended(seen, ARN) is is_so  # type: ignore[arg-type]
    assert len(seen.asked) == len(set(seen.asked))


# Input


def test_a_source_is_itself_a_file_or_standard_input(tmp_path: Any) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"\xff")

    assert text_of("7") == "7"
    with pytest.raises(Trouble, match="is not UTF-8"):
        text_of(f"@{path}")
    with pytest.raises(Trouble, match="cannot be read"):
        text_of(f"@{tmp_path}")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (None, None),
        ('{ "b" : 1.50 , "a" : [ ] }', '{"b":1.50,"a":[]}'),
        (" 100000000000000000000000000000 ", "100000000000000000000000000000"),
        ('"ü \\u00fc"', '"ü \\u00fc"'),
    ],
)
def test_json_loses_its_spaces_and_nothing_else(source: str | None, text: str | None) -> None:
    assert json_of(source) == text


@pytest.mark.parametrize(
    ("source", "step"),
    [
        ("order 9", """A text needs double quotes inside the single ones: --input '"order 9"'."""),
        ("it's", """A text needs double quotes inside the single ones: --input '"some text"'."""),
        ("{id: 7}", "Put it in single quotes, so that the shell leaves it alone: --input "),
        ("", "Put it in single quotes"),
    ],
)
def test_whoever_types_no_json_is_told_how_to(source: str, step: str) -> None:
    with pytest.raises(Trouble, match="is not JSON") as caught:
        json_of(source)

    assert caught.value.next_step.startswith(step)


# Errors


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (click.exceptions.Exit(3), 3, ""),
        (click.Abort(), 130, ""),
        (BrokenPipeError(), 141, ""),
        (click.UsageError("no such option"), 2, "Error: no such option\n"),
        (ResourceNotFoundException("There is none."), 2, "Error: There is none.\n"),
        (KeyError("x"), 2, "Error: this is a defect of durably: KeyError: 'x'\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_is_raised_becomes_a_sentence_and_an_exit_code(
    error: Exception, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(error) == code

    assert capsys.readouterr().err.startswith(said)


def test_whoever_looks_for_a_defect_gets_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLY_DEBUG", "1")

    with pytest.raises(KeyError):
        told(KeyError("x"))


# run


@pytest.mark.parametrize(
    ("outcome", "code", "out", "said"),
    [
        (
            described(ExecutionStatus.SUCCEEDED, result="[1]"),
            0,
            "[1]\n",
            "f/run succeeded in 3.0 s",
        ),
        (described(ExecutionStatus.SUCCEEDED), 0, "null\n", "f/run succeeded in 3.0 s"),
        (described(ExecutionStatus.TIMED_OUT), 1, "", "f/run timed out in 3.0 s"),
        (
            described(ExecutionStatus.RUNNING, parked_reason="10 in a row"),
            3,
            "",
            "f/run is parked: 10 in a row\nGo on with: durably run a.py:f --name run\n",
        ),
        (Left.SUSPENDED, 3, "", "f/run is suspended; `durably why run` says"),
        (Left.PAUSED, 3, "", "f/run is paused; `durably resume run` lets it go on.\nGo on with: "),
        (Left.INTERRUPTED, 130, "", "f/run is suspended, and nothing that was recorded is lost.\n"),
    ],
)
def test_how_a_run_came_out_is_said_in_words_and_in_its_exit_code(
    outcome: Description | Left,
    code: int,
    out: str,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = Wanted(
        target="a.py:f",
        function=durable_execution(lambda event, ctx: None),
        functions={},
        payload=None,
        name=None,
        settings=EngineSettings(),
        waits=True,
        is_quiet=False,
    )
    results = StringIO()

    assert tell(wanted, ARN, outcome, results) == code

    assert results.getvalue() == out
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize(
    ("failures", "is_held", "said"),
    [
        (0, False, "f/run does not run: its process died. It had begun at "),
        (2, False, "f/run does not run: its process died 3 times in a row. It had begun at "),
        (2, True, "f/run runs, since "),
    ],
)
def test_why_counts_the_deaths_of_a_process(failures: int, is_held: bool, said: str) -> None:  # noqa: FBT001 - a parameter of the test
    error_type, message = EXIT_ERROR
    error = ErrorObject(error_type=error_type, error_message=message) if failures else None
    found = why(Standing.RUNNING, failures=failures, last_error=error)

    lines = list(sentences(described(ExecutionStatus.RUNNING), found, NOW, is_held=is_held))

    assert lines[0].startswith(said)
    assert lines[1:] == (["Before that its process died 2 times in a row."] if is_held else [])
