"""Starts threads, of which a process may have none left to give."""

from __future__ import annotations

import threading
from collections.abc import Callable

from durably.errors import TerminationReason, UnrecoverableInvocationError


def start_thread(name: str, work: Callable[..., object], *args: object) -> threading.Thread:
    """Start a thread that does *work* with *args*; the process does not wait for it at its exit.

    Raises:
        UnrecoverableInvocationError: there is none to be had, so *work* is not done. That is no
            outcome of it.
    """
    thread = threading.Thread(target=work, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        said = f"no thread for {name}: {error}"
        raise UnrecoverableInvocationError(TerminationReason.CUSTOM, said, error) from error
    return thread
