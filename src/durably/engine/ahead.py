"""What an invocation has said and may not be written yet, where other processes write, too.

Somebody else may have changed the execution meanwhile: answered a callback, paused it. What the
invocation said was then refused by the store, though it holds its claim. Nothing is wrong with
it: it is decided anew on what the execution is now, and no body of a step runs again for that.
"""

from __future__ import annotations

import asyncio

from durably.engine.commands import Command
from durably.errors import ApiError


class Said:
    """One command of an invocation.

    Attributes:
        mark: how far into `Execution.changes` it was decided.
        is_awaited: somebody waits for it; otherwise it is durable with what comes after it.
        error: why it was refused, when it was decided anew.
    """

    __slots__ = ("command", "error", "is_awaited", "mark")

    def __init__(self, command: Command, mark: int, *, is_awaited: bool) -> None:
        self.command = command
        self.mark = mark
        self.is_awaited = is_awaited
        self.error: ApiError | None = None


class Ahead:
    """All of them, in order.

    Attributes:
        turn: held by whoever decides them anew.
    """

    __slots__ = ("_said", "turn")

    def __init__(self) -> None:
        self._said: list[Said] = []
        self.turn = asyncio.Lock()

    def note(self, command: Command, mark: int, *, is_awaited: bool) -> Said:
        """Note that *command* has been said."""
        said = Said(command, mark, is_awaited=is_awaited)
        self._said.append(said)
        return said

    def is_open(self, said: Said) -> bool:
        """Whether *said* is neither durable nor refused."""
        return any(one is said for one in self._said)

    def first(self) -> Said | None:
        """Give what was said first."""
        return self._said[0] if self._said else None

    def settle(self, said: Said) -> None:
        """Note that *said* is durable or refused, and with it all before that nobody waits for."""
        place = next((place for place, one in enumerate(self._said) if one is said), None)
        if place is not None:
            earlier = [one for one in self._said[:place] if one.is_awaited]
            self._said[: place + 1] = earlier
