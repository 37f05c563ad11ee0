"""What places ask of each other: late, lost, twice, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

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


class Network:
    """Carries requests from one place to another.

    Attributes:
        cut_off: the places that nobody reaches, and who reach nobody.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.cut_off: set[Place] = set()

    async def ask(
        self,
        to: Place,
        work: Callable[[], Coroutine[Any, Any, T]],
        *,
        execution: str = "",
        patience: float = PATIENCE_SECONDS,
        may_repeat: bool = True,
    ) -> T:
        """Have *work* done at *to*, and give what comes of it.

        Raises:
            LostError: no reply came.
            Exception: whatever *work* raises.
        """
        stage, hits = self._stage, self._stage.faults.hits
        here = stage.loop.here
        if hits("throttled", execution=execution):
            raise TooManyRequestsException("Rate exceeded: by chance.")
        reply: asyncio.Future[Outcome[T]] = stage.loop.create_future()
        was_done: list[bool] = []

        def deliver(outcome: Outcome[T]) -> None:
            is_cut = here in self.cut_off or to in self.cut_off
            if not reply.done() and not is_cut:
                reply.set_result(outcome)

        async def serve(*, is_answered: bool) -> None:
            outcome: Outcome[T]
            try:
                outcome = Ok(await work())
            except Exception as error:  # noqa: BLE001 - it is the reply
                outcome = Err(error)
            was_done.append(True)
            if is_answered:
                self._later(lambda: deliver(outcome), execution)

        def arrive() -> None:
            if not to.is_alive or to in self.cut_off or here in self.cut_off:
                return
            is_answered = not hits("reply is lost", execution=execution)
            stage.loop.run_in(to, serve(is_answered=is_answered))
            if may_repeat and hits("request comes twice", execution=execution):
                self._later(lambda: stage.loop.run_in(to, serve(is_answered=False)), execution)

        if not hits("request is lost", execution=execution):
            self._later(arrive, execution)
        try:
            async with asyncio.timeout(patience):
                outcome = await reply
        except TimeoutError:
            lost = LostError(f"no reply from {to.name} in {patience} s")
            lost.is_carried_out = bool(was_done)
            raise lost from None
        if isinstance(outcome, Err):
            raise outcome.error
        return outcome.value

    def _later(self, do: Callable[[], object], execution: str) -> None:
        """Do it when a message has arrived. Once sent, it needs nobody who sent it."""
        stage = self._stage
        delay = 0.0
        if stage.faults.hits("network is slow", execution=execution):
            delay = stage.faults.pick(0.05, 8)
        elif stage.is_likely(0.5):
            delay = stage.random.uniform(0, 0.01)
        if delay:
            stage.loop.call_in_world(delay, do)
        else:
            do()
