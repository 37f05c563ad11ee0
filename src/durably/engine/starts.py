"""How executions come to be, and how they go."""

from __future__ import annotations

from collections.abc import Callable

from durably.clock import Clock
from durably.engine.commands import Start
from durably.engine.decisions import decide
from durably.engine.execution import Execution
from durably.engine.journals import Journals
from durably.engine.rules import MAX_CONFLICTS
from durably.engine.store import Change, Store, Stored, VersionConflict
from durably.engine.tips import Tip
from durably.errors import TooManyRequestsException


class Starts:
    """Makes executions in a store, one for each name, and removes them.

    Args:
        store: where they are kept.
        clock: where the time comes from.
        journals: the executions that this process works on.
        on_wake: to be called when one is due.
    """

    def __init__(
        self, store: Store, clock: Clock, journals: Journals, on_wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self._journals = journals
        self._on_wake = on_wake

    async def start(self, command: Start, *, is_named: bool) -> str:
        """Start an execution, or find the one that its name stands for; give its arn.

        Raises:
            DurableExecutionAlreadyStartedException: the name was started with another payload.
            InvalidParameterValueException: an argument breaks a limit.
        """
        for _ in range(MAX_CONFLICTS):
            if is_named:
                arn = await self._find_started(command)
                if arn is not None:
                    return arn
            tip = Tip(Execution())
            change = tip.take(decide(tip.execution, command, self._clock.now()))
            try:
                await self._create(tip, change)
            except VersionConflict:
                continue
            self._on_wake()
            return command.arn
        raise TooManyRequestsException("The name is taken and freed too fast. Ask again.")

    async def _create(self, tip: Tip, change: Change) -> None:
        self._journals.hold(tip)
        try:
            await self._store.append((change,))
        except BaseException as error:
            self._journals.drop(tip, error)
            raise
        finally:
            self._journals.unpin(tip)

    async def _find_started(self, command: Start) -> str | None:
        arn = await self._store.find_by_name(command.function_name, command.execution_name)
        stored = None if arn is None else await self._store.find(arn)
        if stored is None:
            return None
        delete_at = stored.summary.delete_at
        if delete_at is not None and delete_at <= self._clock.now():
            await self.delete(stored)
            return None
        decide(Tip.of(stored).execution, command, self._clock.now())
        return stored.arn

    async def delete(self, stored: Stored) -> bool:
        """Remove an execution, unless it has changed since."""
        self._journals.forget(stored.arn)
        try:
            await self._store.delete(stored.arn, stored.version)
        except VersionConflict:
            return False
        return True
