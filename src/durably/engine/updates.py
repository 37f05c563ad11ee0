"""What the updates of one checkpoint make of an execution: all of them, or a refusal of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from msgspec.structs import replace

from durably.engine import rules
from durably.engine.arns import child_arn
from durably.engine.children import unreachable
from durably.engine.commands import Checkpoint, Surroundings, Target
from durably.engine.due import timers_due
from durably.engine.endings import closed, over_limit, paused_at_last
from durably.engine.execution import Execution
from durably.engine.facts import (
    CallbackStarted,
    CallbackTimedOut,
    ChainedInvokeCancelled,
    ChainedInvokeFailed,
    ChainedInvokeStarted,
    CheckpointAccepted,
    ContextFailed,
    ContextStarted,
    ContextSucceeded,
    ExecutionFailed,
    ExecutionSucceeded,
    Fact,
    StepFailed,
    StepReady,
    StepRetried,
    StepStarted,
    StepSucceeded,
    WaitCancelled,
    WaitStarted,
    WaitSucceeded,
)
from durably.engine.limits import (
    MAX_TARGET,
    check_callback_seconds,
    check_client_token,
    check_content,
    check_delay,
    check_identity,
    check_tenant,
    check_text,
    check_trace_id,
)
from durably.engine.policy import FailurePolicy
from durably.errors import InvalidParameterValueException
from durably.wire.operation import Operation, OperationStatus, OperationType
from durably.wire.update import OperationAction, OperationUpdate

_START = OperationAction.START


def checkpoint(
    execution: Execution, command: Checkpoint, at: int, _policy: FailurePolicy
) -> list[Fact]:
    """Accept a checkpoint of the invocation in flight. No fact: its last one, sent again.

    Raises:
        InvalidParameterValueException: it has no authority (any more), or an update is not legal.
    """
    if command.sequence is not None and _is_repeated(execution, command, command.sequence):
        return []
    _check_authority(execution, command)
    updates = command.updates
    if len(updates) > 1:
        _check_batch(updates)
    due = timers_due(execution, at)
    batch = _Batch(execution, command.surroundings, at, due, has_more=len(updates) > 1)
    for update in updates:
        batch.accept(update)
    facts = batch.facts
    if command.sequence is not None:
        check_client_token(command.client_token)
        facts.append(CheckpointAccepted(at, command.sequence + 1, command.client_token))
    if (closing := _closing(updates)) is not None:
        return facts + _close(execution, closing, at)
    return facts + paused_at_last(execution, at) if execution.pause else facts


def _is_repeated(execution: Execution, command: Checkpoint, sequence: int) -> bool:
    last, now = execution.last_checkpoint, execution.invocation
    if last is None or command.client_token is None:
        return False
    is_over = now is None or now.epoch != command.epoch
    if is_over and _closing(command.updates) is None:
        return False  # nobody of its invocation may still go on
    was = (last.epoch, last.sequence, last.client_token)
    return was == (command.epoch, sequence + 1, command.client_token)


def _closing(updates: tuple[OperationUpdate, ...]) -> OperationUpdate | None:
    is_closing = bool(updates) and updates[-1].type is OperationType.EXECUTION
    return updates[-1] if is_closing else None


def _check_authority(execution: Execution, command: Checkpoint) -> None:
    invocation = execution.invocation
    if (
        invocation is None
        or invocation.epoch != command.epoch
        or not invocation.has_authority
        or (command.sequence is not None and command.sequence != invocation.sequence)
    ):
        raise InvalidParameterValueException(rules.INVALID_TOKEN)


def _check_batch(updates: tuple[OperationUpdate, ...]) -> None:
    """Refuse what can be seen from *updates* alone: their order, and ids that repeat."""
    ends = [n for n, update in enumerate(updates) if update.type is OperationType.EXECUTION]
    if len(ends) > 1:
        raise InvalidParameterValueException(rules.MULTIPLE_EXECUTION_UPDATES)
    if ends and ends[0] != len(updates) - 1:
        raise InvalidParameterValueException(rules.EXECUTION_UPDATE_NOT_LAST)
    seen: dict[str, OperationUpdate | None] = {}
    for update in updates:
        first = seen.get(update.id)
        if first is None:
            if update.id in seen:
                raise InvalidParameterValueException(rules.REPEATED_ID)
            seen[update.id] = update
            continue
        if not _may_follow(first, update):
            raise InvalidParameterValueException(rules.REPEATED_ID)
        seen[update.id] = None


def _may_follow(first: OperationUpdate, second: OperationUpdate) -> bool:
    is_begun = first.action is _START and second.action is not _START
    return is_begun and first.type in (OperationType.STEP, OperationType.CONTEXT)


def _close(execution: Execution, update: OperationUpdate, at: int) -> list[Fact]:
    _check_action(update)
    limit = over_limit(execution, update.payload, update.error)
    if limit is not None:
        raise InvalidParameterValueException(limit)
    if update.action is OperationAction.SUCCEED:
        return closed(execution, at, ExecutionSucceeded(at, update.payload))
    return closed(execution, at, ExecutionFailed(at, update.error))


class _Batch:
    """The facts so far, and the operations as the next update sees them."""

    __slots__ = ("_at", "_changed", "_execution", "_has_more", "_surroundings", "facts")

    def __init__(
        self,
        execution: Execution,
        surroundings: Surroundings,
        at: int,
        due: list[Fact],
        *,
        has_more: bool,
    ) -> None:
        self._has_more = has_more
        self._execution = execution
        self._surroundings = surroundings
        self._at = at
        self._changed: dict[str, Operation] = {}
        self.facts: list[Fact] = due
        for fact in due:
            self._see_moved(fact)

    def _see_moved(self, fact: Fact) -> None:
        assert isinstance(fact, WaitSucceeded | StepReady | CallbackTimedOut), "timers give these"
        operation = self._execution.operations[self._execution.places[fact.id]]
        self._changed[fact.id] = replace(operation, status=_MOVED[type(fact)])

    def accept(self, update: OperationUpdate) -> None:
        before = self._find(update.id)
        if update.parent_id is not None:
            self._check_parent(update.parent_id)
        if before is None:
            check_identity(update)
        check_content(update)
        if update.type is not OperationType.EXECUTION:
            self._accept(update, before)
        elif update.action not in (OperationAction.SUCCEED, OperationAction.FAIL):
            raise InvalidParameterValueException(rules.INVALID_ACTION)

    def _accept(self, update: OperationUpdate, before: Operation | None) -> None:
        kind, action = update.type, update.action
        if before is None:
            state = None
        else:
            state = before.status
            _check_consistency(update, before)
        after = _transition((kind, state, action))
        if after is None:
            text = rules.WRONG_STATE.get((kind, action), rules.INVALID_ACTION)
            raise InvalidParameterValueException(text)
        _check_action(update)
        if before is None and action is not _START:
            # Begun and ended in one update: the history gets both.
            self.facts += _FACTS[kind, _START](self, update)
        self.facts += _FACTS[kind, action](self, update)
        if self._has_more:
            self._changed[update.id] = replace(before or _begun(update), status=after)

    def _find(self, operation_id: str) -> Operation | None:
        changed = self._changed.get(operation_id)
        return self._execution.find_operation(operation_id) if changed is None else changed

    def _check_parent(self, parent_id: str) -> None:
        parent = self._find(parent_id)
        if parent is None or parent.type is not OperationType.CONTEXT:
            raise InvalidParameterValueException(rules.INVALID_PARENT)

    def start_step(self, update: OperationUpdate) -> list[Fact]:
        return [StepStarted(self._at, update.id, update.parent_id, update.name, update.sub_type)]

    def succeed_step(self, update: OperationUpdate) -> list[Fact]:
        return [StepSucceeded(self._at, update.id, update.payload)]

    def fail_step(self, update: OperationUpdate) -> list[Fact]:
        return [StepFailed(self._at, update.id, update.error)]

    def retry_step(self, update: OperationUpdate) -> list[Fact]:
        assert update.step_options is not None, "_check_action has seen to it"
        delay = update.step_options.next_attempt_delay_seconds
        check_delay(delay, "NextAttemptDelaySeconds")
        return [StepRetried(self._at, update.id, delay, update.payload, update.error)]

    def start_context(self, update: OperationUpdate) -> list[Fact]:
        return [ContextStarted(self._at, update.id, update.parent_id, update.name, update.sub_type)]

    def succeed_context(self, update: OperationUpdate) -> list[Fact]:
        options = update.context_options
        replays = options is not None and options.replay_children
        return [ContextSucceeded(self._at, update.id, update.payload, replays)]

    def fail_context(self, update: OperationUpdate) -> list[Fact]:
        return [ContextFailed(self._at, update.id, update.error)]

    def start_wait(self, update: OperationUpdate) -> list[Fact]:
        if update.wait_options is None:
            raise InvalidParameterValueException("WaitOptions is required to START a WAIT.")
        seconds = update.wait_options.wait_seconds
        check_delay(seconds, "WaitSeconds")
        return [
            WaitStarted(
                self._at, update.id, update.parent_id, update.name, update.sub_type, seconds
            )
        ]

    def cancel_wait(self, update: OperationUpdate) -> list[Fact]:
        return [WaitCancelled(self._at, update.id, update.error)]

    def start_callback(self, update: OperationUpdate) -> list[Fact]:
        options = update.callback_options
        timeout = 0 if options is None else options.timeout_seconds
        heartbeat = 0 if options is None else options.heartbeat_timeout_seconds
        check_callback_seconds(timeout, "TimeoutSeconds")
        check_callback_seconds(heartbeat, "HeartbeatTimeoutSeconds")
        return [
            CallbackStarted(
                self._at,
                update.id,
                update.parent_id,
                update.name,
                update.sub_type,
                self._minted(update),
                timeout,
                heartbeat,
            )
        ]

    def start_invoke(self, update: OperationUpdate) -> list[Fact]:
        options = update.chained_invoke_options
        if options is None:
            raise InvalidParameterValueException(
                "ChainedInvokeOptions is required to START a CHAINED_INVOKE."
            )
        check_text(options.function_name, "FunctionName", MAX_TARGET)
        check_tenant(options.tenant_id)
        check_trace_id(options.x_amzn_trace_id)
        found = self._surroundings.find_target(options.function_name)
        target = Target(options.function_name, "") if found is None else found
        child = "" if found is None else self._child_arn(update, found)
        begun = ChainedInvokeStarted(
            self._at,
            update.id,
            update.parent_id,
            update.name,
            update.sub_type,
            target.function_name,
            target.version,
            update.payload,
            options.tenant_id,
            child,
            options.x_amzn_trace_id,
        )
        error = unreachable(self._execution, found, options.function_name)
        if error is None:
            return [begun]
        return [begun, ChainedInvokeFailed(self._at, update.id, error)]

    def _child_arn(self, update: OperationUpdate, target: Target) -> str:
        arn, nonce = self._execution.arn, self._minted(update)
        return child_arn(arn, nonce, target.function_name, target.version)

    def _minted(self, update: OperationUpdate) -> str:
        return self._surroundings.mint_id(f"{self._execution.arn}/{update.id}")

    def cancel_invoke(self, update: OperationUpdate) -> list[Fact]:
        return [ChainedInvokeCancelled(self._at, update.id)]


def _begun(update: OperationUpdate) -> Operation:
    return Operation(
        id=update.id,
        type=update.type,
        status=OperationStatus.STARTED,
        parent_id=update.parent_id,
        name=update.name,
        sub_type=update.sub_type,
    )


def _check_consistency(update: OperationUpdate, before: Operation) -> None:
    """Refuse an update that says something else of its operation than what is recorded."""
    if update.type is not before.type:
        raise InvalidParameterValueException(rules.INCONSISTENT_TYPE)
    if update.sub_type is not None and update.sub_type != before.sub_type:
        raise InvalidParameterValueException(rules.INCONSISTENT_SUB_TYPE)
    if update.name is not None and update.name != before.name:
        raise InvalidParameterValueException(rules.INCONSISTENT_NAME)
    if update.parent_id is not None and update.parent_id != before.parent_id:
        raise InvalidParameterValueException(rules.INCONSISTENT_PARENT)


def _check_action(update: OperationUpdate) -> None:
    """Refuse an update that carries what its action has no place for."""
    action = update.action
    if (update.step_options is not None) is not (action is OperationAction.RETRY):
        raise InvalidParameterValueException(rules.INVALID_STEP_OPTIONS)
    if action is OperationAction.FAIL and update.payload is not None:
        raise InvalidParameterValueException(rules.PAYLOAD_ON_FAIL)
    if action is OperationAction.SUCCEED and update.error is not None:
        raise InvalidParameterValueException(rules.ERROR_ON_SUCCEED)
    if action is OperationAction.RETRY and None not in (update.payload, update.error):
        raise InvalidParameterValueException(rules.ERROR_AND_PAYLOAD_ON_RETRY)


_MOVED: Mapping[type[Fact], OperationStatus] = MappingProxyType(
    {
        WaitSucceeded: OperationStatus.SUCCEEDED,
        StepReady: OperationStatus.READY,
        CallbackTimedOut: OperationStatus.TIMED_OUT,
    }
)

_transition = rules.TRANSITIONS.get

_Accept: TypeAlias = Callable[[_Batch, OperationUpdate], list[Fact]]

_FACTS: Mapping[tuple[OperationType, OperationAction], _Accept] = MappingProxyType(
    {
        (OperationType.STEP, _START): _Batch.start_step,
        (OperationType.STEP, OperationAction.SUCCEED): _Batch.succeed_step,
        (OperationType.STEP, OperationAction.FAIL): _Batch.fail_step,
        (OperationType.STEP, OperationAction.RETRY): _Batch.retry_step,
        (OperationType.CONTEXT, _START): _Batch.start_context,
        (OperationType.CONTEXT, OperationAction.SUCCEED): _Batch.succeed_context,
        (OperationType.CONTEXT, OperationAction.FAIL): _Batch.fail_context,
        (OperationType.WAIT, _START): _Batch.start_wait,
        (OperationType.WAIT, OperationAction.CANCEL): _Batch.cancel_wait,
        (OperationType.CALLBACK, _START): _Batch.start_callback,
        (OperationType.CHAINED_INVOKE, _START): _Batch.start_invoke,
        (OperationType.CHAINED_INVOKE, OperationAction.CANCEL): _Batch.cancel_invoke,
    }
)
