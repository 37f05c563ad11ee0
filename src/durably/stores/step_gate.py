"""When the code of a step may use the connection that it was given."""

from __future__ import annotations

import threading

from durably.errors import TransactionError

NOT_BY_YOURSELF = (
    "the connection of a step is committed with the step's outcome, so the code in the step must "
    "not {} it. Return from the step to commit, raise to roll back, or use a savepoint"
)
OVER = (
    "the connection of a step was used after the step had ended. Ask for one in each step, and do "
    "not keep it"
)


class Gate:
    """Open from the begin of a transaction to the end of its step.

    Attributes:
        is_closed: the step has ended.
        kept: what must live for as long as code that was given up uses it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self.is_closed = False
        self.kept: object = None

    @property
    def is_busy(self) -> bool:
        """Whether code uses the connection at this moment."""
        return self._users > 0

    def check(self) -> None:
        """Refuse whoever has kept the connection.

        Raises:
            TransactionError: its step has ended.
        """
        if self.is_closed:
            raise TransactionError(OVER)

    def enter(self) -> None:
        """Note that code uses the connection.

        Raises:
            TransactionError: its step has ended.
        """
        with self._lock:
            self.check()
            self._users += 1

    def leave(self) -> bool:
        """Note that it does no more; say whether it was the last, and has to let go of it."""
        with self._lock:
            self._users -= 1
            return self.is_closed and not self._users

    def close(self) -> bool:
        """Let no code use the connection any more; say whether none does at this moment."""
        with self._lock:
            self.is_closed = True
            return not self._users

    def refuse(self, what: str) -> None:
        """Refuse to *commit* and the like while the step runs. After it there is nothing to do.

        Raises:
            TransactionError: it runs.
        """
        if not self.is_closed:
            raise TransactionError(NOT_BY_YOURSELF.format(what))


class NoGate(Gate):
    """Of a connection that is no step's: to end its transaction does nothing."""

    def refuse(self, what: str) -> None:
        """Refuse nothing."""
