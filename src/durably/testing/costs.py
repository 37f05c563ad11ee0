"""What executions cost where somebody counts: on AWS, operations, checkpoints and bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from durably.engine.limits import SERVICE_MAX_OPERATIONS, SERVICE_MAX_STORED_BYTES
from durably.testing.collected import Collected
from durably.wire.history import Event, EventType

COLLECT_VARIABLE = "DURABLY_COST"
"""Set in the environment, it has the costs of all test runs collected."""

_SENT = frozenset(
    {
        EventType.CONTEXT_STARTED,
        EventType.CONTEXT_SUCCEEDED,
        EventType.CONTEXT_FAILED,
        EventType.STEP_STARTED,
        EventType.STEP_SUCCEEDED,
        EventType.STEP_FAILED,
        EventType.WAIT_STARTED,
        EventType.WAIT_CANCELLED,
        EventType.CALLBACK_STARTED,
        EventType.CHAINED_INVOKE_STARTED,
        EventType.EXECUTION_SUCCEEDED,
        EventType.EXECUTION_FAILED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCost:
    """What one execution has cost so far.

    Attributes:
        title: its function and its name.
        invocations: how often the function was called.
        operations: how many operations it has.
        checkpoints: how many updates it has sent; several may have gone in one request.
        stored_bytes: how much is stored of it.
    """

    title: str
    invocations: int
    operations: int
    checkpoints: int
    stored_bytes: int

    @property
    def over_quota(self) -> tuple[str, ...]:
        """What the managed service would refuse, in words. A local engine takes it."""
        said: list[str] = []
        for much, most, what in (
            (self.operations, SERVICE_MAX_OPERATIONS, "operations"),
            (self.stored_bytes, SERVICE_MAX_STORED_BYTES, "bytes"),
        ):
            if much > most:
                said.append(f"{much:,} {what}: the service takes {most:,}")
        return tuple(said)


def cost_of(title: str, events: Sequence[Event], stored_bytes: int) -> RunCost:
    """Count what has happened to an execution."""
    operations = {event.id for event in events if _is_of_operation(event)}
    return RunCost(
        title=title,
        invocations=sum(one.event_type is EventType.INVOCATION_COMPLETED for one in events),
        operations=len(operations),
        checkpoints=sum(event.event_type in _SENT for event in events),
        stored_bytes=stored_bytes,
    )


def _is_of_operation(event: Event) -> bool:
    return event.id is not None and not event.event_type.startswith(("Execution", "Invocation"))


COLLECTED = Collected[RunCost](COLLECT_VARIABLE)


def cost_lines(costs: Sequence[tuple[str, RunCost]]) -> Iterator[str]:
    """Give a table of *costs*, each with the test that it is of, the highest first."""
    head = ("operations", "checkpoints", "invocations", "bytes")
    yield "  ".join((*(f"{title:>11}" for title in head), "test, execution"))
    for test, cost in sorted(costs, key=lambda one: -one[1].operations):
        counts = (cost.operations, cost.checkpoints, cost.invocations, cost.stored_bytes)
        yield "  ".join((*(f"{count:>11,}" for count in counts), test, cost.title))
        yield from (f"{'':>11}  over quota: {said}" for said in cost.over_quota)
