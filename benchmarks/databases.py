"""Databases to measure on, engines over them, and how often they were written to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import functions
from durably import DurableFunction
from durably.app.engine import Engine

_WAL_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24


@contextmanager
def folder() -> Iterator[Path]:
    """Give an empty folder, on the disk that `TMPDIR` says."""
    # The local runner writes on after it was closed; the main process removes what is left.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        yield Path(name)


def registered() -> list[DurableFunction]:
    """Give everything that can be run."""
    return [one for one in vars(functions).values() if isinstance(one, DurableFunction)]


def engine(database: Path | None = None) -> Engine:
    """Make an engine over *database*, or in memory."""
    return Engine("memory:" if database is None else f"sqlite:{database}", registered())


def written(database: Path) -> tuple[int, int]:
    """Count the commits in the log of *database*, and the pages that they wrote.

    With synchronous=FULL each commit was synced once. Nothing of the library takes part in the
    counting: a commit's last frame says how large the database is after it, all others say 0. The
    log must not have begun anew since it was made.
    """
    log = Path(f"{database}-wal").read_bytes()
    page_bytes = int.from_bytes(log[8:12], "big")
    salts = log[16:24]
    commits = pages = 0
    for start in range(_WAL_HEADER_BYTES, len(log), _FRAME_HEADER_BYTES + page_bytes):
        header = log[start : start + _FRAME_HEADER_BYTES]
        if header[8:16] != salts:
            break
        pages += 1
        commits += header[4:8] != bytes(4)
    return commits, pages


def bytes_on_disk(database: Path) -> int:
    """Give how large *database* is, with its log."""
    return sum(path.stat().st_size for path in database.parent.glob(f"{database.name}*"))
