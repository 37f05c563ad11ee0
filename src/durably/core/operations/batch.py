"""A map or a parallel: branches beside each other, with one result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from durably.batch_result import (
    BatchCompletionReason,
    BatchItem,
    BatchItemStatus,
    BatchResult,
)
from durably.config import ChildConfig, CompletionConfig
from durably.core.effects import Drop, Ok, Outcome, Persist, Program, Spawn, next_ended
from durably.core.fanout import FanOut, PredicateError
from durably.core.journal import error_of, result_of
from durably.core.op import Op
from durably.core.operations.child import (
    MAX_CONTEXT_RESULT_BYTES,
    child,
    has_children_to_replay,
)
from durably.core.operations.values import SUMMARY_MAKER, seal, unseal, within_limit
from durably.core.scope import Scope
from durably.errors import (
    ChildContextError,
    TerminationReason,
    UnrecoverableError,
    UnrecoverableExecutionError,
    error_object,
)
from durably.serdes import Serdes, storable
from durably.wire.operation import OperationStatus, OperationType
from durably.wire.update import OperationUpdate


class Branch(msgspec.Struct, frozen=True):
    """One path of a fan-out."""

    name: str | None
    body: Callable[..., Any]
    serdes: Serdes[Any]


class Plan(msgspec.Struct, frozen=True):
    """What a fan-out runs, and by which rules."""

    branches: Sequence[Branch]
    branch_sub_type: str
    completion: CompletionConfig
    max_concurrency: int | None
    is_flat: bool
    serdes: Serdes[BatchResult[Any]]
    summary_generator: Callable[[BatchResult[Any]], str] | None = None


class _Summary(msgspec.Struct, frozen=True, rename="camel"):
    """What is recorded of a batch whose result is too large to be."""

    type: str
    total_count: int
    success_count: int
    failure_count: int
    started_count: int
    completion_reason: BatchCompletionReason
    status: str
    item_statuses: str
    summary: str | None = None


_LETTERS = {
    BatchItemStatus.SUCCEEDED: "S",
    BatchItemStatus.FAILED: "F",
    BatchItemStatus.STARTED: "-",
}


_End: TypeAlias = Ok[Any] | ChildContextError


def batch(scope: Scope, op: Op, plan: Plan) -> Program[BatchResult[Any]]:
    """Run the branches until the completion rules are met, then record what came of each."""
    journal = scope.journal
    fresh: BatchResult[Any] | None = None
    while True:
        record = journal.find(op.id)
        if record is None:
            journal.begin(op)
            yield Persist(op.start(), wait=False)
            continue
        match record.status:
            case OperationStatus.SUCCEEDED:
                if fresh is not None:
                    return fresh
                if has_children_to_replay(record):
                    return (yield from _rebuild(scope, op, plan, result_of(record)))
                return unseal(plan.serdes, result_of(record), op, journal)
            case OperationStatus.STARTED:
                update, fresh = yield from _conclude(scope, op, plan)
                yield Persist(update, wait=True)
            case _:
                raise ChildContextError.from_wire(str(op), error_of(record))


def _conclude(
    scope: Scope, op: Op, plan: Plan
) -> Program[tuple[OperationUpdate, BatchResult[Any] | None]]:
    inner = _inside(scope, op)
    try:
        result = yield from _run(inner, plan)
        verdict = _verdict(scope, op, plan, result)
    except PredicateError as failed:
        verdict = op.fail(error_object(failed.error)), None
    inner.is_closed = True
    yield Drop()
    return verdict


def _inside(scope: Scope, op: Op, *, is_settled: bool = False) -> Scope:
    """Open what the branches lie in. No code runs in it, so it makes them no deeper."""
    inner = scope.child(op, is_settled=is_settled)
    inner.depth = scope.depth
    return inner


def _run(inner: Scope, plan: Plan) -> Program[BatchResult[Any]]:
    names = [branch.name for branch in plan.branches]
    ends: dict[int, _End] = {}
    fan_out = FanOut(names, plan.completion, plan.max_concurrency)
    while (reason := fan_out.reason()) is None:
        index = fan_out.start_next()
        if index is not None:
            yield _spawn(inner, plan, index)
            continue
        index = yield from _next_recorded(ends)
        fan_out.end(index, has_failed=not isinstance(ends[index], Ok))
    return BatchResult(
        all=tuple(_item(index, ends.get(index)) for index in range(fan_out.started)),
        completion_reason=reason,
    )


def _spawn(inner: Scope, plan: Plan, index: int) -> Spawn:
    branch = plan.branches[index]
    op = inner.allot(branch.name, OperationType.CONTEXT, plan.branch_sub_type)
    config: ChildConfig[Any] = ChildConfig(is_virtual=plan.is_flat)
    return Spawn(index, inner, op, lambda: child(inner, op, branch.body, config, branch.serdes))


def _next_recorded(ends: dict[int, _End]) -> Program[int]:
    """Wait for one more branch, note how it ended, and say which it was."""
    index, outcome = yield from next_ended()
    ends[index] = _recorded(outcome)
    return index


def _recorded(outcome: Outcome[Any]) -> _End:
    """Give how a branch ended; what is not recorded of it is no end, and the caller's to know.

    Raises:
        Exception: what the branch raised, such as `ContextUsageError`.
    """
    if isinstance(outcome, Ok):
        return outcome
    if isinstance(outcome.error, ChildContextError):
        return outcome.error
    raise outcome.error


def _item(index: int, end: _End | None) -> BatchItem[Any]:
    match end:
        case None:
            return BatchItem(index=index, status=BatchItemStatus.STARTED)
        case Ok(value):
            return BatchItem(index=index, status=BatchItemStatus.SUCCEEDED, result=value)
        case error:
            return BatchItem(index=index, status=BatchItemStatus.FAILED, error=error)


def _verdict(
    scope: Scope, op: Op, plan: Plan, result: BatchResult[Any]
) -> tuple[OperationUpdate, BatchResult[Any] | None]:
    try:
        text, fresh = seal(plan.serdes, result, op, scope.journal)
        if len(text.encode()) <= MAX_CONTEXT_RESULT_BYTES:
            return op.succeed(text), fresh
        return op.succeed_with_children(_summarise(op, plan, result)), result
    except UnrecoverableError:
        raise
    except Exception as error:  # noqa: BLE001 - the user's serdes and summary may raise anything
        return op.fail(error_object(error)), None


def _summarise(op: Op, plan: Plan, result: BatchResult[Any]) -> str:
    added: str | None = None
    if plan.summary_generator is not None:
        added = storable(plan.summary_generator(result), SUMMARY_MAKER)
    summary = _Summary(
        type=f"{op.sub_type}Result",
        total_count=result.total_count,
        success_count=result.success_count,
        failure_count=result.failure_count,
        started_count=result.started_count,
        completion_reason=result.completion_reason,
        status=result.status,
        item_statuses="".join(_LETTERS[item.status] for item in result.all),
        summary=added,
    )
    return within_limit(msgspec.json.encode(summary).decode(), op)


def _rebuild(scope: Scope, op: Op, plan: Plan, text: str | None) -> Program[BatchResult[Any]]:
    """Read a large result back from the records of its items."""
    try:
        summary = msgspec.json.decode(text or "", type=_Summary)
    except msgspec.DecodeError as error:
        said = f"the summary of {op} cannot be read: {error}"
        raise UnrecoverableExecutionError(TerminationReason.SERDES_FAILED, said, error) from error
    inner = _inside(scope, op, is_settled=True)
    letters = summary.item_statuses
    spawns = [_spawn(inner, plan, index) for index in range(len(letters))]
    ended = [
        spawn
        for spawn, letter in zip(spawns, letters, strict=True)
        if letter != _LETTERS[BatchItemStatus.STARTED]
    ]
    ends: dict[int, _End] = {}
    for count, spawn in enumerate(ended):
        if plan.max_concurrency is not None and count >= plan.max_concurrency:
            yield from _next_recorded(ends)
        yield spawn
    while len(ends) < len(ended):
        yield from _next_recorded(ends)
    return BatchResult(
        all=tuple(_item(index, ends.get(index)) for index in range(len(letters))),
        completion_reason=summary.completion_reason,
    )
