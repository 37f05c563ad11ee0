"""Lets attempts of steps run one after the other, in an order that is chosen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from durably.clock import Timer
from durably.errors import ValidationError
from durably.testing.clock import Turns

_THREADS_SECONDS = 0.005
_PATIENCE_SECONDS = 0.2


class Order:
    """Which of those that could go first does, time after time.

    Args:
        choices: the places of the first ones; then *chance* chooses, or it is always the first.

    Attributes:
        made: the choices so far, each with how many there were to choose from.
    """

    def __init__(self, choices: Sequence[int] = (), chance: Random | None = None) -> None:
        self._choices = list(choices)
        self._chance = chance
        self.made: list[tuple[int, int]] = []

    def __str__(self) -> str:
        return ",".join(str(choice) for choice, _ in self.made)

    @classmethod
    def read(cls, text: str) -> Order:
        """Give the order that `str` says so.

        Raises:
            ValidationError: *text* is none.
        """
        try:
            return cls([int(choice) for choice in text.split(",")])
        except ValueError:
            said = f"must be as a failure names it, such as 'order 1,0', not {text!r}"
            raise ValidationError("only", said) from None

    def choose(self, count: int) -> int:
        """Choose one of *count*; where there is nothing to choose nothing is noted."""
        if count == 1:
            return 0
        place = len(self.made)
        choice = 0
        if place < len(self._choices):
            choice = min(self._choices[place], count - 1)
        elif self._chance is not None:
            choice = self._chance.randrange(count)
        self.made.append((choice, count))
        return choice

    def following(self) -> list[int] | None:
        """Give the choices of the order after this one; `None` when this is the last."""
        for place in range(len(self.made) - 1, -1, -1):
            choice, count = self.made[place]
            if choice + 1 < count:
                return [*(earlier for earlier, _ in self.made[:place]), choice + 1]
        return None


class Gate:
    """Opens for one at a time, when everybody who could come has come.

    One that does not leave for a while is taken to wait for another, and lets it pass.

    Args:
        order: who goes first.
        is_threaded: those who come are threads, which the event loop does not see coming.
    """

    def __init__(self, order: Order, *, is_threaded: bool) -> None:
        self._order = order
        self._is_threaded = is_threaded
        self._loop = asyncio.get_running_loop()
        self._waiting: list[asyncio.Future[None]] = []
        self._inside = 0
        self._is_closed = False
        self._lull: Timer | None = None

    async def enter(self) -> None:
        """Wait to be let in.

        Raises:
            CancelledError: nobody is, any more.
        """
        if self._is_closed:
            raise asyncio.CancelledError
        let_in = self._loop.create_future()
        self._waiting.append(let_in)
        self._look()
        try:
            await let_in
        finally:
            if let_in in self._waiting:
                self._waiting.remove(let_in)

    def leave(self) -> None:
        """Let the next one in."""
        self._inside -= 1
        self._look()

    def close(self) -> None:
        """Open for nobody any more: the process is dead, or has ended."""
        self._is_closed = True
        if self._lull is not None:
            self._lull.cancel()
        for let_in in self._waiting:
            let_in.cancel()

    def _look(self) -> None:
        """Open as soon as nobody else comes."""
        if self._is_closed:
            return
        if self._lull is not None:
            self._lull.cancel()
        if self._is_threaded:
            self._lull = self._loop.call_later(_THREADS_SECONDS, self._open)
        else:
            self._lull = Turns(self._loop, self._open)

    def _open(self) -> None:
        if not self._inside:
            self._let_in()
        else:
            self._lose_patience()

    def _lose_patience(self) -> None:
        if self._waiting:
            self._lull = self._loop.call_later(_PATIENCE_SECONDS, self._let_in)

    def _let_in(self) -> None:
        coming = [one for one in self._waiting if not one.done()]  # others were cancelled
        if coming:
            let_in = coming[self._order.choose(len(coming))]
            self._waiting.remove(let_in)
            let_in.set_result(None)
            self._inside += 1
            self._lose_patience()
