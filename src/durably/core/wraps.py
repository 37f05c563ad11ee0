"""What plugins put around user code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeAlias

Report: TypeAlias = Callable[[Any, str, Exception], None]
"""Told of a plugin that has failed, in which hook and how."""


class Wraps:
    """Enters what each plugin puts around a piece of user code, and leaves it again.

    What it raises is reported and goes no further, and it cannot swallow what the code raises.
    """

    __slots__ = ("_entered", "_hook", "_info", "_plugins", "_report")

    def __init__(self, plugins: Sequence[Any], hook: str, info: object, report: Report) -> None:
        self._plugins = plugins
        self._hook = hook
        self._info = info
        self._report = report
        self._entered: list[tuple[Any, AbstractContextManager[object]]] = []

    def __enter__(self) -> None:
        for plugin in self._plugins:
            try:
                manager = getattr(plugin, self._hook)(self._info)
                if manager is not None:
                    manager.__enter__()
                    self._entered.append((plugin, manager))
            except Exception as error:  # noqa: BLE001 - a plugin must not end an execution
                self._report(plugin, self._hook, error)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for plugin, manager in reversed(self._entered):
            try:
                manager.__exit__(kind, error, traceback)
            except BaseException as raised:
                if raised is error:
                    continue  # it goes on by itself
                if not isinstance(raised, Exception):
                    raise
                self._report(plugin, self._hook, raised)


MakeWraps: TypeAlias = Callable[[], Wraps]
