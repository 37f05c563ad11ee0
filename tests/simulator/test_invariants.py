"""Each invariant takes a run in which all is well, and refuses one in which it was broken."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from durably.wire.base import Timestamp
from durably.wire.history import Event, EventError
from durably.wire.operation import ErrorObject
from tests.simulator.faults import WRONG_ANSWER
from tests.simulator.invariants import INVARIANTS, violations
from tests.simulator.ledger import Entry
from tests.simulator.model import wire_id
from tests.simulator.observed import (
    Acted,
    Claimed,
    Fault,
    Hook,
    Observed,
    Read,
    Reply,
    Round,
    Started,
)
from tests.simulator.programs import Action, Deploy, Program, Scenario, Start, Step
from tests.simulator.stories import BODY, SCENARIO, Story, good, renumbered
from tests.simulator.values import STEP_BYTES

LATE = 10**6
DIVERGED = ("NonDeterministicExecutionError", "the code asks for another operation")
BAD_TOKEN = "Invalid checkpoint token: it is an old one."
Change = Callable[[Observed], Observed]


def with_seen(observed: Observed, **changes: Any) -> Observed:
    """Change what is seen of the first execution."""
    first, *others = observed.executions
    return replace(observed, executions=(replace(first, **changes), *others))


def with_events(observed: Observed, change: Callable[[list[Event]], list[Event]]) -> Observed:
    """Change the history of the first execution, as it is read in the end."""
    reads = observed.executions[0].reads
    events = renumbered(change(list(reads[-1].events or ())))
    return with_seen(observed, reads=(Read(reads[-1].tick, events),))


def without(*kinds: str, of: str) -> Change:
    """Take events of an operation out of the history."""
    return lambda observed: with_events(
        observed,
        lambda events: [
            one for one in events if one.event_type not in kinds or one.id != wire_id(of)
        ],
    )


def at(observed: Observed, kind: str, of: str) -> int:
    """Find the first event of a kind of an operation."""
    return next(
        place
        for place, one in enumerate(observed.executions[0].events)
        if one.event_type == kind and one.id == wire_id(of)
    )


def with_last_event(observed: Observed, kind: str, of: str) -> Observed:
    """Repeat an event at the end of the history."""
    again = observed.executions[0].events[at(observed, kind, of)]
    return with_events(observed, lambda events: [*events, again])


def with_changed_event(observed: Observed, kind: str, of: str, **changes: Any) -> Observed:
    """Change an event."""
    place = at(observed, kind, of)

    def change(events: list[Event]) -> list[Event]:
        events[place] = msgspec.structs.replace(events[place], **changes)
        return events

    return with_events(observed, change)


def entries_with(observed: Observed, *more: Entry) -> Observed:
    return replace(observed, entries=(*observed.entries, *more))


def found(observed: Observed, phase: str, path: tuple[int, ...], attempt: int = 0) -> Entry:
    """Find the last entry of a phase at a path, in the first execution."""
    return next(
        one
        for one in reversed(observed.entries)
        if (one.phase, one.path, one.attempt) == (phase, path, attempt)
        and one.execution == observed.executions[0].arn
    )


def with_changed_entry(observed: Observed, entry: Entry, **changes: Any) -> Observed:
    entries = [replace(one, **changes) if one is entry else one for one in observed.entries]
    return replace(observed, entries=tuple(entries))


def with_write(observed: Observed, number: int, **changes: Any) -> Observed:
    writes = list(observed.writes)
    writes[number] = replace(writes[number], **changes)
    return replace(observed, writes=tuple(writes))


def with_invocation(observed: Observed, number: int, **changes: Any) -> Observed:
    invocations = list(observed.invocations)
    invocations[number] = replace(invocations[number], **changes)
    return replace(observed, invocations=tuple(invocations))


def entered_late(observed: Observed) -> Observed:
    body = found(observed, "enter", (0,), 2)
    began = replace(found(observed, "begin", ()), tick=LATE, invocation=99)
    return entries_with(observed, began, replace(body, tick=LATE + 1, invocation=99))


def entered_twice(path: tuple[int, ...], attempt: int) -> Change:
    def change(observed: Observed) -> Observed:
        body = found(observed, "enter", path, attempt)
        return entries_with(observed, replace(body, tick=body.tick + 1))

    return change


def started_late(observed: Observed) -> Observed:
    number = next(
        place
        for place, one in enumerate(observed.writes)
        if any(update.name == "b" and update.action == "START" for update in one.updates)
    )
    return with_write(observed, number, done=LATE)


def half_lost(observed: Observed) -> Observed:
    number = next(
        place
        for place, one in enumerate(observed.writes)
        if any(update.name == "w" for update in one.updates)
    )
    observed = with_write(observed, number, acknowledged=False, accepted=None)
    return without("WaitStarted", "WaitSucceeded", of="3")(observed)


def rewritten(observed: Observed) -> Observed:
    first = observed.executions[0]
    events = list(first.reads[-1].events or ())
    events[1] = msgspec.structs.replace(events[1], name="another")
    read = Read(LATE, tuple(events))
    return with_seen(observed, reads=(*first.reads, read))


def renumbered_wrongly(observed: Observed) -> Observed:
    first = observed.executions[0]
    events = (first.reads[-1].events or ())[1:]
    return with_seen(observed, reads=(Read(LATE, events),))


def together(observed: Observed) -> Observed:
    """Let both items of the map, one of which may be open at once, be open at once."""
    opened = at(observed, "ContextStarted", "5-2")
    closed = at(observed, "ContextSucceeded", "5-1")

    def change(events: list[Event]) -> list[Event]:
        events[closed], events[opened] = events[opened], events[closed]
        return events

    return with_events(observed, change)


def running_together(observed: Observed) -> Observed:
    left = found(observed, "exit", (4, 0))
    entered = found(observed, "enter", (4, 1))
    entries = list(observed.entries)
    first, second = entries.index(left), entries.index(entered)
    entries[first], entries[second] = entered, left
    return replace(observed, entries=tuple(entries))


def woken_early(observed: Observed) -> Observed:
    event = observed.executions[0].events[at(observed, "WaitSucceeded", "3")]
    early = Timestamp.of(event.event_timestamp - timedelta(seconds=1))
    return with_changed_event(observed, "WaitSucceeded", "3", event_timestamp=early)


def answered(text: str, refusal: str | None) -> Change:
    reply = Reply(
        callback_id="callback 4", kind="succeed", sent=1, done=2, refusal=refusal, text=text
    )
    return lambda observed: replace(observed, replies=(*observed.replies, reply))


def refused_while_open(observed: Observed) -> Observed:
    observed = without("CallbackSucceeded", of="4")(with_seen(observed, status="RUNNING"))
    reply = replace(observed.replies[0], refusal="CallbackTimeoutException")
    return replace(observed, replies=(reply,))


def with_second_child(observed: Observed) -> Observed:
    child = replace(observed.executions[1], arn="arn:p1:another")
    return replace(observed, executions=(*observed.executions, child))


def with_other_child(observed: Observed) -> Observed:
    first, child = observed.executions
    return replace(observed, executions=(first, replace(child, result='["another"]')))


def acted(kind: Any, tick: int) -> Change:
    act = Acted(kind=kind, arn="arn:p0:run", sent=tick, done=tick)
    return lambda observed: replace(observed, acted=(act,))


def replayed(**changes: Any) -> Change:
    return lambda observed: replace(observed, replays=(replace(observed.replays[0], **changes),))


def with_strange_update(observed: Observed) -> Observed:
    update = msgspec.structs.replace(observed.writes[0].updates[0], name="another")
    return replayed(prefix=1, answer="PENDING", result=None, updates=(update,))(observed)


def deployed(observed: Observed) -> Observed:
    """Let code of another result be deployed."""
    program = Program(name="p0", body=(*BODY, Step(name="more")))
    deploy = Deploy(3, program, ("insert a step at the end",))
    return replace(observed, scenario=replace(SCENARIO, deploys=(deploy,)))


def with_payload(size: int) -> Change:
    def change(observed: Observed) -> Observed:
        first = observed.executions[0]
        details: Any = first.events[at(observed, "StepSucceeded", "2")].step_succeeded_details
        large = msgspec.structs.replace(
            details, result=msgspec.structs.replace(details.result, payload="x" * size)
        )
        return with_changed_event(observed, "StepSucceeded", "2", step_succeeded_details=large)

    return change


def started_again(payload: str, **reply: Any) -> Change:
    again = Started(name="run", function="p0", payload=payload, sent=8, done=9, **reply)
    return lambda observed: replace(observed, started=(*observed.started, again))


def hooked(*kinds: str) -> Change:
    hooks = tuple(
        Hook(kind=kind, execution="arn:p0:run", invocation="run 1", operation_id="x")
        for kind in kinds
    )
    return lambda observed: replace(observed, hooks=hooks)


def rounds(count: int) -> Change:
    one = Round(frozenset({"arn:p0:run"}), frozenset())
    return lambda observed: replace(observed, rounds=(one,) * count)


def refused_while_pending(observed: Observed) -> Observed:
    """Have the service say that the first PENDING cannot be."""
    pending = {one.id for one in observed.invocations if one.answer == "PENDING"}
    error = EventError(truncated=False, payload=ErrorObject(error_type="Runtime.InvalidResponse"))

    def refused(event: Event) -> Event:
        details = event.invocation_completed_details
        if details is None or details.request_id not in pending:
            return event
        details = msgspec.structs.replace(details, error=error)
        return msgspec.structs.replace(event, invocation_completed_details=details)

    return with_events(observed, lambda events: [refused(one) for one in events])


def ended_unheard(answer: str, *refusal: Any, error: Any = ("Boom", "oh")) -> Change:
    """Have an invocation end so although a checkpoint of it was not acknowledged."""

    def change(observed: Observed) -> Observed:
        refused = refusal or None
        observed = with_seen(observed, status="FAILED", result=None, error=error)
        observed = with_write(observed, -3, acknowledged=False, invocation="run 5", refusal=refused)
        invocations = [
            replace(one, answer=answer) if one.id == "run 5" else one
            for one in observed.invocations
        ]
        return replace(observed, invocations=tuple(invocations))

    return change


def given_away(tick: int) -> Change:
    """Have a worker be given the execution, of which nothing else is seen."""
    return lambda observed: replace(observed, claims=(Claimed("arn:p0:run", 99, tick),))


def stopped_elsewhere(node: str) -> Change:
    """Have p1 stop the execution while its last invocation, of *node*, is still to begin."""

    def change(observed: Observed) -> Observed:
        late = replace(observed.invocations[-1], execution="arn:p0:run", began=LATE, epoch=99)
        claim = Claimed("arn:p0:run", 99, LATE - 2, node)
        act = Acted(kind="stop", arn="arn:p0:run", sent=LATE - 2, done=LATE - 1, node="p1")
        invocations = (*observed.invocations, late)
        return replace(observed, acted=(act,), claims=(claim,), invocations=invocations)

    return change


def misled(observed: Observed) -> Observed:
    """Have the function say that it waits, when it had come to its end beside an open callback."""
    lie = Fault(kind=WRONG_ANSWER, tick=LATE, at=0, execution="arn:p0:run")
    asked = observed.executions[0].events[at(observed, "CallbackStarted", "4")]
    another = msgspec.structs.replace(asked, id="another")
    return replace(with_events(waiting(observed), lambda one: [*one, another]), faults=(lie,))


def parked(
    failures: int, error: str = "Function.Failed", *, is_faulty: bool = True, resumed: int = -1
) -> Change:
    def change(observed: Observed) -> Observed:
        story = Story("p0", "run")
        for number in range(failures):
            if number == resumed:
                story.event("ExecutionResumed")
            story.begin()
            story.fail_invocation(error)
        seen = story.seen("RUNNING", standing="parked")
        observed = replace(observed, executions=(seen, *observed.executions[1:]))
        return replace(observed, faults=(fault(),)) if is_faulty else observed

    return change


BROKEN: list[tuple[str, Change]] = [
    ("I1", entered_late),
    ("I19", stopped_elsewhere("p1")),
    ("I1", lambda one: given_away(LATE)(entered_late(one))),
    ("I2", entered_twice((1,), 1)),
    ("I2", started_late),
    ("I3", entered_twice((0,), 2)),
    ("I3", lambda one: replace(one, entries=one.entries[:0])),
    ("I4", lambda one: with_changed_entry(one, found(one, "saw", (0,)), value="another")),
    ("I5", lambda one: with_last_event(one, "StepSucceeded", "2")),
    ("I6", without("StepSucceeded", of="2")),
    ("I7", half_lost),
    ("I8", lambda one: with_write(one, 3, token_in="token 1.1")),
    ("I9", lambda one: with_write(one, -3, epoch=1)),
    ("I9", lambda one: with_invocation(one, 0, ended=LATE, epoch=5)),
    ("I9", given_away(0)),
    ("I10", rewritten),
    ("I10", renumbered_wrongly),
    ("I11", lambda one: with_last_event(one, "StepStarted", "5-1-1")),
    ("I11", without("ContextStarted", of="5-1")),
    ("I12", lambda one: with_changed_entry(one, found(one, "enter", (1,), 1), operation_id="x")),
    ("I13", together),
    ("I13", running_together),
    ("I14", without("WaitStarted", "WaitSucceeded", of="3")),
    ("I14", ended_unheard("SUCCEEDED")),
    ("I14", ended_unheard("SUCCEEDED", "InvalidParameterValueException", 400, "too large")),
    ("I14", ended_unheard("FAILED")),
    ("I14", ended_unheard("FAILED", error=DIVERGED)),
    ("I14", ended_unheard("FAILED", "InvalidParameterValueException", 400, BAD_TOKEN)),
    ("I14", ended_unheard("FAILED", "TooManyRequestsException", 429, "Rate exceeded")),
    ("I14", ended_unheard("FAILED", "ServiceException", 500, "oh")),
    ("I14", refused_while_pending),
    ("I15", lambda one: with_invocation(one, 0, tasks=1)),
    ("I15", lambda one: with_write(one, 0, sent=LATE)),
    ("I16", woken_early),
    ("I17", answered("yes", "")),
    ("I17", answered("no", "")),
    ("I17", answered("no", "ServiceException")),
    ("I17", lambda one: replace(one, replies=(replace(one.replies[0], text="no"),))),
    ("I17", refused_while_open),
    ("I18", with_second_child),
    ("I18", with_other_child),
    ("I19", acted("stop", 5)),
    ("I19", acted("delete", 5)),
    ("I20", replayed(result='"another"')),
    ("I20", replayed(prefix=3, answer="FAILED", error=("NonDeterministicExecutionError", "oh"))),
    ("I20", with_strange_update),
    ("I21", lambda one: with_seen(deployed(one), result='"another"')),
    ("I22", with_payload(STEP_BYTES + 1)),
    ("I23", lambda one: replace(one, bystanders={"arn:other": ("digest", "another")})),
    ("I24", lambda one: replace(one, resources={"waiters": (0, 1)})),
    ("I25", started_again("null", arn="arn:another")),
    ("I25", started_again("1", arn="arn:p0:run")),
    ("I25", started_again("null", refusal="DurableExecutionAlreadyStartedException")),
    ("I26", hooked("user_function_start")),
    ("I26", hooked("operation_end", "operation_end")),
    ("L1", lambda one: with_seen(one, status="RUNNING", standing="waiting")),
    ("L1", lambda one: without("WaitSucceeded", of="3")(with_seen(one, status="RUNNING"))),
    ("L1", lambda one: replace(misled(one), faults=())),
    ("L2", lambda one: with_seen(one, status="RUNNING", standing="waiting")),
    ("L3", parked(9)),
    ("L3", parked(11)),
    ("L3", parked(10, is_faulty=False)),
    ("L3", lambda one: replace(parked(10)(one), faults=(replace(fault(), until=0),))),
    ("L4", rounds(11)),
    ("model", lambda one: with_seen(one, result='"another"')),
    ("model", without("StepStarted", "StepSucceeded", of="2")),
    ("model", lambda one: with_changed_event(one, "StepStarted", "2", name="another")),
    ("foreseen", lambda one: with_seen(one, result='"another"')),
    ("foreseen", lambda one: with_seen(one, status="TIMED_OUT")),
]

ALLOWED: list[tuple[str, Change]] = [
    ("I3", lambda one: replace(entered_twice((0,), 2)(one), faults=(fault(),))),
    ("I1", lambda one: given_away(1)(entered_late(one))),
    ("I9", given_away(LATE)),
    ("I10", lambda one: with_seen(one, reads=(*one.executions[0].reads, Read(LATE, None)))),
    ("I14", ended_unheard("FAILED", "InvalidParameterValueException", 400, "too large")),
    ("I14", ended_unheard("FAILED", "KMSDisabledException", 502, "oh")),
    ("I14", ended_unheard("RAISED", "ServiceException", 500, "oh")),
    ("I17", answered("no", "CallbackTimeoutException")),
    ("I17", answered("no", None)),
    ("I19", acted("stop", LATE)),
    ("I19", stopped_elsewhere("p2")),
    ("I20", replayed(prefix=3, answer="PENDING", result=None)),
    ("I21", deployed),
    ("I21", lambda one: with_seen(deployed(one), status="FAILED", result=None, error=DIVERGED)),
    ("I22", with_payload(STEP_BYTES)),
    ("I25", started_again("null", arn="arn:p0:run")),
    ("I25", started_again("1", refusal="DurableExecutionAlreadyStartedException")),
    ("I26", hooked("user_function_start", "user_function_end", "operation_start")),
    ("L1", lambda one: without("CallbackSucceeded", of="4")(waiting(replace(one, replies=())))),
    ("L1", misled),
    ("L2", lambda one: with_seen(one, status="RUNNING", standing="waiting", wakes=("timer",))),
    ("L3", parked(10)),
    ("L3", parked(12, "Runtime.ExitError")),
    ("L3", parked(12, resumed=2)),
    ("L3", lambda one: replace(parked(10)(one), faults=(replace(fault(), node="n2"),))),
    ("L4", rounds(10)),
]


def fault() -> Fault:
    return Fault(kind="crash", tick=0, at=0, until=LATE, node="n1")


def waiting(observed: Observed) -> Observed:
    return with_seen(observed, status="RUNNING", standing="waiting")


def test_a_run_in_which_all_is_well_breaks_nothing() -> None:
    assert violations(good()) == {}


def test_every_invariant_of_the_promises_is_there() -> None:
    promised = {f"I{number}" for number in range(1, 27)} | {f"L{number}" for number in range(1, 5)}

    assert promised <= INVARIANTS.keys()
    assert {name for name, _ in BROKEN} == INVARIANTS.keys()


@pytest.mark.parametrize(("name", "change"), BROKEN)
def test_what_breaks_an_invariant_is_refused_by_it(name: str, change: Change) -> None:
    assert INVARIANTS[name](change(good()))


@pytest.mark.parametrize(("name", "change"), ALLOWED)
def test_what_only_looks_like_it_is_let_pass(name: str, change: Change) -> None:
    assert INVARIANTS[name](change(good())) == []


def test_a_worker_that_had_lost_its_execution_may_enter_a_body_once_more() -> None:
    observed = good()
    body = found(observed, "enter", (0,), 2)
    began = replace(found(observed, "begin", ()), tick=0, invocation=99)

    late = entries_with(observed, began, replace(body, tick=LATE, invocation=99))

    assert INVARIANTS["I1"](late) == []


def test_a_pause_may_cut_a_body_off() -> None:
    observed = entered_twice((0,), 2)(good())
    pause = Acted(kind="pause", arn="arn:p0:run", sent=0, done=1)
    scenario = replace(SCENARIO, actions=(Action("pause", "run", 0),))

    assert INVARIANTS["I3"](replace(observed, scenario=scenario, acted=(pause,))) == []


def test_a_stopped_execution_is_no_surprise_when_somebody_stops_it() -> None:
    scenario = Scenario(
        seed=0,
        programs=SCENARIO.programs,
        starts=(Start(name="run"),),
        actions=(Action("stop", "run", 1),),
    )
    observed = with_seen(good(), status="STOPPED", result=None)

    assert INVARIANTS["foreseen"](observed)
    assert INVARIANTS["foreseen"](replace(observed, scenario=scenario)) == []
