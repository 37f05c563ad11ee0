"""What tests of durable functions are made with. Importing this loads nothing before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durably.testing.acting import Acting
    from durably.testing.clock import ManualClock, VirtualClock
    from durably.testing.crashes import CrashMode, CrashReport
    from durably.testing.engine import TestEngine
    from durably.testing.errors import (
        CrashDifferenceError,
        FailedRunError,
        OperationNotFoundError,
        UnfinishedRunError,
        UnmetFakeError,
    )
    from durably.testing.fakes import Fake
    from durably.testing.runs import RunOperation, TestRun
    from durably.testing.sync_engine import SyncTestEngine

__all__ = [
    "Acting",
    "CrashDifferenceError",
    "CrashMode",
    "CrashReport",
    "FailedRunError",
    "Fake",
    "ManualClock",
    "OperationNotFoundError",
    "RunOperation",
    "SyncTestEngine",
    "TestEngine",
    "TestRun",
    "UnfinishedRunError",
    "UnmetFakeError",
    "VirtualClock",
]

_MODULES = {
    "Acting": "acting",
    "CrashDifferenceError": "errors",
    "CrashMode": "crashes",
    "CrashReport": "crashes",
    "Fake": "fakes",
    "FailedRunError": "errors",
    "ManualClock": "clock",
    "OperationNotFoundError": "errors",
    "RunOperation": "runs",
    "SyncTestEngine": "sync_engine",
    "TestEngine": "engine",
    "TestRun": "runs",
    "UnfinishedRunError": "errors",
    "UnmetFakeError": "errors",
    "VirtualClock": "clock",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
