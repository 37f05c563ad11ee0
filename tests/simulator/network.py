"""What places ask of each other: late, lost, twice, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import Any, Generic, TypeVar

from durably.core.effects import Err, Ok, Outcome
from durably.errors import TooManyRequestsException
from tests.simulator.loop import Place
from tests.simulator.stage import Stage

T = TypeVar("T")

PATIENCE_SECONDS = 5.0


class LostError(ConnectionError):
    """No reply came. Whether the request was carried out is not known.

    Attributes:
        is_carried_out: in truth.
    """

    is_carried_out = False


class Repeats(Enum):
    """Whether a request may arrive a second time: never, when the first is done, or at any time."""

    NEVER = 0
    AFTERWARDS = 1
    ANY_TIME = 2


class Network:
    """Carries requests from one place to another.

    Attributes:
        cut_off: the places that nobody reaches, and who reach nobody.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.cut_off: set[Place] = set()

    async def ask(
        self,
        to: Place,
        work: Callable[[], Coroutine[Any, Any, T]],
        *,
        execution: str = "",
        patience: float = PATIENCE_SECONDS,
        repeats: Repeats = Repeats.AFTERWARDS,
    ) -> T:
        """Have *work* done at *to*, and give what comes of it.

        Raises:
            LostError: no reply came.
            TooManyRequestsException: it was not even tried.
            Exception: whatever *work* raises.
        """
        if self.stage.faults.hits("throttled", execution=execution):
            raise TooManyRequestsException(
                "Rate exceeded: the quota is invalid."
            )  # its text misleads
        request = _Request(self, to, work, execution, repeats)
        if not self.stage.faults.hits("request is lost", execution=execution):
            self.later(request.arrive, execution)
        giving_up = self.stage.loop.call_later(patience, request.give_up, patience)
        try:
            outcome = await request.reply
        finally:
            giving_up.cancel()
        if isinstance(outcome, Err):
            raise outcome.error
        return outcome.value

    def later(self, do: Callable[[], object], execution: str) -> None:
        """Do it when a message has arrived. Once sent, it needs nobody who sent it."""
        stage = self.stage
        delay = 0.0
        if stage.faults.hits("network is slow", execution=execution):
            delay = stage.faults.pick(0.05, 8)
        elif stage.is_likely(0.5):
            delay = stage.random.uniform(0, 0.01)
        if delay:
            stage.loop.call_in_world(delay, do)
        else:
            do()


class _Request(Generic[T]):
    """One request on its way, and its reply on the way back."""

    def __init__(
        self,
        network: Network,
        to: Place,
        work: Callable[[], Coroutine[Any, Any, T]],
        execution: str,
        repeats: Repeats,
    ) -> None:
        self._network = network
        self._stage = network.stage
        self._from = network.stage.loop.here
        self._to = to
        self._work = work
        self._execution = execution
        self._repeats = repeats
        self.reply: asyncio.Future[Outcome[T]] = network.stage.loop.create_future()
        self.is_carried_out = False

    def arrive(self) -> None:
        if not self._to.is_alive or self._is_cut:
            return
        self._stage.loop.run_in(self._to, self._serve())
        if self._repeats is Repeats.ANY_TIME:
            self._repeat()

    def _repeat(self) -> None:
        if self._hits("request comes twice"):
            self._network.later(self._serve_again, self._execution)

    def _serve_again(self) -> None:
        self._stage.loop.run_in(self._to, self._carry_out())

    async def _serve(self) -> None:
        is_lost = self._hits("reply is lost")
        outcome = await self._carry_out()
        self.is_carried_out = True
        if not is_lost:
            self._network.later(lambda: self._deliver(outcome), self._execution)
        if self._repeats is Repeats.AFTERWARDS:
            self._repeat()

    async def _carry_out(self) -> Outcome[T]:
        try:
            return Ok(await self._work())
        except Exception as error:  # noqa: BLE001 - it is the reply
            return Err(error)

    def give_up(self, patience: float) -> None:
        if not self.reply.done():
            lost = LostError(f"no reply from {self._to.name} in {patience} s")
            lost.is_carried_out = self.is_carried_out
            self.reply.set_result(Err(lost))

    def _deliver(self, outcome: Outcome[T]) -> None:
        if not self.reply.done() and not self._is_cut:
            self.reply.set_result(outcome)

    @property
    def _is_cut(self) -> bool:
        cut_off = self._network.cut_off
        return self._from in cut_off or self._to in cut_off

    def _hits(self, kind: str) -> bool:
        return self._stage.faults.hits(kind, execution=self._execution)
