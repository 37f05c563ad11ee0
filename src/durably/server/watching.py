"""Noticing that source files have changed: by looking, which works everywhere."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from pathlib import Path

SUFFIXES = frozenset(
    {".cjs", ".cs", ".go", ".java", ".js", ".kt", ".mjs", ".php", ".py", ".rb", ".rs", ".ts"}
)
POLL_SECONDS = 0.5
_MAX_FILES = 20_000
_NOT_OURS = frozenset({"__pycache__", "node_modules", "site-packages", "target", "venv"})

Snapshot = dict[Path, tuple[int, int]]


async def changes(
    folders: Iterable[Path], looking: Callable[[], None] = lambda: None
) -> AsyncGenerator[frozenset[Path]]:
    """Give, for ever, the source files in *folders* that have been changed, made or removed.

    *looking* is told when it has had its first look, and every change from then on is noticed.
    """
    folders = tuple(folders)
    before = await asyncio.to_thread(snapshot, folders)
    looking()
    while True:
        await asyncio.sleep(POLL_SECONDS)
        after = await asyncio.to_thread(snapshot, folders)
        changed = {path for path, _ in before.items() ^ after.items()}
        if changed:
            yield frozenset(changed)
        before = after


def snapshot(folders: Iterable[Path]) -> Snapshot:
    """Say of every source file in *folders* when it was changed, and how long it is."""
    found: Snapshot = {}
    for path in _files(folders):
        try:
            status = path.stat()
        except OSError:
            continue  # it has just been removed
        found[path] = (status.st_mtime_ns, status.st_size)
        if len(found) == _MAX_FILES:
            break
    return found


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for root, names, files in os.walk(folder):
            names[:] = sorted(name for name in names if not _is_foreign(name))
            yield from (Path(root, name) for name in files if Path(name).suffix in SUFFIXES)


def _is_foreign(folder: str) -> bool:
    return folder.startswith(".") or folder in _NOT_OURS
