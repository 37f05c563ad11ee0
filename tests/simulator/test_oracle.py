"""The oracle by hand, and against a real engine: what it foresees, follows, generates and edits."""

import asyncio
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import msgspec
import pytest

from durably import Engine
from tests.simulator.edits import edit
from tests.simulator.embedded import EmbeddedRun
from tests.simulator.generator import generate
from tests.simulator.invariants import violations
from tests.simulator.model import wire_id
from tests.simulator.observed import Observed
from tests.simulator.oracle import Foreseen, follow, foresee, patience
from tests.simulator.outcomes import ANY, Tally, agrees, reason_to_stop
from tests.simulator.programs import (
    Again,
    Answer,
    Ask,
    Block,
    Callback,
    Child,
    Combine,
    Completion,
    Condition,
    Fan,
    Guard,
    Invoke,
    Node,
    Program,
    Raise,
    Scenario,
    Start,
    Step,
    Together,
    Values,
    Wait,
)
from tests.simulator.stories import BODY, SCENARIO, Story, good
from tests.simulator.values import STEP_BYTES, Payload, decoded, shown
from tests.simulator.walks import mapped, node_at, nodes_of

OK, BAD = Step(name="ok"), Step(name="bad", failures=1)
NEVER = Callback(name="never")
TIGHT = Completion(tolerated_count=0)


def scenario(*body: Node, **more: Any) -> Scenario:
    programs = (
        Program(name="p0", body=body),
        Program(name="p1", body=(OK,)),
        Program(name="p2", body=(BAD,)),
    )
    return Scenario(seed=0, programs=programs, starts=(Start(name="run"),), **more)


def drawn(seed: int, size: int) -> Scenario:
    return generate(Random(seed), size)


def foreseen(*body: Node) -> Foreseen:
    one = scenario(*body)
    return foresee(one, one.starts[0])


def raised(what: str, of: Any, says: Any) -> dict[str, Any]:
    return {"raised": what, "of": of, "says": says}


# What the protocol says


@pytest.mark.parametrize(
    ("step_id", "expected"),
    [("1", "c4ca4238a0b92382"), ("1-2", "98c6f2c2287f4c73"), ("1-2-3", "453e406dcee4d181")],
)
def test_ids_are_those_of_the_protocol(step_id: str, expected: str) -> None:
    assert wire_id(step_id) == expected


@pytest.mark.parametrize(
    ("rule", "tally", "reason"),
    [
        (Completion(), Tally(1, 0, 3), None),
        (Completion(), Tally(1, 1, 3), "FAILURE_TOLERANCE_EXCEEDED"),
        (Completion(), Tally(3, 0, 3), "ALL_COMPLETED"),
        (Completion(), Tally(0, 0, 0), "ALL_COMPLETED"),
        (Completion(min_successful=2), Tally(1, 1, 3), None),
        (Completion(min_successful=2), Tally(2, 0, 3), "MIN_SUCCESSFUL_REACHED"),
        (Completion(min_successful=2), Tally(2, 1, 3), "ALL_COMPLETED"),
        (Completion(tolerated_count=1), Tally(0, 1, 3), None),
        (Completion(tolerated_count=1), Tally(1, 2, 3), "FAILURE_TOLERANCE_EXCEEDED"),
        (Completion(tolerated_percentage=50), Tally(0, 2, 4), None),
        (Completion(tolerated_percentage=50), Tally(0, 3, 4), "FAILURE_TOLERANCE_EXCEEDED"),
        (Completion(min_successful=1, tolerated_count=0), Tally(1, 1, 3),
         "FAILURE_TOLERANCE_EXCEEDED"),
        (Completion(quorum=(2, 1)), Tally(1, 0, 3), None),
        (Completion(quorum=(2, 1)), Tally(2, 1, 3), "CUSTOM_COMPLETION_SUCCEEDED"),
        (Completion(quorum=(2, 1)), Tally(1, 1, 3), "CUSTOM_COMPLETION_FAILED"),
        (Completion(quorum=(2, 2)), Tally(1, 0, 1), "ALL_COMPLETED"),
    ],
)  # fmt: skip
def test_a_batch_stops_as_its_rule_says(rule: Completion, tally: Tally, reason: str | None) -> None:
    assert reason_to_stop(rule, tally) == reason


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"t":"d","v":"1.50"}', {"Decimal": "1.50"}),
        ('[{"t":"d","v":"1.50"}]', [{"t": "d", "v": "1.50"}]),
        ('{"t":"t","v":[{"t":"i","v":1},{"t":"n","v":null}]}', {"tuple": [1, None]}),
        ('{"t":"m","v":{"t":{"t":"s","v":"x"},"v":{"t":"b","v":true}}}', {"t": "x", "v": True}),
        ('{"t":"B","v":"AP8="}', {"bytes": "00ff"}),
    ],
)
def test_recorded_texts_are_read_as_documented(text: str, value: Any) -> None:
    assert shown(decoded(text)) == value


def test_what_agrees_is_alike_down_to_types() -> None:
    assert agrees([1, {"a": ANY}], [1, {"a": "whatever"}])
    assert not agrees([1], [True])
    assert not agrees([1], [1, 2])
    assert not agrees({"a": 1}, {"b": 1})


# What is foreseen


@pytest.mark.parametrize(
    ("node", "value"),
    [
        (OK, "text 0"),
        (Step(name=None, gives=Payload("tuple"), failures=2, attempts=3),
         {"tuple": [1, {"tuple": ["a", None]}, [2]]}),
        (Step(name=None, marked=True), {"read": "text 0"}),
        (Child(name=None, body=(OK,), marked=True), {"read": ["text 0"]}),
        (Wait(name=None, seconds=9), None),
        (Condition(name=None, checks=3), 3),
        (Ask(name=None, answers=(Answer("succeed", 1, "x"), Answer("fail", 2))), "x"),
        (Callback(name=None, answers=(Answer("succeed", 0, "x"),), between=(OK,)),
         [["text 0"], "x"]),
        (Invoke(name=None, program=1), ["text 0"]),
        (Child(name=None, body=(OK,), gives=Payload("number", 2)), [["text 0"], 11]),
        (Fan(name=None, kind="map", branches=((OK,), ())),
         {"reason": "ALL_COMPLETED",
          "items": [[0, "SUCCEEDED", ["text 0"]], [1, "SUCCEEDED", []]]}),
        (Fan(name=None, kind="map", branches=((Raise("x"),), (OK,)), limit=1),
         {"reason": "FAILURE_TOLERANCE_EXCEEDED",
          "items": [[0, "FAILED", raised("ChildContextError", "ValueError", "x")]]}),
        (Combine(name=None, kind="all", parts=(OK, OK)), ["text 0", "text 0"]),
        (Combine(name=None, kind="any", parts=(BAD, OK)), "text 0"),
        (Combine(name=None, kind="all_settled", parts=(OK, BAD)),
         [["fulfilled", "text 0"],
          ["rejected", raised("StepError", "BoomError", "0.1 attempt 1")]]),
        (Together(name=None, parts=(BAD, OK)),
         [raised("StepError", "BoomError", "0.0 attempt 1"), "text 0"]),
        (Again(name=None, body=(OK,), failures=2, attempts=3), ["text 0"]),
        (Guard(body=(OK, BAD, OK), rescue=(OK,), lastly=OK),
         ["caught", raised("StepError", "BoomError", "0.0.1 attempt 1"), ["text 0"]]),
        (Guard(body=(OK,), lastly=OK), ["fine", ["text 0"]]),
    ],
)  # fmt: skip
def test_a_node_comes_to_one_value_without_faults(node: Node, value: Any) -> None:
    found = foreseen(node)

    assert found.statuses == {"SUCCEEDED"}
    assert agrees([value], found.result)


@pytest.mark.parametrize(
    ("node", "error"),
    [
        (BAD, ("StepError", "0 attempt 1")),
        (Step(name=None, fatal=True, attempts=9), ("StepError", "0 attempt 1")),
        (Step(name=None, gives=Payload("nan")), ("StepError", ANY)),
        (Step(name=None, gives=Payload("large", STEP_BYTES + 1)), ("StepError", ANY)),
        (Condition(name=None, checks=3, limit=2), ("WaitForConditionError", "2 checks")),
        (Condition(name=None, checks=3, broken_at=1), ("WaitForConditionError", "0 attempt 1")),
        (Ask(name=None, failures=1), ("CallbackSubmitterError", "0 attempt 1")),
        (Ask(name=None, answers=(Answer("fail", 1, "x"),)), ("CallbackExternalError", "x")),
        (Callback(name=None, timeout=3), ("CallbackTimeoutError", "Callback timed out")),
        (Callback(name=None, timeout=3, heartbeat=2, answers=(Answer("heartbeat", 0.4),)),
         ("CallbackTimeoutError", "Callback timed out on heartbeat")),
        (Invoke(name=None, program=2), ("InvokeError", "0 attempt 1")),
        (Invoke(name=None, program=None), ("InvokeError", ANY)),
        (Child(name=None, body=(BAD,)), ("ChildContextError", "0.0 attempt 1")),
        (Child(name=None, body=(), gives=Payload("cycle")), ("ChildContextError", ANY)),
        (Fan(name=None, kind="map", branches=((BAD,),), throws=True),
         ("ChildContextError", "0.0.0 attempt 1")),
        (Fan(name=None, kind="map", branches=((OK,),), flat=True, gives=Payload("nan")),
         ("ChildContextError", ANY)),
        (Combine(name=None, kind="all", parts=(BAD, OK)),
         ("PromiseCombinatorError", "0.0 attempt 1")),
        (Again(name=None, body=(OK,), failures=1), ("ChildContextError", "0 round 1")),
        (Again(name=None, body=(BAD,), wrapped=False), ("StepError", "0.1.0 attempt 1")),
        (Guard(body=(OK,), lastly=BAD), ("StepError", "0.2 attempt 1")),
        (Raise("x"), ("ValueError", "x")),
    ],
)  # fmt: skip
def test_a_node_raises_one_error_without_faults(node: Node, error: tuple[str, Any]) -> None:
    found = foreseen(node)

    assert found.statuses == {"FAILED"}
    assert found.error is not None
    assert agrees(list(error), list(found.error))


@pytest.mark.parametrize(
    "node",
    [
        Combine(name=None, kind="race", parts=(OK, OK)),
        Fan(name=None, kind="map", branches=((OK,), (BAD,)), completion=TIGHT),
        Fan(
            name=None, kind="map", branches=((OK,), (OK,)), completion=Completion(min_successful=1)
        ),
        Callback(name=None, timeout=2, answers=(Answer("succeed", 2.1),)),
    ],
)
def test_what_chance_decides_is_left_free(node: Node) -> None:
    assert foreseen(node).is_free


def test_faults_leave_more_free() -> None:
    once = scenario(Step(name="once", once=True))
    late = scenario(Callback(name="late", timeout=5, answers=(Answer("succeed", 1),)))

    for one in (once, late):
        assert not foresee(one, one.starts[0]).is_free
        assert foresee(one, one.starts[0], with_faults=True).is_free


def test_what_nobody_answers_stays_open() -> None:
    assert foreseen(OK, NEVER, BAD).statuses == {"RUNNING"}


# What is followed


def followed(events: Any, body: Block = BODY) -> Any:
    observed = good()
    programs = (replace(SCENARIO.programs[0], body=body), SCENARIO.programs[1])
    entries = observed.entries_of[observed.executions[0].arn]
    return follow(programs, programs[0], events, entries)


def test_every_prefix_of_a_history_fits_its_program() -> None:
    events = good().executions[0].events

    ends = [followed(events[:length]) for length in range(len(events) + 1)]

    assert [one.problems for one in ends] == [[]] * len(ends)
    assert [one.status for one in ends[-3:]] == ["SUCCEEDED"] * 3
    assert ends[1].waits == {wire_id("1"): "step"}


@pytest.mark.parametrize(
    "body",
    [
        BODY[1:],
        (BODY[1], BODY[0], *BODY[2:]),
        (replace(BODY[0], name="renamed"), *BODY[1:]),
        (Child(name="a", body=()), *BODY[1:]),
    ],
)
def test_the_history_of_another_program_diverges(body: Block) -> None:
    assert followed(good().executions[0].events, body).status == "DIVERGED"


@pytest.mark.parametrize(
    "body",
    [
        (Step(name="a", failures=1, attempts=2, gives=Payload("null")), *BODY[1:]),
        (Step(name="a", failures=2, attempts=3), *BODY[1:]),
        (Step(name="a", failures=1, attempts=2, delay=9), *BODY[1:]),
        (*BODY[:2], Wait(name="w", seconds=6), *BODY[3:]),
        (*BODY[:3], Callback(name="cb", answers=(Answer("succeed", 1, "no"),)), *BODY[4:]),
        (*BODY[:5], Invoke(name="inv", program=None), *BODY[6:]),
        BODY[:5],
    ],
)
def test_what_a_program_does_not_plan_is_a_problem(body: Block) -> None:
    assert followed(good().executions[0].events, body).problems


def test_what_was_cut_off_counts_as_a_failed_attempt_of_an_at_most_once_step_only() -> None:
    for once, problems in ((True, 0), (False, 1)):
        story = Story("p0", "run")
        story.begin()
        story.checkpoint(story.step("1", "s", "START"))
        interrupted = story.step("1", "s", "FAIL", "cut off")
        error = msgspec.structs.replace(interrupted.error, error_type="StepInterruptedError")
        story.checkpoint(msgspec.structs.replace(interrupted, error=error))
        program = Program(name="p0", body=(Step(name="s", once=once),))

        end = follow([program], program, story.events, story.entries)

        assert end.status == "FAILED"
        assert (end.interrupted, len(end.problems)) == (int(once), problems)


def test_a_context_that_is_over_is_not_entered_by_changed_code() -> None:
    story = Story("p0", "run")
    story.begin()
    story.checkpoint(
        story.update("CONTEXT", "START", "1", name="c", sub_type="RunInChildContext"),
        story.step("1-1", "old", "START"),
        story.step("1-1", "old", "SUCCEED", '"text 0"'),
        story.update("CONTEXT", "SUCCEED", "1", payload='["text 0"]'),
    )
    changed = Program(name="p0", body=(Child(name="c", body=(Step(name="new"), OK)),))

    believed = follow([changed], changed, story.events, (), trusts=True)

    assert (believed.status, believed.result) == ("SUCCEEDED", [["text 0"]])
    assert follow([changed], changed, story.events, ()).status == "DIVERGED"


def test_what_other_code_saw_at_a_place_are_not_the_values_taken_there() -> None:
    story = Story("p0", "run")
    story.begin()
    story.note((0,), "saw", ["caught", {"raised": "StepError"}, []])
    changed = Program(name="p0", body=(Values(),))

    end = follow([changed], changed, story.events, story.entries)

    assert (end.status, end.problems) == ("SUCCEEDED", [])


# What is generated


def test_a_seed_is_a_scenario() -> None:
    assert drawn(7, 20) == drawn(7, 20)
    assert drawn(7, 20) != drawn(8, 20)


def test_every_operation_occurs_and_every_node_can_be_found_by_its_path() -> None:
    seen: Counter[str] = Counter()
    for seed in range(200):
        one = drawn(seed, 12)
        assert 0 < patience(one) < 10**6
        for program in one.programs:
            seen.update(type(node).__name__ for node in nodes_of(program.body))
            assert node_at(program.body, (0,)) == program.body[0]

    assert len(seen) == 14
    assert min(seen.values()) > 20


def test_an_edit_makes_another_program_and_says_how() -> None:
    words: Counter[str] = Counter()
    for seed in range(200):
        program = drawn(seed, 10).programs[0]
        deploy = edit(program, Random(seed))
        words.update(text.partition(" ")[0] for text in deploy.edits)
        assert deploy.program.name == program.name

    assert words.keys() == {"rename", "insert", "remove", "swap"}


# Against a real engine


def hurried(one: Scenario) -> Scenario:
    """Make everything that takes time short, in the same order as far as there is one."""
    programs = tuple(replace(each, body=mapped(each.body, _hurry)) for each in one.programs)
    starts = tuple(replace(each, at=each.at / 10, timeout=None) for each in one.starts)
    return replace(one, programs=programs, starts=starts, actions=(), deploys=())


def _hurry(node: Node) -> Node:
    match node:
        case Step():
            fewer = min(node.failures, 1)
            attempts = fewer if node.attempts == node.failures else max(fewer + 1, 2)
            node = replace(node, failures=fewer, attempts=attempts, delay=1, pause=0)
        case Wait():
            node = replace(node, seconds=1)
        case Condition():
            node = replace(node, checks=min(node.checks, 2))
        case Again():
            node = replace(node, failures=min(node.failures, 1), attempts=2)
        case Callback() | Ask():
            node = _hurry_answers(node)
    return node


def _hurry_answers(node: Callback | Ask) -> Node:
    """Let answers come at once and have no deadline to race with, or come too late, or never."""
    if node.timeout and all(one.after > node.timeout for one in node.answers):
        late = tuple(replace(one, after=2) for one in node.answers)
        return replace(node, timeout=1, heartbeat=0, answers=late)
    last = [one for one in node.answers if one.kind != "heartbeat"][:2]
    answers = (*(replace(one, after=0) for one in last), Answer("succeed", 0.1, "at last"))
    return replace(node, timeout=0, heartbeat=0, answers=answers)


async def played(seed: int) -> Observed:
    run = EmbeddedRun(hurried(drawn(seed, 7)))
    async with Engine("memory:", functions=run.functions) as engine:
        return await run.play(engine, 30)


@pytest.mark.timeout(60)
async def test_an_engine_agrees_with_the_oracle_on_scenarios_without_faults() -> None:
    observed = await asyncio.gather(*(played(seed) for seed in range(24)))

    assert [one for one in map(violations, observed) if one] == []
    statuses = Counter(seen.status for one in observed for seen in one.executions)
    assert statuses["SUCCEEDED"] > 20
    assert statuses["FAILED"] > 0
