from collections.abc import Sequence
from typing import Any

import pytest

from durably.core.effects import Attempt, Err, Ok
from durably.core.journal import Journal
from durably.core.observer import (
    AttemptInfo,
    AttemptOutcome,
    DurablePlugin,
    Observers,
    OperationChangeInfo,
    OperationInfo,
)
from durably.core.scope import Scope
from durably.wire.operation import ErrorObject, OperationStatus, StepDetails
from tests.unit.core.support import CONTEXT, LATER, NOW, STEP, an_op, journal_of, record, scope_of

HOOKS = (
    "on_invocation_start",
    "on_invocation_end",
    "on_operation_start",
    "on_operation_end",
    "on_operation_attempt_start",
    "on_operation_attempt_end",
    "on_user_function_start",
    "on_user_function_end",
    "on_operation_change",
)


class Noting(DurablePlugin):
    """Notes every hook with what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def __getattribute__(self, name: str) -> Any:
        if name in HOOKS:
            return lambda info: self.told.append((name, info))
        return object.__getattribute__(self, name)

    @property
    def hooks(self) -> list[str]:
        return [hook for hook, _ in self.told]


def observed(journal: Journal | None = None) -> tuple[Observers, Noting]:
    plugin = Noting()
    return Observers([plugin], journal or journal_of(), lambda: NOW, must_not_report), plugin


def must_not_report(plugin: DurablePlugin, hook: str, error: Exception) -> None:
    pytest.fail(f"{hook}: {error}")


def test_a_plugin_that_overrides_nothing_hears_nothing() -> None:
    observers = Observers([DurablePlugin()], journal_of(), lambda: NOW, must_not_report)

    for hook in HOOKS:
        observers.tell(hook, None)


def test_a_plugin_that_fails_is_reported_and_the_others_still_hear() -> None:
    class Broken(DurablePlugin):
        def on_invocation_start(self, info: object) -> None:
            raise KeyError("mine")

    reported = []
    noting = Noting()
    observers = Observers(
        [Broken(), noting],
        journal_of(),
        lambda: NOW,
        lambda plugin, hook, error: reported.append((type(plugin), hook, str(error))),
    )

    observers.tell("on_invocation_start", "info")

    assert reported == [(Broken, "on_invocation_start", "'mine'")]
    assert noting.told == [("on_invocation_start", "info")]


def test_a_new_operation_starts_and_is_no_replay() -> None:
    observers, plugin = observed()

    observers.operation_called(STEP, None)

    assert plugin.told == [
        (
            "on_operation_start",
            OperationInfo(
                id=STEP.id,
                name="work",
                type="STEP",
                sub_type="Step",
                parent_id=None,
                status="STARTED",
                start_timestamp=NOW,
                attempt=0,
            ),
        )
    ]


def test_an_open_operation_that_is_met_again_starts_as_a_replay() -> None:
    observers, plugin = observed()

    observers.operation_called(STEP, record(STEP, OperationStatus.STARTED))

    ((hook, info),) = plugin.told
    assert (hook, info.is_replay, info.attempt) == ("on_operation_start", True, None)


def test_a_terminal_operation_that_is_met_again_is_not_announced() -> None:
    observers, plugin = observed()

    observers.operation_called(STEP, record(STEP, OperationStatus.FAILED))

    assert plugin.told == []


def test_changes_are_told_with_everything_known_and_ends_once_each() -> None:
    over = record(
        STEP,
        OperationStatus.SUCCEEDED,
        start_timestamp=NOW,
        end_timestamp=LATER,
        step_details=StepDetails(attempt=1, result="7"),
    )
    still_open = record(an_op(step_id="2"), OperationStatus.STARTED)
    observers, plugin = observed(journal_of(over, still_open))

    observers.operations_changed([over, still_open])

    info = OperationInfo(
        id=STEP.id,
        name="work",
        type="STEP",
        sub_type="Step",
        parent_id=None,
        status="SUCCEEDED",
        start_timestamp=NOW,
        end_timestamp=LATER,
        result="7",
        attempt=1,
    )
    change = plugin.told[0][1]
    assert isinstance(change, OperationChangeInfo)
    assert change.updated_operations[over.id] == info
    assert change.operations == {over.id: over, still_open.id: still_open}
    assert plugin.hooks == ["on_operation_change", "on_operation_end"]


@pytest.mark.parametrize("changed", [(), []])
def test_no_change_is_not_told(changed: Sequence[Any]) -> None:
    observers, plugin = observed()

    observers.operations_changed(changed)

    assert plugin.told == []


def test_an_attempt_is_told_around_its_body() -> None:
    observers, plugin = observed()

    info = observers.body_starts(Attempt(STEP, 2))
    observers.body_ends(info, Err(ValueError("no")))

    assert plugin.hooks == [
        "on_operation_attempt_start",
        "on_user_function_start",
        "on_user_function_end",
        "on_operation_attempt_end",
    ]
    ended = plugin.told[-1][1]
    assert isinstance(ended, AttemptInfo)
    assert (ended.attempt, ended.outcome) == (2, AttemptOutcome.FAILED)
    assert ended.error == ErrorObject(error_type="ValueError", error_message="no")
    assert ended.end_timestamp == NOW


def test_the_body_of_a_context_is_user_code_and_no_attempt() -> None:
    observers, plugin = observed()
    settled: Scope = scope_of().child(CONTEXT, is_settled=True)

    info = observers.body_starts(settled)
    observers.body_ends(info, Ok(1))

    assert plugin.hooks == ["on_user_function_start", "on_user_function_end"]
    ended = plugin.told[-1][1]
    assert (ended.attempt, ended.outcome, ended.error) == (None, AttemptOutcome.SUCCEEDED, None)
    assert (ended.is_replay, ended.is_replaying_children) == (True, True)
