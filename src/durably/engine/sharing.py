"""What other processes do to executions that are worked on here, and who they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from durably.engine.arns import LATEST, split_function_name
from durably.engine.commands import Surroundings, Target
from durably.engine.journals import Journals
from durably.engine.roster import Presence, Roster, split_claim_name
from durably.engine.shared_store import SharedStore
from durably.errors import InvalidParameterValueException, StoreError
from durably.wire.operation import OperationType
from durably.wire.update import OperationAction, OperationUpdate


class Sharing:
    """Notices what others do: at once by their hints, else when it looks.

    Args:
        store: what they write to, too.
        journals: the executions that this process works on.
        on_wake: to be called when something may be due.
    """

    def __init__(self, store: SharedStore, journals: Journals, on_wake: Callable[[], None]) -> None:
        self._store = store
        self._journals = journals
        self._on_wake = on_wake
        self._offers: Mapping[str, Sequence[str]] = {}
        store.on_hint(self._hear)

    async def refresh(self) -> None:
        """Look whether others have changed what runs here: hints may be lost.

        Raises:
            StoreError: the store cannot be read.
        """
        running = self._journals.running()
        if running:
            for arn, outline in (await self._store.outlines(running)).items():
                self._journals.note_version(arn, outline.version)

    async def learn(self) -> None:
        """Find out which functions other workers have, or had: executions can wait for them.

        Raises:
            StoreError: the store cannot be read.
        """
        offers: dict[str, list[str]] = {}
        for name in await self._store.offers():
            function_name, version = split_claim_name(name)
            offers.setdefault(function_name, []).append(version)
        self._offers = offers

    def find_target(self, text: str) -> Target | None:
        """Find a function that another worker has: the version named, or else the highest."""
        name, qualifier = split_function_name(text)
        versions = self._offers.get(name, ())
        if qualifier is not None and qualifier in versions:
            return Target(name, qualifier)
        if versions and qualifier in (None, LATEST):
            return Target(name, max(versions, key=_rank))
        return None

    async def announce(self, presence: Presence) -> None:
        """Tell the others that a worker is here, and learn of them.

        Raises:
            StoreError: the store cannot be written.
        """
        await self._store.announce(presence)
        await self.learn()

    async def withdraw(self, worker: str) -> None:
        """Tell the others that a worker is gone; raises as `announce` does."""
        await self._store.withdraw(worker)

    async def roster(self) -> Roster:
        """Say who works on the store; raises as `refresh` does."""
        return await self._store.roster()

    def _hear(self, hint: str) -> None:
        if not hint:
            self._on_wake()
        elif hint in self._journals.running():
            self._journals.background.spawn(self._look())

    async def _look(self) -> None:
        with suppress(StoreError):  # `refresh` comes by in any case
            await self.refresh()


def _rank(version: str) -> int:
    return int(version) if version.isdecimal() else 0


async def look_around(surroundings: Surroundings, updates: Sequence[OperationUpdate]) -> None:
    """See what others have done that *updates* rest on: made a key, brought a function.

    Raises:
        StoreError: it could not be found out.
    """
    started = [one for one in updates if one.action is OperationAction.START]
    has_callback = any(one.type is OperationType.CALLBACK for one in started)
    if surroundings.renew_keys is not None and has_callback:
        await surroundings.renew_keys()
    if surroundings.learn is not None and not _are_known(surroundings, started):
        await surroundings.learn()


def _are_known(surroundings: Surroundings, updates: Sequence[OperationUpdate]) -> bool:
    """Whether all functions are known that are to be invoked."""
    invoked = [one.chained_invoke_options for one in updates if one.chained_invoke_options]
    with suppress(InvalidParameterValueException):  # which it is told of when it is decided
        return all(surroundings.find_target(one.function_name) for one in invoked)
    return True
