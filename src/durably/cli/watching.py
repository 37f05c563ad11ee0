"""Looking at an execution and at those that it has invoked, again and again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from durably.app.operations import path_of
from durably.cli.overview import Overview, overview_of
from durably.engine.service import Service
from durably.engine.store import Query
from durably.engine.views import Standing, Why
from durably.wire.execution import CLOSED_STATUSES, ExecutionStatus
from durably.wire.operation import Operation

MAX_CHILDREN_LISTED = 5000
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Child:
    """An invoked execution that has not ended."""

    arn: str
    label: str
    overview: Overview


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What was seen at one moment.

    Attributes:
        counts: of each invoked function, how many executions stand where.
        children: some of the invoked executions that have not ended.
    """

    why: Why
    operations: tuple[Operation, ...]
    overview: Overview
    counts: Mapping[str, Counter[ExecutionStatus]]
    children: tuple[Child, ...] = ()


async def look(service: Service, arn: str, *, max_children: int) -> Sight:
    """Look at an execution, and into up to *max_children* of those that it has invoked."""
    operations = await service.operations(arn)
    overview = overview_of(operations)
    why = await service.why(arn)
    by_id = {operation.id: operation for operation in operations}
    counts: dict[str, Counter[ExecutionStatus]] = {}
    children: list[Child] = []
    if overview.has_invoked:
        for function_name, child_arn, status in await _children(service, arn):
            counts.setdefault(function_name, Counter())[status] += 1
            if status not in CLOSED_STATUSES and len(children) < max_children:
                label = _label_of(child_arn, why, by_id)
                seen = overview_of(await service.operations(child_arn))
                children.append(Child(child_arn, label, seen))
    return Sight(
        why=why,
        operations=operations,
        overview=overview,
        counts=counts,
        children=tuple(children),
    )


async def _children(service: Service, arn: str) -> list[tuple[str, str, ExecutionStatus]]:
    found: list[tuple[str, str, ExecutionStatus]] = []
    after: str | None = None
    while len(found) < MAX_CHILDREN_LISTED:
        page = await service.list(
            Query(parent_arn=arn, oldest_first=True, after=after, limit=_PAGE)
        )
        found += [
            (one.summary.function_name, one.arn, ExecutionStatus(one.summary.status))
            for one in page.executions
        ]
        after = page.next_marker
        if after is None:
            break
    return found


def _label_of(child_arn: str, why: Why, by_id: Mapping[str, Operation]) -> str:
    """Name a child by the invoke that started it: its own name is a hash."""
    for awaited in why.waits_for:
        if awaited.child_arn == child_arn:
            return path_of(awaited.operation, by_id)
    return child_arn.split("/")[-2][:8]


async def is_suspended(service: Service, arn: str) -> bool:
    """Whether nothing goes on in an execution, or in those that it waits for, without an event."""
    seen: set[str] = set()
    to_see = [arn]
    while to_see:
        arn = to_see.pop()
        if arn in seen:
            continue
        seen.add(arn)
        why = await service.why(arn)
        if why.standing in _MOVING:
            return False
        if why.standing is Standing.CLOSED:
            return False  # whoever waits for it is about to be woken
        to_see += [one.child_arn for one in why.waits_for if one.child_arn is not None]
    return True


_MOVING = (Standing.RUNNING, Standing.QUEUED)
