"""What tests of durable functions, and of stores, are written with."""

from durably.app.histories import History
from durably.testing.replays import (
    Finding,
    NotReplayableError,
    ReplayReport,
    assert_replayable,
    replay_all,
)

__all__ = [
    "Finding",
    "History",
    "NotReplayableError",
    "ReplayReport",
    "assert_replayable",
    "replay_all",
]
