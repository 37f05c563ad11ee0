"""Every history that was ever recorded replays with every later version, to its recorded end."""

from __future__ import annotations

from pathlib import Path

import pytest

from durably.app.histories import History
from durably.testing.replays import assert_replayable
from tests.histories.record import HISTORIES

FILES = sorted(Path(__file__).parent.glob("*.jsonl"))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recorded_history_replays(file: Path) -> None:
    function, _ = HISTORIES[file.stem]

    assert_replayable(History.read(file), function, same_end=True)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_is_written_as_it_was_read(file: Path) -> None:
    assert History.read(file).text == file.read_text()


def test_every_history_is_there() -> None:
    assert [file.stem for file in FILES] == sorted(HISTORIES)
