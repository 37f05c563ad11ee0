"""Plugins that say in the log what they are told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, NamedTuple

from msgspec.structs import fields

from durably import (
    AttemptInfo,
    DurablePlugin,
    ErrorObject,
    InvocationInfo,
    OperationChangeInfo,
    OperationInfo,
    PluginFactoryInfo,
)
from tests.conformance.handlers.shared import RequirementError

log = logging.getLogger(__name__)

Info = InvocationInfo | OperationInfo | AttemptInfo
View = Callable[[Any], Mapping[str, object]]


class Change(NamedTuple):
    """One of the operations that a reply has changed, and everything else that it has."""

    whole: OperationChangeInfo
    item: OperationInfo


class Watcher(DurablePlugin):
    """Says of each hook that *views* names what its view shows; of the others nothing.

    Args:
        views: by the name of the hook in the log, what is shown of its info.
        types: the types of operations that are spoken of; all of them if there are none.
        name: what the watcher calls itself.
        is_faulty: raise in every hook, when everything is said.
    """

    def __init__(
        self,
        views: Mapping[str, View],
        *,
        types: AbstractSet[str] = frozenset(),
        name: str = "CONFPLUGIN",
        is_faulty: bool = False,
    ) -> None:
        self._views = views
        self._types = types
        self._name = name
        self._is_faulty = is_faulty
        self._arn = ""

    def on_invocation_start(self, info: InvocationInfo) -> None:
        self._arn = info.execution_arn
        for operation in info.updated_operations.values():
            if operation.type in self._types and "updated-on-invoke" in self._views:
                first = info.is_first_invocation
                shown = self._views["updated-on-invoke"](operation)
                self._say("updated-on-invoke", {**shown, "first": first})
        self._tell("invocation-start", info)

    def on_invocation_end(self, info: InvocationInfo) -> None:
        self._tell("invocation-end", info)

    def on_operation_start(self, info: OperationInfo) -> None:
        self._tell_of("operation-start", info)

    def on_operation_end(self, info: OperationInfo) -> None:
        self._tell_of("operation-end", info)

    def on_operation_attempt_start(self, info: AttemptInfo) -> None:
        self._tell_of("attempt-start", info)

    def on_operation_attempt_end(self, info: AttemptInfo) -> None:
        self._tell_of("attempt-end", info)

    def on_user_function_start(self, info: AttemptInfo) -> None:
        self._tell_of("fn-start", info)

    def on_user_function_end(self, info: AttemptInfo) -> None:
        self._tell_of("fn-end", info)

    def on_operation_change(self, info: OperationChangeInfo) -> None:
        for item in info.updated_operations.values():
            if item.type in self._types and "operation-change" in self._views:
                self._say("operation-change", self._views["operation-change"](Change(info, item)))

    def _tell_of(self, hook: str, info: OperationInfo | AttemptInfo) -> None:
        if not self._types or info.type in self._types or info.sub_type in self._types:
            self._tell(hook, info)

    def _tell(self, hook: str, info: Info) -> None:
        if hook in self._views:
            self._say(hook, self._views[hook](info))
            if self._is_faulty:
                raise RequirementError(f"{self._name} fails in {hook}")

    def _say(self, hook: str, said: Mapping[str, object]) -> None:
        line = {"plugin": self._name, "hook": hook, "durableExecutionArn": self._arn, **said}
        log.info("%s: %s", self._name, hook, extra={"fields": line})


def watching(
    views: Mapping[str, View], *types: str, name: str = "CONFPLUGIN", is_faulty: bool = False
) -> Callable[[PluginFactoryInfo], Watcher]:
    """Make a watcher for each invocation."""

    def make(_info: PluginFactoryInfo) -> Watcher:
        return Watcher(views, types=frozenset(types), name=name, is_faulty=is_faulty)

    return make


def of(**names: str) -> View:
    """Show some members of an info, under other names."""

    def view(info: Info) -> dict[str, object]:
        return {name: getattr(info, member) for name, member in names.items()}

    return view


def dump(info: Any) -> dict[str, object]:
    """Show everything that an info has: maps as counts, times as text, errors as messages."""
    shown: dict[str, object] = {}
    for field in fields(info):
        name = _camel(field.name)
        match getattr(info, field.name):
            case None:
                pass
            case datetime() as at:
                shown[name] = at.isoformat()
            case ErrorObject() as error:
                shown[name] = error.error_message
            case Mapping() as operations:
                shown[f"{name}Count"] = len(operations)
            case value:
                shown[name] = value
    return shown


def is_terminal(info: InvocationInfo) -> bool:
    """Whether the invocation was the last."""
    return info.status in {"SUCCEEDED", "FAILED"}


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))
