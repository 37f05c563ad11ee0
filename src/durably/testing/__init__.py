"""What tests of durable functions are made with. Importing this loads nothing before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durably.testing.clock import ManualClock, VirtualClock
    from durably.testing.engine import TestEngine
    from durably.testing.errors import FailedRunError, OperationNotFoundError, UnfinishedRunError
    from durably.testing.runs import RunOperation, TestRun
    from durably.testing.sync_engine import SyncTestEngine

__all__ = [
    "FailedRunError",
    "ManualClock",
    "OperationNotFoundError",
    "RunOperation",
    "SyncTestEngine",
    "TestEngine",
    "TestRun",
    "UnfinishedRunError",
    "VirtualClock",
]

_MODULES = {
    "FailedRunError": "errors",
    "ManualClock": "clock",
    "OperationNotFoundError": "errors",
    "RunOperation": "runs",
    "SyncTestEngine": "sync_engine",
    "TestEngine": "engine",
    "TestRun": "runs",
    "UnfinishedRunError": "errors",
    "VirtualClock": "clock",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
