"""What other processes do to executions that are worked on here, and who they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from durably.engine.arns import LATEST, split_function_name
from durably.engine.commands import Surroundings, Target
from durably.engine.journals import Journals
from durably.engine.roster import Presence, Roster, split_claim_name
from durably.engine.store import SharedStore
from durably.errors import InvalidParameterValueException, StoreError
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
            for arn, version in (await self._store.versions(running)).items():
                self._journals.note_version(arn, version)

    async def is_news(self, arn: str, version: int) -> bool:
        """Whether an execution may be another than it was with *version* facts; -1: not known yet.

        That is asked again and again, so no facts are read for it; and nothing while it runs here,
        since `refresh` looks after what runs. Raises as `refresh` does.
        """
        if version < 0:
            return True
        if arn in self._journals.running():
            return False
        return (await self._store.versions((arn,))).get(arn) != version

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


async def know_targets(surroundings: Surroundings, updates: Sequence[OperationUpdate]) -> None:
    """See that functions are known that are to be invoked, if another worker has them by now.

    Raises:
        StoreError: it could not be found out.
    """
    if surroundings.learn is None:
        return
    for update in updates:
        options = update.chained_invoke_options
        if options is None or update.action is not OperationAction.START:
            continue
        with suppress(InvalidParameterValueException):  # which it is told of when it is decided
            if surroundings.find_target(options.function_name) is None:
                await surroundings.learn()
                return
