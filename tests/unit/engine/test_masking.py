"""Masked facts: as many, found alike, and nothing of what they carried."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from durably.engine.facts import (
    CallbackStarted,
    ChainedInvokeStarted,
    ContextStarted,
    ContextSucceeded,
    ExecutionPaused,
    ExecutionStarted,
    ExecutionSucceeded,
    Fact,
    StepFailed,
    StepStarted,
    StepSucceeded,
    WaitStarted,
)
from durably.engine.masking import mask_facts
from durably.wire.operation import ErrorObject
from tests.unit.engine.support import ARN

SECRET = "Ada Lovelace, 12 Main Street"


def started(**members: Any) -> ExecutionStarted:
    fact = ExecutionStarted(1, ARN, "f", "$LATEST", "order-7", None, 60, 14)
    return replace(fact, **members)


def masked(value: object) -> Any:
    """Give what a recorded value becomes."""
    [fact] = mask_facts([StepSucceeded(1, "s", json.dumps(value))])
    assert isinstance(fact, StepSucceeded)
    return json.loads(fact.result or "")


def test_what_identifies_an_operation_stays() -> None:
    facts: list[Fact] = [
        started(parent_arn=ARN, ancestors=("g",)),
        StepStarted(1, "s", "p", "charge", "Step"),
        WaitStarted(2, "w", None, "pause", "Wait", 60),
    ]

    assert mask_facts(facts) == facts


def test_payloads_are_replaced() -> None:
    facts = [
        started(input_payload=json.dumps({"name": SECRET})),
        ChainedInvokeStarted(
            1, "i", None, "score", "ChainedInvoke", "f", "1", SECRET, None, "child", None
        ),
        ExecutionSucceeded(2, SECRET),
    ]

    text = repr(mask_facts(facts))

    assert not any(word in text for word in ("Ada", "Lovelace", "Main", "Street"))
    assert "score" in text


def test_who_called_and_with_which_tokens_is_left_out() -> None:
    facts: list[Fact] = [
        started(tenant_id=SECRET, trace_id=SECRET),
        ExecutionPaused(1, 1, SECRET, is_timeout_paused=True, client_token=SECRET),
    ]

    start, paused = mask_facts(facts)

    assert start == started()
    assert isinstance(paused, ExecutionPaused)
    assert paused.client_token is None
    assert paused.reason not in (None, SECRET)


def test_a_callback_cannot_be_answered_by_who_has_the_masked_history() -> None:
    fact = CallbackStarted(1, "op", None, "approval", "Callback", "true id", 0, 0)

    assert mask_facts([fact]) == [replace(fact, callback_id="op")]


def test_an_error_keeps_its_type_and_nothing_else() -> None:
    error = ErrorObject(
        error_type="PaymentRefused",
        error_message=SECRET,
        error_data=json.dumps({"card": SECRET}),
        stack_trace=(SECRET,),
    )

    [fact] = mask_facts([StepFailed(1, "s", error)])

    assert isinstance(fact, StepFailed)
    assert fact.error is not None
    assert fact.error.error_type == "PaymentRefused"
    assert fact.error.error_message not in (None, SECRET)
    assert json.loads(fact.error.error_data or "").keys() == {"card"}
    assert fact.error.stack_trace is None
    assert "Ada" not in repr(fact)


def test_an_error_that_says_nothing_still_says_nothing() -> None:
    fact = StepFailed(1, "s", ErrorObject(error_type="E"))

    assert mask_facts([fact]) == [fact]


def test_a_value_keeps_its_shape_its_types_and_what_is_true_false_or_nothing() -> None:
    value = {"name": SECRET, "tags": ["red", "red", "blue"], "paid": True, "gift": None, "n": 12.5}

    found = masked(value)

    assert found.keys() == value.keys()
    assert (found["paid"], found["gift"]) == (True, None)
    assert found["tags"][0] == found["tags"][1] != found["tags"][2]
    assert type(found["n"]) is float
    assert "Ada" not in json.dumps(found)


def test_what_is_looked_up_by_a_value_is_found_again() -> None:
    found = masked({"prices": {"AB-12": 3, "CD-34": 4}, "item": "CD-34"})

    assert found["item"] in found["prices"]
    assert "CD-34" not in json.dumps(found)


def test_text_that_is_no_json_is_masked_as_text() -> None:
    [fact] = mask_facts([StepSucceeded(1, "s", "yes, Ada")])

    assert fact == StepSucceeded(1, "s", "aaa, Aab")


def test_tags_of_values_stay() -> None:
    value = {"t": "m", "v": {"t": {"t": "s", "v": SECRET}, "v": {"t": "i", "v": 7}}}

    found = masked(value)

    assert found["t"] == "m"
    assert found["v"]["t"]["t"] == "s"
    assert found["v"]["v"]["t"] == "i"
    assert found["v"]["v"]["v"] != 7
    assert "Ada" not in json.dumps([found, masked({"t": "Ada", "v": "Ada"})])


BATCH = {
    "all": [
        {"index": 0, "status": "SUCCEEDED", "result": SECRET},
        {
            "index": 1,
            "status": "FAILED",
            "error": {"ErrorType": "Refused", "ErrorMessage": SECRET, "StackTrace": [SECRET]},
            "name": "ship",
        },
        {"index": 2, "status": "STARTED", "error": None},
    ],
    "completionReason": "FAILURE_TOLERANCE_EXCEEDED",
}


def test_a_batch_keeps_what_became_of_its_items() -> None:
    found = masked(BATCH)

    assert found["completionReason"] == BATCH["completionReason"]
    assert [(item["index"], item["status"]) for item in found["all"]] == [
        (0, "SUCCEEDED"),
        (1, "FAILED"),
        (2, "STARTED"),
    ]
    failed = found["all"][1]
    assert failed["name"] == "ship"
    assert failed["error"].keys() == {"ErrorType", "ErrorMessage"}
    assert failed["error"]["ErrorType"] == "Refused"
    assert "Ada" not in json.dumps(found)


def test_a_summary_of_a_batch_keeps_what_became_of_its_items() -> None:
    summary = {
        "type": "MapResult",
        "totalCount": 2,
        "successCount": 1,
        "failureCount": 1,
        "startedCount": 0,
        "completionReason": "ALL_COMPLETED",
        "status": "FAILED",
        "itemStatuses": "SF",
        "summary": SECRET,
    }

    found = masked(summary)

    assert found.pop("summary") not in (None, SECRET)
    assert found.items() <= summary.items()


@pytest.mark.parametrize(
    "value",
    [
        {"all": "Ada", "completionReason": "ALL_COMPLETED"},
        {"all": ["Ada"], "completionReason": "Ada"},
        {"all": [{"index": 1, "status": "Ada"}], "completionReason": "ALL_COMPLETED"},
        {"all": ["Ada"], "completionReason": ["ALL_COMPLETED"]},
        {"completionReason": "ALL_COMPLETED", "who": "Ada"},
    ],
)
def test_what_only_looks_like_a_batch_is_masked_like_anything(value: object) -> None:
    assert "Ada" not in json.dumps(masked(value))


def test_which_future_a_combinator_has_chosen_stays() -> None:
    facts: list[Fact] = [
        StepStarted(1, "a", None, None, "Step"),
        StepStarted(1, "b", None, None, "Step"),
        ContextStarted(2, "any", None, "any", "RunInChildContext"),
        ContextSucceeded(3, "any", "1", replay_children=False),
    ]

    assert mask_facts(facts)[-1] == facts[-1]


@pytest.mark.parametrize(
    ("inside", "result"), [("child", "1"), (None, "3"), (None, "1234567"), (None, '"x"')]
)
def test_no_other_result_of_a_context_stays(inside: str | None, result: str) -> None:
    facts: list[Fact] = [
        StepStarted(1, "a", None, None, "Step"),
        ContextStarted(2, "child", None, None, "RunInChildContext"),
        StepStarted(1, "b", inside, None, "Step"),
        ContextSucceeded(3, "child", result, replay_children=False),
        ContextSucceeded(3, "other", None, replay_children=False),
    ]

    assert mask_facts(facts)[3] != facts[3]


LETTERS = st.text("ghijklmnop", min_size=8, max_size=12).filter(lambda text: len(set(text)) > 4)
CARRIED = st.recursive(
    LETTERS | st.integers(10**8, 10**12) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LETTERS.map(str.title), inner),
    max_leaves=8,
)


@given(value=CARRIED)
def test_no_value_of_the_original_is_left(value: Any) -> None:
    found = masked(value)
    text = json.dumps(found)

    assert [one for one in _values_in(value) if not one.isdigit() and one in text] == []
    assert all(
        one != other for one, other in zip(_values_in(value), _values_in(found), strict=True)
    )


def _values_in(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return [found for item in items for found in _values_in(item)]
    return [] if value is None or isinstance(value, bool) else [str(value)]
