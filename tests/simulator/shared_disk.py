"""The way of several processes to one store, as they have it to a database.

Each hears of what the others did: by hints, if there are any, and when it looks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from durably.engine.roster import Presence, Roster
from durably.engine.shared_store import Outline
from durably.engine.store import Change, KeepClaim, Store, VersionConflict
from tests.simulator.disk import MemoryView, at_once
from tests.simulator.loop import Place
from tests.simulator.stage import BackendClock, Stage


@dataclass(slots=True)
class Commons:
    """What processes have in common.

    Attributes:
        store: where everything is.
        hints: whether they tell each other of what they did.
        views: those of the living and the dead.
        offers: the names that workers claim by, or have ever claimed by.
    """

    store: Store
    hints: bool
    views: list[SharedView] = field(default_factory=list)
    offers: list[str] = field(default_factory=list[str])

    def tell(self, teller: SharedView, hint: str) -> None:
        """Have all others told, unless the hint gets lost."""
        for view in self.views:
            if view is not teller and view.place.is_alive:
                self._send(view, hint)

    def _send(self, view: SharedView, hint: str) -> None:
        stage = view.stage
        if stage.faults.hits("hint is lost"):
            return

        def arrive() -> None:
            if view.place.is_alive:
                stage.loop.run_in(view.place, view.hear(hint))

        seconds = stage.random.uniform(0, 0.01)
        if stage.faults.hits("hint comes late"):
            seconds = stage.faults.pick(0, 3)
        for _ in range(2 if stage.faults.hits("hint comes twice") else 1):
            stage.loop.call_in_world(seconds, arrive)


class SharedView(MemoryView):
    """The way of one of them."""

    is_shared = True

    def __init__(self, stage: Stage, place: Place, commons: Commons) -> None:
        super().__init__(stage, place, commons.store, is_owner=False)
        self.clock = BackendClock(stage)
        self._commons = commons
        self._listeners: list[Callable[[str], None]] = []
        commons.views.append(self)

    def take(self, changes: Sequence[Change]) -> VersionConflict | None:
        conflict = super().take(changes)
        if conflict is None and self._commons.hints:
            for hint in sorted(self._hints_of(changes)):
                self._commons.tell(self, hint)
        return conflict

    def _hints_of(self, changes: Sequence[Change]) -> set[str]:
        """Say which executions others should look at, and with nothing that one is due."""
        now = self.clock.now()
        hints: set[str] = set()
        for change in changes:
            stored = at_once(self.inner.find(change.arn))
            if change.claim_epoch is None and stored is not None and stored.claim_epoch is not None:
                hints.add(change.arn)
            if not isinstance(change.wake, KeepClaim) and change.wake.at is not None:
                hints |= {""} if change.wake.at <= now else set()
        return hints

    async def outlines(self, arns: Sequence[str]) -> Mapping[str, Outline]:
        self._fail("read fails")
        found = [await self.inner.find(arn) for arn in arns]
        return {one.arn: Outline.of(one) for one in found if one is not None}

    async def announce(self, presence: Presence) -> None:
        self._fail("append fails before")
        new = [name for name in presence.functions if name not in self._commons.offers]
        self._commons.offers += new
        self._fail("append fails after")

    async def withdraw(self, worker: str) -> None:
        self._fail("append fails before")

    async def offers(self) -> Sequence[str]:
        self._fail("read fails")
        return tuple(self._commons.offers)

    async def roster(self) -> Roster:
        raise AssertionError("nobody asks for it in a simulated world")

    def on_hint(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)

    async def hear(self, hint: str) -> None:
        """Be told by another process."""
        for listener in self._listeners:
            listener(hint)
