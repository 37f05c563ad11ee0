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
    from durably.testing.replays import (
        Finding,
        NotReplayableError,
        ReplayReport,
        assert_replayable,
        replay_all,
    )
    from durably.testing.runs import RunOperation, TestRun
    from durably.testing.sync_engine import SyncTestEngine

__all__ = [
    "Acting",
    "CrashDifferenceError",
    "CrashMode",
    "CrashReport",
    "FailedRunError",
    "Fake",
    "Finding",
    "ManualClock",
    "NotReplayableError",
    "OperationNotFoundError",
    "ReplayReport",
    "RunOperation",
    "SyncTestEngine",
    "TestEngine",
    "TestRun",
    "UnfinishedRunError",
    "UnmetFakeError",
    "VirtualClock",
    "assert_replayable",
    "replay_all",
]

_MODULES = {
    "Acting": "acting",
    "CrashDifferenceError": "errors",
    "CrashMode": "crashes",
    "CrashReport": "crashes",
    "FailedRunError": "errors",
    "Fake": "fakes",
    "Finding": "replays",
    "ManualClock": "clock",
    "NotReplayableError": "replays",
    "OperationNotFoundError": "errors",
    "ReplayReport": "replays",
    "RunOperation": "runs",
    "SyncTestEngine": "sync_engine",
    "TestEngine": "engine",
    "TestRun": "runs",
    "UnfinishedRunError": "errors",
    "UnmetFakeError": "errors",
    "VirtualClock": "clock",
    "assert_replayable": "replays",
    "replay_all": "replays",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
