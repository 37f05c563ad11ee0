"""Observations written by hand: what a backend, a worker and user code would have left behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import msgspec

from durably import ErrorObject
from durably.wire.base import Timestamp
from durably.wire.history import (
    CallbackStartedDetails,
    ChainedInvokeStartedDetails,
    Event,
    EventError,
    EventInput,
    EventResult,
    EventType,
    ExecutionStartedDetails,
    InvocationCompletedDetails,
    ResultDetails,
    RetryDetails,
    StartedDetails,
    StepFailedDetails,
    StepSucceededDetails,
    WaitStartedDetails,
    WaitSucceededDetails,
)
from durably.wire.operation import OperationType
from durably.wire.update import OperationAction, OperationUpdate, StepOptions
from tests.simulator.ledger import Entry, Phase
from tests.simulator.model import wire_id
from tests.simulator.observed import (
    Hook,
    Invocation,
    Observed,
    Read,
    Replay,
    Reply,
    Round,
    Seen,
    Started,
    Write,
)
from tests.simulator.programs import (
    WHOLE,
    Answer,
    Callback,
    Fan,
    Invoke,
    Path,
    Program,
    Scenario,
    Start,
    Step,
    Values,
    Wait,
)
from tests.simulator.values import Json

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_SUB_TYPES = {"STEP": "Step", "WAIT": "Wait", "CALLBACK": "Callback"}


def result(payload: str | None) -> EventResult:
    """Wrap a payload."""
    return EventResult(truncated=False, payload=payload)


def error(of: str, says: str) -> EventError:
    """Wrap an error."""
    return EventError(truncated=False, payload=ErrorObject(error_type=of, error_message=says))


class Story:
    """One execution, told as it happens.

    Attributes:
        clock: seconds since it began.
    """

    def __init__(self, function: str, start: str, tick: Callable[[], int] | None = None) -> None:
        self.arn = f"arn:{function}:{start}"
        self.function = function
        self.start = start
        self.tick = count(1).__next__ if tick is None else tick
        self.clock = 0.0
        self.events: list[Event] = []
        self.entries: list[Entry] = []
        self.writes: list[Write] = []
        self.invocations: list[Invocation] = []
        self.reads: list[Read] = []
        self._identities: dict[str, dict[str, Any]] = {}
        self._attempts: dict[str, int] = {}
        self._token = ""
        self.event(
            "ExecutionStarted",
            execution_started_details=ExecutionStartedDetails(
                input=EventInput(truncated=False, payload="null"), execution_timeout=31622400
            ),
        )

    def now(self) -> Timestamp:
        """Give the instant."""
        return Timestamp.of(BEGIN + timedelta(seconds=self.clock))

    def event(self, kind: str, step_id: str | None = None, **details: Any) -> None:
        """Record an event."""
        identity = {} if step_id is None else self._identities[step_id]
        self.events.append(
            Event(
                event_type=EventType(kind),
                event_id=len(self.events) + 1,
                event_timestamp=self.now(),
                **identity,
                **details,
            )
        )

    def read(self) -> None:
        """Read the history."""
        self.reads.append(Read(self.tick(), tuple(self.events)))

    # The worker

    def begin(self) -> None:
        """Begin an invocation."""
        number = len(self.invocations) + 1
        self._token = f"token {number}.0"
        self.invocations.append(
            Invocation(
                id=f"{self.start} {number}",
                execution=self.arn,
                node="n1",
                epoch=number,
                token=self._token,
                began=self.tick(),
            )
        )
        self.note((), "begin")

    def end(self, answer: str, given: Json = None) -> None:
        """End it."""
        self.note((), "cut off" if answer == "PENDING" else "end", given)
        self.invocations[-1] = replace(self.invocations[-1], ended=self.tick(), answer=answer)
        self.event(
            "InvocationCompleted",
            invocation_completed_details=InvocationCompletedDetails(
                start_timestamp=self.now(),
                end_timestamp=self.now(),
                request_id=self.invocations[-1].id,
            ),
        )
        if answer == "SUCCEEDED":
            details = ResultDetails(result=result(json.dumps(given)))
            self.event("ExecutionSucceeded", execution_succeeded_details=details)

    def fail_invocation(self, error_type: str = "Runtime.ExitError") -> None:
        """Let it die, or fail."""
        details = InvocationCompletedDetails(
            start_timestamp=self.now(),
            end_timestamp=self.now(),
            request_id=self.invocations[-1].id,
            error=error(error_type, "it failed"),
        )
        self.event("InvocationCompleted", invocation_completed_details=details)

    def note(self, path: Path, phase: Phase, value: Json = None, **more: Any) -> None:
        """Let user code do something."""
        self.entries.append(
            Entry(
                tick=self.tick(),
                at=self.clock,
                execution=self.arn,
                path=path,
                invocation=len(self.invocations),
                node="n1",
                phase=phase,
                value=value,
                **more,
            )
        )

    def body(self, path: Path, step_id: str, attempt: int = 1, phase: Phase = "exit") -> None:
        """Let user code run the body of a step."""
        operation: dict[str, Any] = {"operation_id": wire_id(step_id), "attempt": attempt}
        self.note(path, "enter", **operation)
        self.note(path, phase, **operation)

    def checkpoint(self, *updates: OperationUpdate) -> None:
        """Have updates accepted, and their events recorded."""
        sent, token = self.tick(), self._token
        for update in updates:
            self._record(update)
        number = len(self.writes) + 1
        self._token = f"token {len(self.invocations)}.{number}"
        self.writes.append(
            Write(
                kind="checkpoint",
                execution=self.arn,
                invocation=self.invocations[-1].id,
                node="n1",
                epoch=self.invocations[-1].epoch,
                sent=sent,
                done=self.tick(),
                accepted=True,
                acknowledged=True,
                updates=tuple(updates),
                token_in=token,
                token_out=self._token,
                client_token=f"client {number}",
            )
        )

    # Updates

    def update(
        self,
        kind: str,
        action: str,
        step_id: str,
        *,
        name: str | None = None,
        sub_type: str | None = None,
        **more: Any,
    ) -> OperationUpdate:
        """Make an update; who an operation is is said with its START."""
        if step_id not in self._identities:
            above = step_id.rpartition("-")[0]
            self._identities[step_id] = {
                "id": wire_id(step_id),
                "parent_id": wire_id(above) if above else None,
                "name": name,
                "sub_type": sub_type or _SUB_TYPES.get(kind),
            }
        return OperationUpdate(
            type=OperationType(kind),
            action=OperationAction(action),
            **self._identities[step_id],
            **more,
        )

    def step(self, step_id: str, name: str, action: str, payload: str | None = None) -> Any:
        """Make an update of a step; of FAIL and RETRY, *payload* is the message."""
        if action in {"FAIL", "RETRY"}:
            options = StepOptions(next_attempt_delay_seconds=1) if action == "RETRY" else None
            failure = ErrorObject(error_type="BoomError", error_message=payload)
            return self.update(
                "STEP", action, step_id, name=name, error=failure, step_options=options
            )
        return self.update("STEP", action, step_id, name=name, payload=payload)

    def _record(self, update: OperationUpdate) -> None:
        step_id = next(one for one, known in self._identities.items() if known["id"] == update.id)
        match update.type, update.action:
            case OperationType.STEP, _:
                self._record_step(step_id, update)
            case OperationType.CONTEXT, OperationAction.START:
                self.event("ContextStarted", step_id, context_started_details=StartedDetails())
            case OperationType.CONTEXT, _:
                details = ResultDetails(result=result(update.payload))
                self.event("ContextSucceeded", step_id, context_succeeded_details=details)
            case _:
                self._record_start(step_id, update)

    def _record_step(self, step_id: str, update: OperationUpdate) -> None:
        if update.action is OperationAction.START:
            self._attempts[step_id] = self._attempts.get(step_id, 0) + 1
            self.event("StepStarted", step_id, step_started_details=StartedDetails())
            return
        options = update.step_options
        retry = RetryDetails(
            current_attempt=self._attempts[step_id],
            next_attempt_delay_seconds=options.next_attempt_delay_seconds if options else None,
        )
        if update.error is None:
            succeeded = StepSucceededDetails(result=result(update.payload), retry_details=retry)
            self.event("StepSucceeded", step_id, step_succeeded_details=succeeded)
        else:
            failure = EventError(truncated=False, payload=update.error)
            failed = StepFailedDetails(error=failure, retry_details=retry)
            self.event("StepFailed", step_id, step_failed_details=failed)

    def _record_start(self, step_id: str, update: OperationUpdate) -> None:
        if update.type is OperationType.WAIT:
            end = Timestamp.of(self.now() + timedelta(seconds=5))
            begun = WaitStartedDetails(duration=5, scheduled_end_timestamp=end)
            self.event("WaitStarted", step_id, wait_started_details=begun)
        elif update.type is OperationType.CALLBACK:
            called = CallbackStartedDetails(callback_id=f"callback {step_id}")
            self.event("CallbackStarted", step_id, callback_started_details=called)
        else:
            invoked = ChainedInvokeStartedDetails(
                function_name="p1",
                input=EventInput(truncated=False, payload=update.payload),
                durable_execution_arn="arn:p1:child",
            )
            self.event("ChainedInvokeStarted", step_id, chained_invoke_started_details=invoked)

    # The backend

    def wake(self, step_id: str) -> None:
        """Let a wait be over."""
        details = WaitSucceededDetails(duration=5)
        self.event("WaitSucceeded", step_id, wait_succeeded_details=details)

    def answered(self, step_id: str, payload: str) -> None:
        """Let a callback succeed."""
        details = ResultDetails(result=result(payload))
        self.event("CallbackSucceeded", step_id, callback_succeeded_details=details)

    def returned(self, step_id: str, payload: str) -> None:
        """Let an invoked execution succeed."""
        details = ResultDetails(result=result(payload))
        self.event("ChainedInvokeSucceeded", step_id, chained_invoke_succeeded_details=details)

    def seen(self, status: str, given: Json = None, **more: Any) -> Seen:
        """Say what is seen of it at the end."""
        self.read()
        text = json.dumps(given) if status == "SUCCEEDED" else None
        return Seen(
            arn=self.arn,
            function=self.function,
            start=self.start,
            status=status,
            result=text,
            reads=tuple(self.reads),
            **more,
        )


def renumbered(events: Sequence[Event]) -> tuple[Event, ...]:
    """Number events anew, as a history is that has lost one or got one more."""
    return tuple(
        msgspec.structs.replace(one, event_id=number) for number, one in enumerate(events, 1)
    )


# One story with a little of everything

A, B = Step(name="a", failures=1, attempts=2), Step(name="b", once=True)
CALLBACK = Callback(name="cb", answers=(Answer("succeed", 1, "yes"),))
MAP = Fan(name="m", kind="map", branches=((Step(name="i"),), (Step(name="j"),)), limit=1)
BODY = (A, B, Wait(name="w", seconds=5), CALLBACK, MAP, Invoke(name="inv", program=1), Values())
SCENARIO = Scenario(
    seed=0,
    programs=(Program(name="p0", body=BODY), Program(name="p1", body=(Step(name="z"),))),
    starts=(Start(name="run"),),
)
_BATCH: Json = {
    "reason": "ALL_COMPLETED",
    "items": [[0, "SUCCEEDED", ["text 0"]], [1, "SUCCEEDED", ["text 0"]]],
}


def good() -> Observed:
    """Tell of a run in which all is well, and in which nearly all that is observed occurs."""
    story = Story("p0", "run")
    saw: list[Json] = ["text 0", "text 0", None, [[], "yes"], _BATCH, ["text 0"]]
    _first_invocations(story)
    _see_again(story, saw[:2], (2,), None)
    story.checkpoint(story.update("CALLBACK", "START", "4", name="cb"))
    story.note((3,), "told", operation_id="callback 4")
    story.read()
    story.end("PENDING")
    sent = story.tick()
    story.answered("4", "yes")
    reply = Reply(
        callback_id="callback 4",
        kind="succeed",
        sent=sent,
        done=story.tick(),
        refusal="",
        text="yes",
    )
    _see_again(story, saw[:3], (3,), saw[3])
    _map(story)
    story.checkpoint(story.update("CHAINED_INVOKE", "START", "6", name="inv", payload="null"))
    story.end("PENDING")
    child = _child(story.tick)
    story.clock = 7
    story.returned("6", '["text 0"]')
    _see_again(story, saw[:5], (5,), saw[5])
    values: Json = [BEGIN.replace(second=7).isoformat(), "some uuid", 0.5]
    story.note((6,), "saw", values)
    story.end("SUCCEEDED", [*saw, values])
    both = (story, child)
    return Observed(
        scenario=SCENARIO,
        executions=(
            story.seen("SUCCEEDED", [*saw, values]),
            child.seen("SUCCEEDED", ["text 0"], parent=(story.arn, wire_id("6"))),
        ),
        entries=tuple(one for each in both for one in each.entries),
        writes=tuple(one for each in both for one in each.writes),
        invocations=tuple(one for each in both for one in each.invocations),
        replies=(reply,),
        started=(
            Started(name="run", function="p0", payload="null", sent=0, done=0, arn=story.arn),
        ),
        replays=(
            Replay(
                execution=story.arn,
                prefix=len(story.events),
                page_size=1,
                answer="SUCCEEDED",
                result=json.dumps([*saw, values]),
            ),
        ),
        hooks=tuple(
            Hook(kind=kind, execution=story.arn, invocation="run 1", operation_id="x")
            for kind in ("operation_attempt_start", "operation_attempt_end", "operation_end")
        ),
        rounds=(Round(frozenset({story.arn}), frozenset({story.arn})),),
        bystanders={"arn:other": ("digest", "digest")},
        resources={"waiters": (0, 0)},
    )


def _first_invocations(story: Story) -> None:
    story.begin()
    story.checkpoint(story.step("1", "a", "START"))
    story.body((0,), "1", 1, "raise")
    story.checkpoint(story.step("1", "a", "RETRY", "0 attempt 1"))
    story.end("PENDING")
    story.clock = 1
    story.begin()
    story.checkpoint(story.step("1", "a", "START"))
    story.body((0,), "1", 2)
    story.checkpoint(story.step("1", "a", "SUCCEED", '"text 0"'), story.step("2", "b", "START"))
    story.note((0,), "saw", "text 0")
    story.body((1,), "2")
    story.checkpoint(
        story.step("2", "b", "SUCCEED", '"text 0"'), story.update("WAIT", "START", "3", name="w")
    )
    story.note((1,), "saw", "text 0")
    story.end("PENDING")
    story.clock = 6
    story.wake("3")


def _see_again(story: Story, known: Sequence[Json], path: Path, new: Json) -> None:
    """Begin an invocation that sees what is known, and something new at *path*."""
    story.begin()
    for place, value in enumerate(known):
        if place == 4:
            story.note((place, WHOLE), "saw", value)
        story.note((place,), "saw", value)
    story.note(path, "saw", new)


def _map(story: Story) -> None:
    story.checkpoint(story.update("CONTEXT", "START", "5", name="m", sub_type="Map"))
    for place, name in enumerate("ij"):
        item, step_id, path = f"5-{place + 1}", f"5-{place + 1}-1", (4, place)
        opened = story.update(
            "CONTEXT", "START", item, name=f"map-item-{place}", sub_type="MapIteration"
        )
        story.note(path, "enter")
        story.checkpoint(opened, story.step(step_id, name, "START"))
        story.body((*path, 0), step_id)
        story.checkpoint(story.step(step_id, name, "SUCCEED", '"text 0"'))
        story.note((*path, 0), "saw", "text 0")
        story.note(path, "exit")
        story.checkpoint(story.update("CONTEXT", "SUCCEED", item, payload='["text 0"]'))
    story.checkpoint(story.update("CONTEXT", "SUCCEED", "5", payload="{}"))
    story.note((4, WHOLE), "saw", _BATCH)
    story.note((4,), "saw", _BATCH)


def _child(tick: Callable[[], int]) -> Story:
    story = Story("p1", "child", tick)
    story.begin()
    story.checkpoint(story.step("1", "z", "START"))
    story.body((0,), "1")
    story.checkpoint(story.step("1", "z", "SUCCEED", '"text 0"'))
    story.note((0,), "saw", "text 0")
    story.end("SUCCEEDED", ["text 0"])
    return story
