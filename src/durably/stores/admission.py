"""Which changes a store takes. Every store asks here, so that none has rules of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from durably.engine.store import Change, VersionConflict, Wake, WakeAt, WakeUnlessClaimed


def check_call(changes: Sequence[Change]) -> None:
    """Refuse what no store takes, whatever it holds.

    Raises:
        ValueError: two changes are of one execution, or an execution begins without a fact.
    """
    if len(changes) > 1 and len({change.arn for change in changes}) < len(changes):
        raise ValueError("two changes of one call are of the same execution")
    for change in changes:
        if not change.expected_version and not change.facts:
            raise ValueError(f"{change.arn} begins without a fact")


def check_names(changes: Sequence[Change]) -> None:
    """Check new executions against each other.

    Raises:
        VersionConflict: two of them want the same name.
    """
    names: set[tuple[str, str]] = set()
    for change in changes:
        if not change.expected_version:
            if name_of(change) in names:
                raise VersionConflict(change.arn)
            names.add(name_of(change))


def check_change(change: Change, version: int, epoch: int | None) -> None:
    """Check a change of an execution that has *version* facts, none if it does not exist.

    Args:
        change: what is wanted.
        version: what the execution has.
        epoch: the epoch of its claim, `None` if it is not claimed.

    Raises:
        VersionConflict: it comes too late.
    """
    wanted = change.claim_epoch
    if change.expected_version != version or (wanted is not None and wanted != epoch):
        raise VersionConflict(change.arn)


def rests_on_nothing(changes: Sequence[Change]) -> bool:
    """Whether one of *changes* was decided on a change that was not written."""
    return any(change.line is not None and change.line.is_broken for change in changes)


def break_lines(changes: Sequence[Change]) -> None:
    """Note that *changes* were not written, so that nothing is written that rests on them."""
    for change in changes:
        if change.line is not None:
            change.line.is_broken = True


def name_of(change: Change) -> tuple[str, str]:
    """Give what may not be taken when *change* creates an execution."""
    return change.summary.function_name, change.summary.execution_name


def wakes(wake: Wake, *, is_claimed: bool) -> TypeGuard[WakeAt | WakeUnlessClaimed]:
    """Whether a change sets when the execution is due, and with that releases any claim."""
    return isinstance(wake, WakeAt) or (isinstance(wake, WakeUnlessClaimed) and not is_claimed)
