"""What tests of durable functions are made with. Importing this loads nothing before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durably.app.histories import History
    from durably.testing.clock import ManualClock, VirtualClock
    from durably.testing.engine import TestEngine
    from durably.testing.errors import (
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
    "FailedRunError",
    "Fake",
    "Finding",
    "History",
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
    "History": "durably.app.histories",
    "Finding": "durably.testing.replays",
    "NotReplayableError": "durably.testing.replays",
    "ReplayReport": "durably.testing.replays",
    "assert_replayable": "durably.testing.replays",
    "replay_all": "durably.testing.replays",
    "Fake": "durably.testing.fakes",
    "FailedRunError": "durably.testing.errors",
    "ManualClock": "durably.testing.clock",
    "OperationNotFoundError": "durably.testing.errors",
    "RunOperation": "durably.testing.runs",
    "SyncTestEngine": "durably.testing.sync_engine",
    "TestEngine": "durably.testing.engine",
    "TestRun": "durably.testing.runs",
    "UnfinishedRunError": "durably.testing.errors",
    "UnmetFakeError": "durably.testing.errors",
    "VirtualClock": "durably.testing.clock",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
