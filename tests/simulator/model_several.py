"""How the model runs nodes that are more than one operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from tests.simulator.model import Model, Place, Run, Scope
from tests.simulator.model_single import Own, answered, closed, given, said, trusted
from tests.simulator.outcomes import (
    ANY,
    ModelError,
    Outcome,
    WaitingError,
    batch_problems,
    is_combination,
    is_decided,
    next_delay,
)
from tests.simulator.programs import (
    WHOLE,
    Again,
    Callback,
    Combine,
    Fan,
    Guard,
    Path,
    Raise,
    Single,
    Together,
    Values,
    Wait,
    named,
)
from tests.simulator.records import Record
from tests.simulator.values import UNWRITABLE

_SUB_TYPES = {
    "map": ("Map", "MapIteration"),
    "parallel": ("Parallel", "ParallelBranch"),
    "concurrently": ("Crowd", "Member"),
}


def callback(model: Model, scope: Scope, node: Callback, path: Path) -> Any:
    """Make a callback, do something else, and await it."""
    place = scope.next()
    record = model.find(place, path, "Callback", "Callback", node.name)
    if record is None:
        raise WaitingError({place.id: "start"})
    scope.clock = max(scope.clock, record.started)
    between = model.block(scope, node.between, path)
    return [between, model.take(scope, answered(model, record, node, path))]


def guard(model: Model, scope: Scope, node: Guard, path: Path) -> Any:
    """Run `try`, `except` and `finally`; a suspension runs nothing of them that is recorded."""
    try:
        try:
            said: list[Any] = ["fine", model.block(scope, node.body, (*path, 0))]
        except ModelError as error:
            said = ["caught", error.shown(), model.block(scope, node.rescue, (*path, 1))]
    except ModelError:
        _lastly(model, scope, node, path)
        raise
    _lastly(model, scope, node, path)
    return said


def _lastly(model: Model, scope: Scope, node: Guard, path: Path) -> None:
    if node.lastly is not None:
        model.node(scope, node.lastly, (*path, 2))


def values(model: Model, scope: Scope, node: Values, path: Path) -> Any:
    """Take values; the time is that of an event that the code has got to."""
    seen = model.evidence.seen.get(path)
    now = _time_among(seen)
    if now is None:
        return ANY  # nobody has got there, or only code of another version, which has another node
    passed = [at for one, at in model.evidence.instants.items() if one <= max(scope.clock, 1)]
    precision = timedelta(milliseconds=1)  # of the instants that an invocation is given
    if passed and not min(passed) - precision < now <= max(passed):
        model.blame(path, f"the time is {now}, its code has got to {max(passed)}")
    return seen


def _time_among(seen: Any) -> datetime | None:
    try:
        now, _, _ = seen
        return datetime.fromisoformat(now)
    except (TypeError, ValueError):
        return None


def fail(model: Model, scope: Scope, node: Raise, path: Path) -> Any:
    """Raise what is no operation's error."""
    raise ModelError("ValueError", None, node.message)


def again(model: Model, scope: Scope, node: Again, path: Path) -> Any:
    """Run rounds, in a context of their own or not."""
    if not node.wrapped:
        return _rounds(model, scope, node, path)
    place = scope.next()
    record = model.find(place, path, "Context", "RunInChildContext", node.name)
    if (known := trusted(model, Own(record))) is not None:
        return model.take(scope, known)
    inner = scope.inside(place, virtual=False, clock=_begun(place, record))
    body = model.capture(inner, partial(_rounds, model, inner, node, path))
    return model.take(scope, closed(model, place, path, body, Own(record)))


def _rounds(model: Model, scope: Scope, node: Again, path: Path) -> Any:
    number = 1
    while True:
        try:
            return _round(model, scope, node, path, number)
        except ModelError:
            delay = next_delay(node.attempts, number, node.delay)
            if delay is None:
                raise
        name = None if node.name is None else f"{node.name}-backoff-{number}"
        backoff = Wait(name=name, seconds=delay)
        model.take(scope, model.call(scope, backoff, (*path, number))())
        number += 1


def _round(model: Model, scope: Scope, node: Again, path: Path, number: int) -> Any:
    said = model.block(scope, node.body, (*path, number))
    if number <= node.failures:
        raise ModelError("BoomError", None, f"{named(path)} round {number}")
    return said


def _begun(place: Place, record: Record | None) -> int:
    return place.after if record is None else record.started


# Fan-outs


def fan(model: Model, scope: Scope, node: Fan, path: Path) -> Any:
    """Run a fan-out: what its batch came to is what the handler saw, if it may be so."""
    place = scope.next()
    record = model.find(place, path, "Context", _SUB_TYPES[node.kind][0], node.name)
    inner = scope.inside(place, virtual=False, clock=_begun(place, record))
    is_believed = model.evidence.trusts and _is_recorded_whole(record)
    places = () if is_believed else range(len(node.branches))
    items = [_item(model, inner, node, path, index) for index in places]
    batch = model.evidence.seen.get((*path, WHOLE))
    if record is not None and record.status == "FAILED":
        _fail_whole(model, scope, node, path, record)
    if record is None or not record.is_closed or batch is None:
        raise WaitingError(_waits(items) or {place.id: "context"})
    if not is_believed:
        for text in batch_problems(node, batch, items):
            model.blame(path, text)
    scope.clock = max(scope.clock, record.ended or 0)
    if node.throws:
        _throw(batch)
    return batch


def _is_recorded_whole(record: Record | None) -> bool:
    """Whether a batch is over, and recorded with all its items, so that a replay enters none."""
    return record is not None and record.is_closed and '"all":' in (record.payload or "")


def _item(model: Model, inner: Scope, node: Fan, path: Path, index: int) -> Outcome | None:
    """Say how an item stands; `None` when nothing says that it was started."""
    place = inner.next()
    where = (*path, index)
    record = None
    if not node.flat:
        sub_type = _SUB_TYPES[node.kind][1]
        record = model.find(place, where, "Context", sub_type, item_name(node, index))
    if record is None and where not in model.evidence.begun:
        return None
    if (known := trusted(model, None if node.flat else Own(record))) is not None:
        return known
    scope = inner.inside(place, virtual=node.flat, clock=_begun(place, record))
    body = model.capture(scope, partial(model.block, scope, node.branches[index], where))
    if node.flat:
        if node.gives is not None and node.gives.kind not in UNWRITABLE:
            body = given(body, node.gives)
        return closed(model, place, where, body, None)
    return closed(model, place, where, given(body, node.gives), Own(record))


def item_name(node: Fan, index: int) -> str:
    """Name an item as its fan-out does."""
    match node.kind:
        case "map":
            return f"map-item-{index}"
        case "concurrently":
            return f"member {index}"
        case _:
            return f"branch {index}" if index % 2 else f"parallel-branch-{index}"


def _fail_whole(model: Model, scope: Scope, node: Fan, path: Path, record: Record) -> None:
    """Fail a batch as a whole, as only one can whose items' results have no record of their own."""
    of, says = said(record.error)
    if not node.flat or node.gives is None or node.gives.kind not in UNWRITABLE:
        model.blame(path, f"the whole batch failed with {of}: {says}")
    scope.clock = max(scope.clock, record.ended or 0)
    raise ModelError("ChildContextError", of, says)


def _throw(batch: Any) -> None:
    for _, status, given_back in batch["items"]:
        if status == "FAILED":
            raise ModelError(given_back["raised"], given_back["of"], given_back["says"])
    if batch["reason"] == "CUSTOM_COMPLETION_FAILED":
        raise ModelError("BatchCompletionError", ANY, ANY)


def _waits(outcomes: Sequence[Outcome | None]) -> dict[str, str]:
    waits: dict[str, str] = {}
    for one in outcomes:
        waits |= (one.waits if one is not None else None) or {}
    return waits


# Operations beside each other


def combine(model: Model, scope: Scope, node: Combine, path: Path) -> Any:
    """Run a combinator: who won is what the handler saw, if it may be so."""
    calls = []
    if not model.is_plain:
        calls = [model.call(scope, one, (*path, place)) for place, one in enumerate(node.parts)]
    place = scope.next()
    record = model.find(place, path, "Context", ANY, node.name)
    if model.is_plain:
        inner = scope.inside(place, virtual=False, clock=_begun(place, record))
        parts = [_branch(model, inner, one, (*path, n)) for n, one in enumerate(node.parts)]
    else:
        parts = [look() for look in calls]
    seen = model.evidence.seen.get(path)
    if record is None or not record.is_closed or path not in model.evidence.seen:
        is_due = is_decided(node.kind, parts)
        raise WaitingError({place.id: "context"} if is_due else _waits(parts))
    before = record.ended or 0
    known = [one if one.ended <= before else Outcome(waits={}) for one in parts]
    if not is_combination(node, seen, known):
        model.blame(path, f"{node.kind} gave {seen}, its parts stand at {known}")
    scope.clock = max(scope.clock, before)
    if isinstance(seen, dict) and "raised" in seen:
        raise ModelError(seen["raised"], seen["of"], seen["says"])
    return seen


def _branch(model: Model, inner: Scope, node: Single, path: Path) -> Outcome:
    """Look at a part of a combinator in a plain function, which is a branch.

    No document says whether a branch has a record of its own, or whose children its operations are.
    """
    place = inner.next()
    record = model.evidence.records.get(place.id)
    if record is not None:
        model.visited[place.id] = path
    scope = inner.inside(place, virtual=True, clock=_begun(place, record))
    scope.parent = ANY
    outcome = model.call(scope, node, path)()
    if outcome.error is not None:
        outcome.error = outcome.error.in_child()
    return outcome


def together(model: Model, scope: Scope, node: Together, path: Path) -> Any:
    """Run operations beside each other, and give what each came to."""
    if model.is_plain:
        return _branches(model, scope, node, path)
    calls = [model.call(scope, one, (*path, place)) for place, one in enumerate(node.parts)]
    parts = [look() for look in calls]
    if any(not one.has_ended for one in parts):
        raise WaitingError(_waits(parts))
    scope.clock = max([scope.clock, *(one.ended for one in parts)])
    return [one.shown() for one in parts]


def _branches(model: Model, scope: Scope, node: Together, path: Path) -> Any:
    place = scope.next()
    record = model.find(place, path, "Context", "Parallel", node.name)
    batch = scope.inside(place, virtual=False, clock=_begun(place, record))
    parts = []
    for index, one in enumerate(node.parts):
        own = batch.next()
        where = (*path, index)
        item = model.find(own, where, "Context", "ParallelBranch", f"parallel-branch-{index}")
        inner = batch.inside(own, virtual=False, clock=_begun(own, item))
        outcome = model.call(inner, one, where)()
        parts.append(closed(model, own, where, outcome, Own(item)))
    if record is None or not record.is_closed:
        raise WaitingError(_waits(parts) or {place.id: "context"})
    scope.clock = max(scope.clock, record.ended or 0)
    if any(not one.has_ended for one in parts):
        model.blame(path, f"is over, and its parts stand at {parts}")
    return [one.shown() for one in parts]


RUNS: Mapping[type[Any], Run] = {
    Again: again,
    Callback: callback,
    Combine: combine,
    Fan: fan,
    Guard: guard,
    Raise: fail,
    Together: together,
    Values: values,
}
