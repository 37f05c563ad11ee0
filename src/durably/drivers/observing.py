"""Tells plugins of one whole invocation, whichever driver runs it."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec.structs import replace

from durably.clock import Clock
from durably.core.journal import Journal
from durably.core.observer import (
    DurablePlugin,
    InvocationInfo,
    Observers,
    Plugin,
    PluginFactoryInfo,
    PluginInvocationStatus,
)
from durably.core.wraps import MakeWraps
from durably.drivers.logs import package_log
from durably.drivers.outputs import answer_after, closing_update, failed, root_operation
from durably.drivers.settings import RunSettings
from durably.errors import PluginLoadError, UnrecoverableExecutionError
from durably.seams import jitter_from
from durably.wire.invocation import InvocationInput, InvocationOutput
from durably.wire.operation import OperationType
from durably.wire.update import OperationUpdate

PLUGINS_VARIABLE = "DURABLE_EXECUTION_PLUGINS"
ENTRY_POINT_GROUPS = ("durably.plugins", "aws_durable_execution.plugins")


def plugins_named_in(environ: Mapping[str, str]) -> tuple[Plugin, ...]:
    """Load the plugins that the environment names. Each is loaded once in a process.

    Raises:
        PluginLoadError: one cannot be loaded.
    """
    return _named(environ.get(PLUGINS_VARIABLE))


def observers_of(plugins: Sequence[Plugin], journal: Journal, clock: Clock) -> Observers | None:
    """Make what tells *plugins* of one invocation; nothing without any."""
    if not plugins:
        return None
    info = PluginFactoryInfo(execution_arn=journal.arn)
    made = [plugin if isinstance(plugin, DurablePlugin) else plugin(info) for plugin in plugins]
    return Observers(made, journal, clock.now, _report)


def _report(plugin: DurablePlugin, hook: str, error: Exception) -> None:
    package_log.error(
        "a plugin failed, and the execution goes on: %s in %s",
        type(plugin).__name__,
        hook,
        extra={"plugin": type(plugin).__name__, "hook": hook},
        exc_info=error,
    )


@cache
def _named(names: str | None) -> tuple[Any, ...]:
    if names is None:
        return ()
    listed = [name.strip() for name in names.split(",")]
    if "" in listed or len(set(listed)) != len(listed):
        raise PluginLoadError(f"{PLUGINS_VARIABLE} has a blank or a repeated name: {names!r}")
    return tuple(_load(name) for name in listed)


def _load(name: str) -> Any:
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and rarely needed

    for group in ENTRY_POINT_GROUPS:
        for entry_point in entry_points(group=group, name=name):
            try:
                return entry_point.load()
            except Exception as error:
                raise PluginLoadError(f"plugin {name!r} cannot be loaded: {error}") from error
    raise PluginLoadError(f"no plugin {name!r} is installed in {' or '.join(ENTRY_POINT_GROUPS)}")


class Watch(msgspec.Struct):
    """What an invocation answers.

    Attributes:
        output: what it comes to; `None` when it failed, and is to be made again.
        ahead: what goes to the backend before the answer, which is too large to hold it.
        wraps: makes what the handler runs in, if a plugin wraps it.
    """

    output: InvocationOutput | None = None
    ahead: OperationUpdate | None = None
    wraps: MakeWraps | None = None

    def ends_with(self, output: InvocationOutput, now: datetime) -> OperationUpdate | None:
        """Take what the handler answers; give the update that has to be accepted first, if any."""
        self.output = output
        self.ahead = closing_update(output, now)
        return self.ahead

    @property
    def answer(self) -> InvocationOutput:
        """What is answered."""
        assert self.output is not None, "the invocation has ended"
        return self.output if self.ahead is None else answer_after(self.ahead)


@contextmanager
def watched(
    settings: RunSettings, journal: Journal, invocation: InvocationInput, request_id: str | None
) -> Generator[Watch]:
    """Have an invocation run as *settings* say, and tell their plugins of its two ends.

    An error that is the whole execution's ends it here, and is its answer.
    """
    watch = Watch()
    observers = settings.observers
    info = None
    if observers is not None:
        info = _begin(observers, journal, invocation, request_id)
        watch.wraps = observers.invocation_wraps(info)
    try:
        with jitter_from(settings.jitter):
            yield watch
    except UnrecoverableExecutionError as error:
        watch.output, watch.ahead = failed(error), None
    except BaseException:
        watch.output = watch.ahead = None
        raise
    finally:
        if observers is not None and info is not None:
            info = replace(info, operations=journal.snapshot())
            observers.tell("on_invocation_end", _ended(info, watch.output))


def _begin(
    observers: Observers, journal: Journal, invocation: InvocationInput, request_id: str | None
) -> InvocationInfo:
    root = root_operation(journal)
    records = journal.snapshot()
    updated = {
        operation_id: records[operation_id]
        for operation_id in invocation.updated_operation_ids or ()
        if operation_id in records
    }
    others = [record for record in records.values() if record.type is not OperationType.EXECUTION]
    details = None if root is None else root.execution_details
    info = InvocationInfo(
        request_id=request_id,
        execution_arn=journal.arn,
        is_first_invocation=not others,
        execution_start_timestamp=None if root is None else root.start_timestamp,
        operations=records,
        updated_operations=MappingProxyType(updated),
        input=None if details is None else details.input_payload,
    )
    observers.tell("on_invocation_start", info)
    observers.operations_changed(list(updated.values()))
    return info


def _ended(info: InvocationInfo, output: InvocationOutput | None) -> InvocationInfo:
    if output is None:
        return replace(info, status=PluginInvocationStatus.RETRYING)
    return replace(
        info,
        status=PluginInvocationStatus(output.status.value),
        result=output.result,
        execution_error=output.error,
    )
