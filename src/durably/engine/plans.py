"""What has been decided about executions, on its way to the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from durably.engine.attempts import tell_of_retry
from durably.engine.commands import BeginInvocation, Command, EndInvocation, FailInvocation
from durably.engine.execution import Execution
from durably.engine.facts import (
    ChainedInvokeStarted,
    Fact,
    InvocationRetryScheduled,
    Parked,
    StepRetried,
)
from durably.engine.store import Change, Stored
from durably.engine.tally import Tally
from durably.engine.tips import CLOSING, Audience, Push, Tip

_GIVING_UP = (BeginInvocation, EndInvocation, FailInvocation)
"""With one of these an owner gives up the claim, unless its invocation is in flight after it."""

NOTABLE = frozenset({*CLOSING, ChainedInvokeStarted, InvocationRetryScheduled, Parked, StepRetried})
"""What has consequences beyond the execution itself, or is counted or told of."""


class ParentNeeded(Exception):  # noqa: N818 - not an error: pin it, and decide again
    """The command ends a child, and its parent's state is not at hand to complete the invoke."""


@dataclass(slots=True)
class Plan:
    """What has been decided and is to be written.

    Attributes:
        pushes: what an invocation running here is to be told, once it is durable.
        settled: the executions that this closes, as they are then, or parks.
        on_durable: called at once when it is, even if whoever wrote it waits no more.
        retries: of how many this says that a failed invocation is to be made again.
    """

    tips: tuple[Tip, ...]
    changes: tuple[Change, ...]
    pushes: tuple[tuple[Audience, Push], ...] = ()
    settled: tuple[tuple[str, Execution | None], ...] = ()
    on_durable: Callable[[], None] | None = None
    retries: int = 0

    def is_in(self, stored: Stored | None) -> bool:
        """Whether it was written, by what is *stored* of the execution that it changes first."""
        change = self.changes[0]
        place = slice(change.expected_version, change.expected_version + len(change.facts))
        return stored is not None and stored.facts[place] == change.facts

    def note(self, execution: Execution, fact: Fact) -> None:
        """Take in that *fact* of *execution* is to be written: a failure, or what ends it."""
        if isinstance(fact, StepRetried):
            tell_of_retry(execution, fact)
        elif isinstance(fact, InvocationRetryScheduled):
            self.retries += 1
        else:
            self.settled += ((execution.arn, execution if type(fact) in CLOSING else None),)

    def count_in(self, tally: Tally) -> None:
        """Count what this has brought about, now that it is durable."""
        tally.retries += self.retries
        tally.parkings += sum(closed is None for _, closed in self.settled)


def gives_up(tip: Tip, command: Command) -> bool:
    """Whether a claim is given up with *command*, because nothing is in flight under it."""
    if not isinstance(command, _GIVING_UP):
        return False
    if tip.session is not None and tip.session.epoch > command.epoch:
        return False  # somebody here has claimed it since
    invocation = tip.execution.invocation
    return invocation is None or invocation.epoch != command.epoch
