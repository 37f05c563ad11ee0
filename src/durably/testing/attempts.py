"""How attempts run while crashes are tried: one after the other, and cut off in their middle."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

from durably.core.effects import Attempt
from durably.core.scope import Scope
from durably.drivers.beside import in_thread
from durably.drivers.bodies import is_coroutine_function
from durably.testing.effects import path_of
from durably.testing.fakes import Fakes
from durably.testing.gate import Gate
from durably.testing.processes import CrashedError, Process

_MAX_AWAITS = 5


class Attempts:
    """Runs the attempts of one process.

    Args:
        process: which dies in the middle of one, if it does.
        gate: lets them run.
        fakes: what runs in their place.
    """

    def __init__(self, process: Process, gate: Gate, fakes: Fakes) -> None:
        self._process = process
        self._gate = gate
        self._fakes = fakes
        self._loop = asyncio.get_running_loop()

    def stand_in(
        self, scope: Scope, attempt: Attempt, body: Callable[..., Any]
    ) -> Callable[..., Any]:
        """Give what runs in the place of *body*; see `Host.stand_in`."""
        body = self._fakes.stand_in(scope, attempt, body)
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return partial(self._run_in_thread, body)
        return partial(self._run, path_of(scope, attempt.op), body)

    async def _run(self, path: str, body: Callable[..., Any]) -> Any:
        await self._gate.enter()
        try:
            if is_coroutine_function(body):
                return await _Suspending(body(), partial(self._dies_at, path))
            value = await in_thread(body, f"durably step {path}")
            return await value if inspect.isawaitable(value) else value
        finally:
            self._gate.leave()

    def _dies_at(self, path: str, count: int) -> bool:
        return count <= _MAX_AWAITS and self._process.passes(f"in {path}, at await {count}")

    def _run_in_thread(self, body: Callable[..., Any]) -> Any:
        try:
            asyncio.run_coroutine_threadsafe(self._gate.enter(), self._loop).result()
        except Exception as cancelled:  # the process has died meanwhile
            raise CrashedError from cancelled
        try:
            return body()
        finally:
            self._loop.call_soon_threadsafe(self._gate.leave)


class _Suspending:
    """Awaits a coroutine, and cuts it off where it gives way if it *dies* there."""

    def __init__(self, work: Coroutine[Any, Any, Any], dies: Callable[[int], bool]) -> None:
        self._work = work
        self._dies = dies

    def __await__(self) -> Generator[Any, Any, Any]:
        count = 0
        step: Callable[[], Any] = partial(self._work.send, None)
        while True:
            try:
                waited_for = step()
            except StopIteration as end:
                return end.value
            count += 1
            if self._dies(count):
                step = partial(self._work.throw, asyncio.CancelledError())
                continue
            try:
                value = yield waited_for
            except GeneratorExit:
                self._work.close()
                raise
            except BaseException as error:  # noqa: BLE001 - passed on
                step = partial(self._work.throw, error)
            else:
                step = partial(self._work.send, value)
