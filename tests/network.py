"""Where tests may connect to: S15. A hook of the process sees every attempt, and refuses most.

It is of this process alone: what a test starts as a process of its own is not held to it.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from durably.server.access import is_loopback

Address: TypeAlias = tuple[str, int]


class OutboundError(ConnectionRefusedError):
    """A test has connected to another machine.

    It is the error that whoever connects is prepared for, and may survive: it is told at the end.
    """


class _Guard:
    """What the hook does at the moment."""

    def __init__(self) -> None:
        self.is_on = False
        self.is_installed = False
        self.configured: set[Address] = set()
        self.attempts: list[Any] = []
        self.refused: list[Any] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on or event not in {"socket.connect", "socket.sendto"}:
            return
        made, address = arguments
        self.attempts.append(address)
        if not self._is_allowed(made, address):
            self.refused.append(address)
            raise OutboundError(f"{address} is not of this machine, and was not configured")

    def _is_allowed(self, made: socket.socket, address: Any) -> bool:
        if made.family not in {socket.AF_INET, socket.AF_INET6}:
            return True
        host, port = address[:2]
        return host == "localhost" or is_loopback(host) or (host, port) in self.configured


_guard = _Guard()


def is_guarded() -> bool:
    """Whether connections to other machines are refused now."""
    return _guard.is_on and _guard.is_installed


@contextmanager
def only_this_machine(*configured: Address) -> Iterator[list[Any]]:
    """Refuse connections to other machines but *configured*; give the addresses that are tried.

    Raises:
        AssertionError: at the end, if one was refused, whatever became of the refusal.
    """
    if not _guard.is_installed:  # a hook cannot be taken out again
        _guard.is_installed = True
        sys.addaudithook(_guard)
    before = _guard.is_on, _guard.configured, _guard.attempts, _guard.refused
    refused: list[Any] = []
    _guard.is_on, _guard.configured = True, {*configured, *before[1]}
    _guard.attempts, _guard.refused = [], refused
    try:
        yield _guard.attempts
    finally:
        _guard.is_on, _guard.configured, _guard.attempts, _guard.refused = before
    assert not refused, f"connections to other machines were refused: {refused}"
