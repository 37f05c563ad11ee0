"""What `durably run` shows, as text."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import msgspec
import pytest
from rich.console import Console, RenderableType

from durably.cli import progress
from durably.cli.news import News
from durably.cli.overview import overview_of
from durably.cli.progress import (
    PlainProgress,
    SilentProgress,
    bars,
    headline,
    rows_of,
    summary_of,
)
from durably.cli.watching import Child, Sight
from durably.engine.views import Standing, Why
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import ErrorObject, Operation, OperationStatus, OperationType
from tests.unit.cli.records import (
    ARN,
    CALLBACK,
    CONTEXT,
    DONE,
    FAILED,
    INVOKE,
    NOW,
    RETRY,
    ROOT,
    STEP,
    WAIT,
    at,
    operation,
    why,
)


def sight(
    *operations: Operation,
    said: Why | None = None,
    counts: dict[str, Counter[ExecutionStatus]] | None = None,
    children: tuple[Child, ...] = (),
) -> Sight:
    return Sight(
        why=said or why(Standing.RUNNING),
        operations=operations,
        overview=overview_of(operations),
        counts=counts or {},
        children=children,
    )


CHILDREN = {
    "fulfil": Counter(
        {ExecutionStatus.SUCCEEDED: 5, ExecutionStatus.FAILED: 1, ExecutionStatus.RUNNING: 4}
    )
}


def drawn(renderable: RenderableType) -> str:
    out = StringIO()
    Console(file=out, width=120, color_system=None).print(renderable)
    return out.getvalue()


# The picture


def test_the_headline_says_what_runs_and_for_how_long() -> None:
    head = headline(sight(STEP), "f/run\x1b", timedelta(seconds=75), NOW)

    assert head.plain == r"f/run\x1b  1 min 15 s"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (why(Standing.WAITING), "asleep until"),
        (why(Standing.PAUSED), "paused until it is resumed"),
        (why(Standing.PARKED, parked_reason="10 in a row"), "parked: 10 in a row"),
        (
            why(
                Standing.RETRYING,
                failures=3,
                last_error=ErrorObject(error_type="KeyError", error_message="x\x1b"),
            ),
            r"3 invocations failed in a row: KeyError: x\x1b; the next one comes at",
        ),
    ],
)
def test_the_headline_says_what_keeps_it(said: Why, shown: str) -> None:
    assert shown in headline(sight(WAIT, said=said), "f/run", timedelta(0), NOW).plain


def test_bars_show_how_much_is_done_of_what_is_known() -> None:
    text = drawn(bars(sight(ROOT, DONE, FAILED, STEP, WAIT, counts=CHILDREN)))

    assert "operations" in text
    assert "2 done · 1 failed · 1 running · 1 waiting" in text
    assert "fulfil" in text
    assert "6 of 10 · 1 failed" in text


def test_rows_say_what_each_operation_does() -> None:
    text = drawn(rows_of(sight(ROOT, CONTEXT, CALLBACK, STEP, RETRY, WAIT, INVOKE), NOW, 9))

    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines == [
        "● charge step running, 2.0 s",
        "◷ label step attempt 2 in 3.0 s",
        "◷ cooling wait goes on in 5.0 s",
        "◌ approval callback waits for an answer, 2.0 s",
        "◌ score invoke waits for its end, 2.0 s",
    ]


def test_what_children_do_stands_in_the_place_of_their_invokes() -> None:
    child = Child(ARN, "orders > A7", overview_of([RETRY]))

    text = drawn(rows_of(sight(ROOT, INVOKE, counts=CHILDREN, children=(child,)), NOW, 9))

    assert "orders > A7 → label" in text
    assert "score" not in text
    assert "… and 3 more" in text


def test_no_more_rows_are_drawn_than_there_is_room_for() -> None:
    steps = [operation(f"step {number}", sub_type="Step") for number in range(7)]

    text = drawn(rows_of(sight(*steps), NOW, 3))

    assert text.count("●") == 3
    assert "… and 4 more" in text


# Lines


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    out = StringIO()
    console = Console(file=out, width=400, color_system=None)
    monkeypatch.setattr(progress, "console", lambda to_stderr: console)
    return lambda: out.getvalue().splitlines()


def test_each_change_is_a_line(lines: Callable[[], list[str]]) -> None:
    plain = PlainProgress("f/run", at(-60))

    plain.show(sight(ROOT, DONE, STEP, RETRY, WAIT, CALLBACK, INVOKE), NOW)
    plain.show(sight(ROOT, DONE, STEP, RETRY, WAIT, CALLBACK, INVOKE), NOW)

    told = lines()
    assert told[0] == "f/run price (step) succeeded in 1.0 s, attempt 2"
    assert told[1].startswith("f/run label (step) attempt 1: not yet; attempt 2 comes at ")
    assert told[2].startswith("f/run cooling (wait) waits until ")
    assert told[3] == "f/run approval (callback) waits for an answer to cb-1"
    assert told[4] == "f/run score (invoke) waits"
    assert len(told) == 5


def test_what_was_over_before_is_no_news(lines: Callable[[], list[str]]) -> None:
    PlainProgress("f/run", NOW).show(sight(ROOT, DONE), NOW)

    assert lines() == []


def ended(name: str, seconds: float, **members: Any) -> Operation:
    status = OperationStatus.SUCCEEDED
    return operation(name, status=status, sub_type="Step", end_timestamp=at(seconds), **members)


def test_what_has_ended_is_told_in_the_order_in_which_it_ended(
    lines: Callable[[], list[str]],
) -> None:
    around = operation(
        "around",
        OperationType.CONTEXT,
        OperationStatus.SUCCEEDED,
        sub_type="Map",
        end_timestamp=at(-0.5),
    )
    plain = PlainProgress("f/run", at(-60))

    plain.show(sight(around, ended("inner", -0.5, parent_id="around"), ended("first", -1)), NOW)

    names = [line.removeprefix("f/run ").partition(" (")[0] for line in lines()]
    assert names == ["first", "around > inner", "around"]


def test_what_ended_last_is_told_when_all_is_over(lines: Callable[[], list[str]]) -> None:
    plain = PlainProgress("f/run", at(-60))

    plain.show(sight(STEP), NOW)
    plain.finish(sight(ended("charge", 0)), NOW)

    assert lines() == ["f/run charge (step) succeeded in 2.0 s"]


@pytest.mark.parametrize("seconds", [0.5, 1.0])
def test_more_than_twenty_changes_in_a_second_are_counted(
    lines: Callable[[], list[str]], seconds: float
) -> None:
    done = [ended(f"step {number}", number / 1000) for number in range(50)]
    plain = PlainProgress("f/run", at(-60))

    plain.show(sight(*done[:25]), NOW)
    plain.show(sight(*done), at(seconds))
    plain.finish(sight(*done), at(seconds))

    told = [line.removeprefix("f/run ").partition(" (")[0] for line in lines()]
    first = [f"step {number}" for number in range(20)]
    if seconds < 1:
        assert told == [*first, "+ 30 more"]
    else:
        assert told == [*first, "+ 5 more", *[f"step {n}" for n in range(25, 45)], "+ 5 more"]


def test_above_a_picture_stands_what_has_ended_and_who_is_asked() -> None:
    news = News(at(-60), has_picture=True)

    told = list(news.lines(sight(ROOT, CONTEXT, DONE, STEP, RETRY, WAIT, CALLBACK, INVOKE), NOW))

    assert told == [
        "price (step) succeeded in 1.0 s, attempt 2",
        "approval (callback) waits for an answer to cb-1",
    ]


def test_how_far_the_invoked_ones_are_is_summed_up_now_and_then(
    lines: Callable[[], list[str]],
) -> None:
    plain = PlainProgress("f/run", NOW)

    for second in range(5):
        done = [operation(f"{second} {number}", status=DONE.status) for number in range(20)]
        over = [msgspec.structs.replace(one, end_timestamp=at(-1)) for one in done]
        plain.show(sight(*over, STEP, counts=CHILDREN), at(second))

    said = "f/run 20 operations done, 1 running; fulfil: 6 of 10 ended, 1 of them badly"
    assert lines() == [said]


def test_what_keeps_it_is_said_once(lines: Callable[[], list[str]]) -> None:
    plain = PlainProgress("f/run", NOW)

    for _ in range(3):
        plain.show(sight(said=why(Standing.PAUSED)), NOW)
    plain.close()

    assert lines() == ["f/run paused until it is resumed"]


def test_a_summary_without_children_is_short() -> None:
    assert list(summary_of(sight(DONE))) == ["1 operation done"]


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    silent = SilentProgress()

    silent.say("x")
    silent.show(sight(STEP), NOW)
    silent.close()

    assert capsys.readouterr() == ("", "")
