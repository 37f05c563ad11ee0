"""Forks: an engine stays with the process that opened it."""

from __future__ import annotations

import os

from durably.errors import InvalidStateError


class Birthplace:
    """The process in which something was made."""

    __slots__ = ("_process_id",)

    def __init__(self) -> None:
        self._process_id = os.getpid()

    @property
    def is_elsewhere(self) -> bool:
        """Whether this process was forked from that one."""
        return os.getpid() != self._process_id

    def check(self) -> None:
        """Refuse to be used in a process that was forked from that one.

        Raises:
            InvalidStateError: this one was.
        """
        if self.is_elsewhere:
            made = f"the engine was opened by process {self._process_id}"
            raise InvalidStateError(
                f"{made}, and this one was forked from it: open another one here"
            )
