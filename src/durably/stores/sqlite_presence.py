"""Whether the files of an open store are still those at their paths."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from time import monotonic

from durably.errors import StoreReplacedError

_UNSEEN_SECONDS = 0.01
YIELDING_SECONDS = 0.1
"""After so long, whoever has lost the lock's file is certain to look before it writes."""


class HeldFiles:
    """The files that belong to one open store: they must stay what they were when this was made.

    A file that is deleted, moved or replaced while it is open can still be written to. SQLite does
    not notice, and nobody would ever read what is written.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._files = [(path, identity_of(path)) for path in paths]
        self._seen_until = 0.0

    def check(self) -> None:
        """Look, unless the last look was less than 10 ms ago: it takes 10 µs. Raises as `look`."""
        now = monotonic()
        if now >= self._seen_until:
            self.look()
            self._seen_until = now + _UNSEEN_SECONDS

    def look(self) -> None:
        """See that they are there.

        Raises:
            StoreReplacedError: one is not. This is said until it is again.
        """
        for path, identity in self._files:
            if identity_of(path) != identity:
                raise StoreReplacedError(f"{path} was deleted, moved or replaced while it was open")


def identity_of(file: Path | int) -> tuple[int, int] | None:
    """Say which file it is that *file*, a path or a descriptor, names; `None`: none."""
    try:
        found = os.stat(file)  # noqa: PTH116 - of a descriptor, too
    except OSError:
        return None
    return found.st_dev, found.st_ino
