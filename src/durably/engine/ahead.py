"""What an invocation has said and may not be written yet, where other processes write, too.

Somebody else may have changed the execution meanwhile: answered a callback, paused it. What the
invocation said was then refused by the store, though it holds its claim. Nothing is wrong with
it: it is decided anew on what the execution is now, and no body of a step runs again for that.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import count

from durably.engine.commands import Command
from durably.errors import ApiError


class Said:
    """One command of an invocation.

    Attributes:
        is_awaited: somebody waits for it; otherwise it is durable with what comes after it.
        is_once: it is not decided anew: what it was to be durable with is undone.
        is_open: it is neither durable nor refused.
        place: among all that the invocation has said.
        error: why it was refused, when it was decided anew.
    """

    __slots__ = ("_ahead", "command", "error", "is_awaited", "is_once", "is_open", "place")

    def __init__(
        self, ahead: Ahead, place: int, command: Command, *, is_awaited: bool, is_once: bool
    ) -> None:
        self._ahead = ahead
        self.place = place
        self.command = command
        self.is_awaited = is_awaited
        self.is_once = is_once
        self.is_open = True
        self.error: ApiError | None = None

    def settle(self) -> None:
        """Note that it is durable, and with it all before that nobody waits for."""
        self._ahead.settle(self)

    def withdraw(self) -> None:
        """Note that it was refused. What was said before may be on its way yet."""
        self._ahead.withdraw(self)


class Ahead:
    """All of them that are open, in order. Thousands may be.

    Attributes:
        turn: held by whoever decides them anew.
        is_behind: that is under way; what is said now comes after it.
    """

    __slots__ = ("_places", "_posted", "_said", "is_behind", "turn")

    def __init__(self) -> None:
        self._places = count()
        self._said: dict[Said, None] = {}
        self._posted: deque[Said] = deque()  # nobody waits for these
        self.turn = asyncio.Lock()
        self.is_behind = False

    def note(self, command: Command, *, is_awaited: bool, is_once: bool = False) -> Said:
        """Note that *command* has been said."""
        place = next(self._places)
        said = Said(self, place, command, is_awaited=is_awaited, is_once=is_once)
        self._said[said] = None
        if not is_awaited:
            self._posted.append(said)
        return said

    def first(self) -> Said | None:
        """Give what was said first."""
        return next(iter(self._said), None)

    def settle(self, said: Said) -> None:
        """See `Said.settle`."""
        if said.is_open:
            while self._posted and self._posted[0].place < said.place:
                self.withdraw(self._posted.popleft())
            self.withdraw(said)

    def withdraw(self, said: Said) -> None:
        """See `Said.withdraw`."""
        if said.is_open:
            del self._said[said]
            said.is_open = False
