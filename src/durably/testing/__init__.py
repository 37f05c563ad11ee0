"""What tests of durable functions are made with. Importing this loads nothing before it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from durably.testing.replays import (
        Finding,
        NotReplayableError,
        ReplayReport,
        assert_replayable,
        replay_all,
    )

__all__ = ["Finding", "NotReplayableError", "ReplayReport", "assert_replayable", "replay_all"]

_MODULES = {
    "Finding": "replays",
    "NotReplayableError": "replays",
    "ReplayReport": "replays",
    "assert_replayable": "replays",
    "replay_all": "replays",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
