"""How the model looks at single operations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from durably.wire.operation import ErrorObject
from tests.simulator.model import Look, Model, Place, Scope
from tests.simulator.outcomes import (
    ANY,
    ModelError,
    Outcome,
    Try,
    WaitingError,
    agrees,
    next_delay,
    planned_check,
    planned_step,
    whole,
)
from tests.simulator.programs import (
    OUTSIDE,
    Ask,
    Callback,
    Child,
    Condition,
    Invoke,
    Path,
    Step,
    Wait,
)
from tests.simulator.records import Attempt, Record
from tests.simulator.values import NULL, UNWRITABLE, Payload, decoded, marked, read_marked, shown

_INTERRUPTED = "StepInterruptedError"
_NOBODY = "nobody"
_SMALL = 100_000  # characters: what has fewer is surely recorded whole


# Recorded texts


def read(payload: str | None) -> Any:
    """Read a recorded value, and say what it is."""
    return None if payload is None else shown(decoded(payload))


def read_back(payload: str | None) -> Any:
    """Read a value that is marked as read, and say what it is."""
    return None if payload is None else shown(read_marked(payload))


def plain(payload: str | None) -> Any:
    """Read plain JSON, and say what it is."""
    return None if payload is None else shown(json.loads(payload))


def said(error: ErrorObject | None) -> tuple[str | None, Any]:
    """Give type and message of a recorded error."""
    return (None, None) if error is None else (error.error_type, shown(error.error_message))


# Steps


def step(model: Model, scope: Scope, place: Place, node: Step, path: Path) -> Outcome:
    """Look at a step."""
    record = model.find(place, path, "Step", "Step", node.name)
    return _tries(model, record, place, path, _step_plan(node, path))


def _step_plan(node: Step, path: Path) -> _Plan:
    delays = None
    if node.once:
        delays = partial(next_delay, node.attempts, delay=node.delay)
    reading = read_back if node.marked else read
    return _Plan("StepError", partial(planned_step, node, path), delays, reading)


def condition(model: Model, scope: Scope, place: Place, node: Condition, path: Path) -> Outcome:
    """Look at a condition."""
    record = model.find(place, path, "Step", "WaitForCondition", node.name)
    plan = _Plan("WaitForConditionError", partial(planned_check, node, path), None, read)
    return _tries(model, record, place, path, plan)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What attempts come to.

    Attributes:
        raised: the class of the error of the last one.
        of: what an attempt, counted from 1, comes to.
        delays: of an at-most-once step: what follows after an attempt that was cut off.
        reading: how a recorded value is read.
    """

    raised: str
    of: Callable[[int], Try]
    delays: Callable[[int], int | None] | None
    reading: Callable[[str | None], Any]


def _tries(model: Model, record: Record | None, place: Place, path: Path, plan: _Plan) -> Outcome:
    if record is None:
        _allow(model, path, 1, plan)
        return Outcome(waits={place.id: "step"})
    for number, attempt in enumerate(record.attempts, 1):
        _judge(model, path, number, attempt, plan)
    if not record.is_closed:
        return Outcome(waits={place.id: "step"})
    ended = record.ended or 0
    if record.error is not None:
        return Outcome(error=ModelError(plan.raised, *said(record.error)), ended=ended)
    return Outcome(plan.reading(record.payload), ended=ended)


def _judge(model: Model, path: Path, number: int, attempt: Attempt, plan: _Plan) -> None:
    if attempt.started is None:
        model.blame(path, f"attempt {number} has ended and never began")
    if attempt.ended is None:
        model.bounds[path, number] = (0, 1)
        return
    wanted = plan.of(number)
    is_cut = plan.delays is not None and said(attempt.error)[0] == _INTERRUPTED
    if is_cut and plan.delays is not None:
        model.interrupted += 1
        wanted = Try(error=(_INTERRUPTED, ANY), delay=plan.delays(number))
    model.bounds[path, number] = (0 if is_cut else 1, 1)
    if attempt.delay is not None:
        _allow(model, path, number + 1, plan)
    if not model.evidence.trusts and not _is_planned(attempt, wanted, plan):
        model.blame(path, f"attempt {number} came to {attempt}, planned is {wanted}")


def _allow(model: Model, path: Path, number: int, plan: _Plan) -> None:
    """Allow an attempt whose start is not durable, which an at-most-once one needs."""
    if plan.delays is None:
        model.bounds[path, number] = (0, 1)


def _is_planned(attempt: Attempt, wanted: Try, plan: _Plan) -> bool:
    if attempt.delay != wanted.delay:
        return False
    if wanted.error is not None:
        return agrees(list(wanted.error), list(said(attempt.error)))
    return attempt.succeeded and agrees(wanted.value, plan.reading(attempt.payload))


def wait(model: Model, scope: Scope, place: Place, node: Wait, path: Path) -> Outcome:
    """Look at a wait."""
    record = model.find(place, path, "Wait", "Wait", node.name)
    if record is None or not record.is_closed:
        return Outcome(waits={place.id: "wait"})
    if not model.evidence.trusts and record.details.duration != whole(node.seconds):
        model.blame(path, f"waited {record.details.duration} s instead of {node.seconds}")
    if record.status != "SUCCEEDED":
        model.blame(path, f"a wait that nobody cancels is {record.status}")
    return Outcome(ended=record.ended or 0)


# Callbacks


def ask(model: Model, scope: Scope, place: Place, node: Ask, path: Path) -> Outcome:
    """Look at a `wait_for_callback`: a context of a callback and a submitter."""
    record = model.find(place, path, "Context", "WaitForCallback", node.name)
    inner = scope.inside(
        place, virtual=False, clock=place.after if record is None else record.started
    )
    inside = model.capture(inner, partial(_asked, model, inner, node, path))
    if inside.waits is None and (record is None or not record.is_closed):
        return Outcome(waits={place.id: "context"})
    if record is None or not record.is_closed:
        return inside
    if inside.waits is not None or (record.status == "FAILED") != (inside.error is not None):
        model.blame(path, f"is {record.status}, and inside there is {inside}")
    inside.ended = record.ended or 0
    return inside


def _asked(model: Model, inner: Scope, node: Ask, path: Path) -> Any:
    place = inner.next()
    name = ANY if node.name is None else f"{node.name} create callback id"
    record = model.find(place, path, "Callback", "Callback", name)
    inner.clock = place.after if record is None else record.started
    submitter = Step(
        name=None, gives=NULL, failures=node.failures, attempts=node.attempts, delay=node.delay
    )
    if record is None:
        raise WaitingError({place.id: "start"})
    second = inner.next()
    name = ANY if node.name is None else f"{node.name} submitter"
    told = model.find(second, path, "Step", "Step", name)
    outcome = _tries(model, told, second, path, _step_plan(submitter, path))
    if outcome.error is not None:
        raise ModelError("CallbackSubmitterError", ANY, outcome.error.says)
    model.take(inner, outcome)
    try:
        return model.take(inner, answered(model, record, node, path))
    except ModelError as error:
        raise ModelError(error.raised, ANY, error.says) from error


def answered(model: Model, record: Record, node: Ask | Callback, path: Path) -> Outcome:
    """Say how a callback stands: by an answer that was planned, or a deadline it has."""
    told = model.evidence.told.get(path)
    if told is not None and told != record.details.callback_id:
        model.blame(path, f"the outside was told {told}, recorded is {record.details.callback_id}")
    ended = record.ended or 0
    planned = {(one.kind, one.text) for one in node.answers}
    match record.status:
        case "STARTED":
            return Outcome(waits={record.id: "callback"})
        case "SUCCEEDED":
            is_planned = ("succeed", record.payload) in planned
            outcome = Outcome(shown(record.payload), ended=ended)
        case "FAILED":
            of, says = said(record.error)
            is_planned = ("fail", says) in planned and of == OUTSIDE
            outcome = Outcome(error=ModelError("CallbackExternalError", of, says), ended=ended)
        case _:
            is_planned = _may_expire(record, node)
            error = ModelError("CallbackTimeoutError", *said(record.error))
            outcome = Outcome(error=error, ended=ended)
    if not is_planned and not model.evidence.trusts:
        model.blame(path, f"ended {record.status} by {record.payload or record.error}")
    return outcome


def _may_expire(record: Record, node: Ask | Callback) -> bool:
    return record.status == "TIMED_OUT" and (
        (said(record.error) == ("Callback.Timeout", "Callback timed out") and node.timeout > 0)
        or (
            said(record.error) == ("Callback.Heartbeat", "Callback timed out on heartbeat")
            and node.heartbeat > 0
        )
    )


# Other executions, and contexts


def invoke(model: Model, scope: Scope, place: Place, node: Invoke, path: Path) -> Outcome:
    """Look at a call; whether the other execution came to just this, the invariants look at."""
    record = model.find(place, path, "ChainedInvoke", ANY, node.name)
    if record is None:
        return Outcome(waits={place.id: "start"})
    name = _NOBODY if node.program is None else model.programs[node.program].name
    sent = record.details.input.payload
    if not model.evidence.trusts and (
        record.details.function_name != name or not agrees(shown(node.sends.make()), plain(sent))
    ):
        model.blame(path, f"called {record.details.function_name} with {sent}")
    if not record.is_closed:
        return Outcome(waits={place.id: "invoke"})
    ended = record.ended or 0
    if record.status == "SUCCEEDED":
        return Outcome(plain(record.payload), ended=ended)
    of, says = said(record.error)
    if node.program is None and of != "ChainedInvoke.FunctionNotFound":
        model.blame(path, f"called nobody, and that is {of}: {says}")
    return Outcome(error=ModelError("InvokeError", of, says), ended=ended)


def child(model: Model, scope: Scope, place: Place, node: Child, path: Path) -> Outcome:
    """Look at a child context."""
    record = None
    if not node.virtual:
        record = model.find(place, path, "Context", "RunInChildContext", node.name)
    own = None if node.virtual else Own(record, read_back if node.marked else read)
    if (known := trusted(model, own)) is not None:
        return known
    clock = place.after if record is None else record.started
    inner = scope.inside(place, virtual=node.virtual, clock=clock)
    body = model.capture(inner, partial(model.block, inner, node.body, path))
    value = given(body, node.gives)
    if node.marked and value.has_returned:
        value.value = marked(value.value)
    return closed(model, place, path, value, own)


@dataclass(frozen=True, slots=True)
class Own:
    """The record of a context, if there is one yet, and how its value is read."""

    record: Record | None
    reading: Callable[[str | None], Any] = read


def trusted(model: Model, own: Own | None) -> Outcome | None:
    """Say how a context stands that has ended and is believed: a replay does not enter it."""
    record = None if own is None else own.record
    if own is None or record is None or not record.is_closed or not model.evidence.trusts:
        return None
    ended = record.ended or 0
    if record.error is not None:
        return Outcome(error=ModelError("ChildContextError", *said(record.error)), ended=ended)
    return Outcome(own.reading(record.payload), ended=ended) if record.payload else None


def given(body: Outcome, gives: Payload | None) -> Outcome:
    """Say what a body returns whose block came to this. What is large is made anew on replays."""
    if gives is None or not body.has_returned:
        return body
    if gives.kind in UNWRITABLE:
        return Outcome(error=ModelError("SerdesError", None, ANY), ended=body.ended)
    return Outcome([body.value, shown(gives.make())], ended=body.ended)


def closed(model: Model, place: Place, path: Path, body: Outcome, own: Own | None) -> Outcome:
    """Say how a context stands whose body came to this; a virtual one has nothing of its *own*."""
    outcome = Outcome(body.value, None if body.error is None else body.error.in_child())
    outcome.ended = body.ended
    if own is None:
        outcome.waits = body.waits
        return outcome
    record = own.record
    if record is None or not record.is_closed:
        return Outcome(waits=body.waits or {place.id: "context"})
    outcome.ended = record.ended or 0
    if body.waits is not None or body.ended > outcome.ended:
        model.blame(path, f"ended with event {record.ended}, its body stands at {body}")
        outcome.waits = body.waits
    elif outcome.error is not None:
        if record.status != "FAILED" or not agrees(
            [outcome.error.of, outcome.error.says], list(said(record.error))
        ):
            model.blame(path, f"is {record.status} {said(record.error)}, raised was {body.error}")
        outcome.error = ModelError("ChildContextError", *said(record.error))
    elif record.status != "SUCCEEDED" or not _is_recorded(body.value, record.payload, own):
        model.blame(path, f"is {record.status} {record.payload}, returned was {body.value}")
    return outcome


def _is_recorded(value: Any, payload: str | None, own: Own) -> bool:
    """Whether a context recorded its value, or has one that may be too large for that."""
    return _is_large(value) or agrees(value, own.reading(payload))


def _is_large(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_is_large, value))
    if isinstance(value, dict):
        return value.get("long", 0) > _SMALL or any(map(_is_large, value.values()))
    return False


LOOKS: Mapping[type[Any], Look] = {
    Step: step,
    Wait: wait,
    Condition: condition,
    Ask: ask,
    Invoke: invoke,
    Child: child,
}
