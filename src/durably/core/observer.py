"""What plugins implement to watch executions, and what they are told.

A plugin cannot change what an execution does: what its hooks raise is logged and goes no further.
The hooks and their order are those of the official SDKs' plugins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from datetime import datetime
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec

from durably.core.effects import Attempt, Err, Outcome
from durably.core.journal import Journal, attempts_of, error_of, result_of
from durably.core.op import Op
from durably.core.scope import Scope
from durably.core.wraps import MakeWraps, Wraps
from durably.errors import error_object
from durably.limits import TRACE_ID_RULE, is_trace_id, plain
from durably.wire.operation import ErrorObject, Operation

T = TypeVar("T")


class PluginInvocationStatus(StrEnum):
    """How an invocation ended; RETRYING: it failed, and will be made again."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    PENDING = "PENDING"
    RETRYING = "RETRYING"


class AttemptOutcome(StrEnum):
    """How a piece of user code ended."""

    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class InvocationInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One invocation. At its end *status* is set, and *result* or *execution_error* if closed."""

    request_id: str | None
    execution_arn: str
    is_first_invocation: bool
    execution_start_timestamp: datetime | None
    operations: Mapping[str, Operation]
    updated_operations: Mapping[str, Operation]
    input: str | None = None
    status: PluginInvocationStatus | None = None
    result: str | None = None
    execution_error: ErrorObject | None = None


class OperationInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One operation, as far as it has come. *attempt* counts its finished attempts."""

    id: str
    name: str | None
    type: str
    sub_type: str | None
    parent_id: str | None
    status: str
    start_timestamp: datetime | None = None
    end_timestamp: datetime | None = None
    result: str | None = None
    error: ErrorObject | None = None
    attempt: int | None = None
    is_replay: bool = False


class AttemptInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of a step or a check, or one run of a context's body (*attempt* is `None`)."""

    id: str
    name: str | None
    type: str
    sub_type: str | None
    parent_id: str | None
    attempt: int | None
    start_timestamp: datetime
    end_timestamp: datetime | None = None
    outcome: AttemptOutcome | None = None
    error: ErrorObject | None = None
    is_replay: bool = False
    is_replaying_children: bool = False


class OperationChangeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a reply of the backend has changed, and everything that was known then."""

    execution_arn: str
    updated_operations: Mapping[str, OperationInfo]
    operations: Mapping[str, Operation]


class PropagationInput(msgspec.Struct, frozen=True, kw_only=True):
    """An invoke that is about to be recorded: of which execution, and what it calls."""

    execution_arn: str
    operation_id: str
    target_function_name: str
    parent_operation_id: str | None = None


class PropagationMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What the execution that an invoke starts is to be told; *x_amzn_trace_id*: its trace."""

    x_amzn_trace_id: str | None = None


class DurablePlugin:
    """Override what you want to hear of. Hooks run in the thread of what they report: be quick.

    The three that wrap give a context manager, which is entered and left in the thread or the task
    that runs the code, or nothing. It is told what the code raises, and cannot swallow it.
    """

    def on_invocation_start(self, info: InvocationInfo) -> None:
        """An invocation begins; no user code has run."""

    def on_invocation_end(self, info: InvocationInfo) -> None:
        """An invocation ends, in whatever way."""

    def on_operation_start(self, info: OperationInfo) -> None:
        """An operation is about to be recorded, or is met again before it is over (a replay)."""

    def on_operation_end(self, info: OperationInfo) -> None:
        """An operation has its terminal record: once in the whole execution."""

    def on_operation_attempt_start(self, info: AttemptInfo) -> None:
        """The body of a step, or a condition's check, is about to run."""

    def on_operation_attempt_end(self, info: AttemptInfo) -> None:
        """It has run."""

    def on_user_function_start(self, info: AttemptInfo) -> None:
        """Any user code of an operation is about to run: an attempt, or the body of a context."""

    def on_user_function_end(self, info: AttemptInfo) -> None:
        """It has run."""

    def on_operation_change(self, info: OperationChangeInfo) -> None:
        """Records have changed."""

    def wrap_invocation(self, info: InvocationInfo) -> AbstractContextManager[object] | None:
        """Give what the handler runs in, once for each invocation."""

    def wrap_child_context_fn(self, info: AttemptInfo) -> AbstractContextManager[object] | None:
        """Give what the body of a context other than the handler's runs in."""

    def wrap_operation_attempt_fn(self, info: AttemptInfo) -> AbstractContextManager[object] | None:
        """Give what an attempt of a step, or a condition's check, runs in."""

    def enrich_log_context(self, fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Give fields to add to a record of a durable logger, which has *fields* already."""

    def provide_propagation_metadata(self, info: PropagationInput) -> PropagationMetadata | None:
        """Give what to tell the execution that an invoke starts; asked before it is recorded."""


class PluginFactoryInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a factory may know when it makes the plugin of one invocation."""

    execution_arn: str


PluginFactory: TypeAlias = Callable[[PluginFactoryInfo], DurablePlugin]
Plugin: TypeAlias = DurablePlugin | PluginFactory


class Changes(NamedTuple):
    """Records that have changed, as plugins are told of them, and those of them that are over."""

    info: OperationChangeInfo
    ended: tuple[OperationInfo, ...]


class Observers:
    """The plugins of one invocation, told of what the driver does."""

    __slots__ = ("_asked", "_journal", "_now", "_plugins", "_report")

    def __init__(
        self,
        plugins: Sequence[DurablePlugin],
        journal: Journal,
        now: Callable[[], datetime],
        report: Callable[[DurablePlugin, str, Exception], None],
    ) -> None:
        self._plugins = plugins
        self._journal = journal
        self._now = now
        self._report = report
        self._asked = {
            hook: tuple(plugin for plugin in plugins if _overrides(plugin, hook))
            for hook in _ASKED_HOOKS
        }

    def tell(self, hook: str, info: object) -> None:
        """Call *hook* of every plugin; what one raises is reported, and the others still hear."""
        for plugin in self._plugins:
            try:
                getattr(plugin, hook)(info)
            except Exception as error:  # noqa: BLE001 - a plugin must not end an execution
                self._report(plugin, hook, error)

    def operation_called(self, op: Op, record: Operation | None) -> None:
        """Tell of an operation that was called, unless it is over already."""
        if record is None:
            info = OperationInfo(
                id=op.id,
                name=op.name,
                type=op.type,
                sub_type=op.sub_type,
                parent_id=op.parent_id,
                status="STARTED",
                start_timestamp=self._now(),
                attempt=0,
            )
            self.tell("on_operation_start", info)
        elif not record.is_terminal:
            self.tell("on_operation_start", operation_info(record, is_replay=True))

    def operations_changed(self, changed: Sequence[Operation]) -> None:
        """Tell of records that a reply has changed, and of those that are now over."""
        if changed:
            self.tell_changes(self.changes(changed))

    def changes(self, changed: Sequence[Operation]) -> Changes:
        """Take down what there is to tell of records that have changed just now."""
        infos = {record.id: operation_info(record) for record in changed}
        info = OperationChangeInfo(
            execution_arn=self._journal.arn,
            updated_operations=MappingProxyType(infos),
            operations=self._journal.snapshot(),
        )
        return Changes(info, tuple(infos[record.id] for record in changed if record.is_terminal))

    def tell_changes(self, changes: Changes) -> None:
        """Tell what was taken down."""
        self.tell("on_operation_change", changes.info)
        for ended in changes.ended:
            self.tell("on_operation_end", ended)

    def body_starts(self, place: Attempt | Scope) -> AttemptInfo:
        """Tell that user code is about to run; give what `body_ends` needs."""
        op = place.op
        assert op is not None, "the root's body is told of as the invocation"
        is_attempt = isinstance(place, Attempt)
        info = AttemptInfo(
            id=op.id,
            name=op.name,
            type=op.type,
            sub_type=op.sub_type,
            parent_id=op.parent_id,
            attempt=place.number if isinstance(place, Attempt) else None,
            start_timestamp=self._now(),
            is_replay=isinstance(place, Scope) and place.is_replaying,
            is_replaying_children=isinstance(place, Scope) and place.is_settled,
        )
        if is_attempt:
            self.tell("on_operation_attempt_start", info)
        self.tell("on_user_function_start", info)
        return info

    def body_ends(self, info: AttemptInfo, outcome: Outcome[object]) -> None:
        """Tell that user code has run."""
        error = error_object(outcome.error) if isinstance(outcome, Err) else None
        ended = AttemptInfo(
            id=info.id,
            name=info.name,
            type=info.type,
            sub_type=info.sub_type,
            parent_id=info.parent_id,
            attempt=info.attempt,
            start_timestamp=info.start_timestamp,
            end_timestamp=self._now(),
            outcome=AttemptOutcome.SUCCEEDED if error is None else AttemptOutcome.FAILED,
            error=error,
            is_replay=info.is_replay,
            is_replaying_children=info.is_replaying_children,
        )
        self.tell("on_user_function_end", ended)
        if info.attempt is not None:
            self.tell("on_operation_attempt_end", ended)

    def invocation_wraps(self, info: InvocationInfo) -> MakeWraps | None:
        """Give what makes what the handler runs in; `None` when no plugin wraps it."""
        return self._wraps("wrap_invocation", info)

    def body_wraps(self, info: AttemptInfo) -> MakeWraps | None:
        """Give what makes what an operation's code runs in; `None` when no plugin wraps it."""
        is_context = info.attempt is None
        hook = "wrap_child_context_fn" if is_context else "wrap_operation_attempt_fn"
        return self._wraps(hook, info)

    def _wraps(self, hook: str, info: object) -> MakeWraps | None:
        plugins = self._asked[hook]
        return partial(Wraps, plugins, hook, info, self._report) if plugins else None

    def log_fields(self, fields: Mapping[str, Any], taken: AbstractSet[str]) -> dict[str, Any]:
        """Give what plugins add to a log record with *fields*, under none of the names *taken*."""
        added: dict[str, Any] = {}
        for given in self._answers("enrich_log_context", fields, partial(_as_fields, taken)):
            added.update(given)
        return added

    def trace_of(self, op: Op, function_name: str) -> str | None:
        """Give the trace of the execution that *op*, an invoke, starts: the first one given."""
        info = PropagationInput(
            execution_arn=self._journal.arn,
            operation_id=op.id,
            target_function_name=function_name,
            parent_operation_id=op.parent_id,
        )
        return next(self._answers("provide_propagation_metadata", info, _as_trace), None)

    def _answers(self, hook: str, about: object, read: Callable[[Any], T | None]) -> Iterator[T]:
        """Ask every plugin that has an answer; *read* raises what is wrong with it."""
        for plugin in self._asked[hook]:
            try:
                given = getattr(plugin, hook)(about)
                answer = None if given is None else read(given)
            except Exception as error:  # noqa: BLE001 - a plugin must not end an execution
                self._report(plugin, hook, error)
            else:
                if answer is not None:
                    yield answer


_ASKED_HOOKS = (
    "wrap_invocation",
    "wrap_child_context_fn",
    "wrap_operation_attempt_fn",
    "enrich_log_context",
    "provide_propagation_metadata",
)
"""Those that answer: a plugin that does not override one is not asked."""


def _overrides(plugin: DurablePlugin, hook: str) -> bool:
    return getattr(type(plugin), hook) is not getattr(DurablePlugin, hook)


def _as_fields(taken: AbstractSet[str], given: Any) -> dict[str, Any]:
    fields: dict[Any, Any] = dict(given)
    for name in fields:
        if not isinstance(name, str) or name in taken:
            raise ValueError(f"a log record can have no field {name!r} of a plugin's")
    return fields


def _as_trace(given: PropagationMetadata) -> str | None:
    trace = given.x_amzn_trace_id
    if trace is None or not trace.strip():
        return None
    found = plain(trace)
    if not is_trace_id(found):
        raise ValueError(f"x_amzn_trace_id must be {TRACE_ID_RULE}")
    return found


def operation_info(record: Operation, *, is_replay: bool = False) -> OperationInfo:
    """Say what a plugin may know of *record*."""
    return OperationInfo(
        id=record.id,
        name=record.name,
        type=record.type,
        sub_type=record.sub_type,
        parent_id=record.parent_id,
        status=record.status,
        start_timestamp=record.start_timestamp,
        end_timestamp=record.end_timestamp,
        result=result_of(record),
        error=error_of(record),
        attempt=None if record.step_details is None else attempts_of(record),
        is_replay=is_replay,
    )
