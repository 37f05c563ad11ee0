"""The file form of facts: everything comes back, and what cannot be read is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

import pytest

from durably.engine.facts import (
    CallbackStarted,
    ExecutionStarted,
    ExecutionStopped,
    Fact,
    InvocationCompleted,
    Silent,
    StepStarted,
    StepSucceeded,
    Visible,
)
from durably.engine.portable import FORMAT_VERSION, read_history, write_history
from durably.errors import ValidationError
from durably.wire.operation import ErrorObject
from tests.unit.engine.support import ARN

STARTED = ExecutionStarted(1_750_000_000_000_001, ARN, "f", "$LATEST", "order-7", "{}", 60, 14)
FACTS: tuple[Fact, ...] = (
    STARTED,
    StepStarted(1_750_000_000_000_002, "s", None, "charge", "Step"),
    StepSucceeded(1_750_000_000_000_003, "s", '"\u2028 and \\" and \n"'),
    CallbackStarted(1_750_000_000_000_004, "c", None, None, None, "cb", 0, 0),
    InvocationCompleted(
        1_750_000_000_000_005, 1_750_000_000_000_000, "r", None, is_counted=False, seen=3
    ),
    ExecutionStopped(1_750_000_000_000_006, ErrorObject(error_type="E", stack_trace=("a", "b"))),
)


def text_of(*facts: Fact) -> str:
    return write_history(facts or FACTS, is_masked=False)


def changed(number: int, change: Callable[[dict[str, Any]], object]) -> str:
    """Give the text of FACTS with one line changed, counted from 1."""
    lines = text_of().split("\n")
    members = json.loads(lines[number - 1])
    change(members)
    lines[number - 1] = json.dumps(members)
    return "\n".join(lines)


def test_everything_that_is_written_is_read() -> None:
    assert read_history(text_of()) == (FACTS, False)
    assert read_history(write_history(FACTS, is_masked=True)) == (FACTS, True)


def test_a_fact_is_a_line_of_its_own_that_people_can_read() -> None:
    lines = text_of().split("\n")

    assert len(lines) == 1 + len(FACTS) + 1
    assert json.loads(lines[0]) == {
        "format": "durably-history",
        "version": FORMAT_VERSION,
        "masked": False,
        "facts": len(FACTS),
    }
    assert json.loads(lines[2]) == {
        "fact": "StepStarted",
        "at": "2025-06-15T15:06:40.000002Z",
        "id": "s",
        "name": "charge",
        "sub_type": "Step",
    }


def test_every_kind_of_fact_has_its_name_in_the_file() -> None:
    kinds = (*get_args(Visible), *get_args(Silent))

    assert len({kind.__name__ for kind in kinds}) == len(kinds)


def test_ends_of_lines_and_blank_lines_do_not_matter() -> None:
    assert read_history(text_of().replace("\n", "\r\n") + "\n\n") == (FACTS, False)


def test_a_member_that_is_left_out_has_its_default() -> None:
    text = changed(2, lambda members: members.pop("ancestors"))

    assert read_history(text)[0] == FACTS


REFUSED: dict[str, tuple[str, str]] = {
    "nothing": ("", "line 1 is not the head of a history"),
    "another file": ('{"format": "other"}', "line 1 is not the head of a history"),
    "no JSON": ("{", "line 1 is not JSON"),
    "no object": ("[]", "line 1 is no JSON object"),
    "a later version": (
        changed(1, lambda head: head.update(version=99)),
        "line 1 says version 99: this durably reads version 1",
    ),
    "a lost line": (
        text_of().rsplit("\n", 2)[0],
        "is not whole: there are 5 facts, and its head says 6",
    ),
    "an unknown fact": (
        changed(3, lambda fact: fact.update(fact="StepForgotten")),
        "line 3 has no fact that this durably knows: 'StepForgotten'",
    ),
    "an unknown member": (
        changed(3, lambda fact: fact.update(colour="red")),
        "line 3 StepStarted has no member 'colour'",
    ),
    "a missing member": (
        changed(3, lambda fact: fact.pop("id")),
        "line 3 is not StepStarted as it should be: Expected `str`, got `null`",
    ),
    "no instant": (
        changed(3, lambda fact: fact.update(at="yesterday")),
        "line 3 is not StepStarted as it should be: Invalid isoformat string: 'yesterday'",
    ),
    "an instant of no zone": (
        changed(3, lambda fact: fact.update(at="2025-06-15T15:06:40")),
        "line 3 is not StepStarted as it should be",
    ),
    "no start": (text_of(*FACTS[1:]), "must begin with ExecutionStarted"),
    "no facts": (write_history((), is_masked=False), "must begin with ExecutionStarted"),
    "an end without a beginning": (
        text_of(STARTED, FACTS[2]),
        "has facts that do not follow: KeyError: 's'",
    ),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_history_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        read_history(text)

    assert refusal.value.field == "history"
    assert said in refusal.value.message
