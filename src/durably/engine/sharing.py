"""What other processes do to executions that are worked on here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from durably.engine.journals import Journals
from durably.engine.store import SharedStore
from durably.errors import StoreError


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

    def _hear(self, hint: str) -> None:
        if not hint:
            self._on_wake()
        elif hint in self._journals.running():
            self._journals.spawn(self._look())

    async def _look(self) -> None:
        with suppress(StoreError):  # `refresh` comes by in any case
            await self.refresh()
