"""Load, decide, append, and only then act: the one place that does all of it.

Every command on an execution goes through its `Tip`, so commands in this process never meet each
other's half-written state: they are decided one after the other on the latest state, written in
that order, and answered when they are durable. Nothing is locked meanwhile. What other processes
do shows as a `VersionConflict`: the tip is dropped, and the command is decided anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from durably.clock import Clock
from durably.engine.alarms import Alarms
from durably.engine.background import Background
from durably.engine.children import child_end, has_invoked
from durably.engine.commands import Command, TimersDue
from durably.engine.decisions import decide
from durably.engine.execution import Execution
from durably.engine.facts import ChainedInvokeFailed, ChainedInvokeStarted, Fact
from durably.engine.idle import Idle
from durably.engine.parents import first_change, pin_parent
from durably.engine.plans import NOTABLE, ParentNeeded, Plan, gives_up
from durably.engine.policy import ServicePolicy
from durably.engine.rules import MAX_CONFLICTS, NO_SUCH_EXECUTION, TOO_FAST
from durably.engine.shared_store import outline_of
from durably.engine.store import Change, KeepClaim, Store, Transaction, VersionConflict
from durably.engine.tips import CLOSING, Audience, Tip
from durably.errors import ApiError, ResourceNotFoundException, StoreError, TooManyRequestsException

log = logging.getLogger("durably.engine")


class Journals:
    """The executions that this process works on.

    Attributes:
        is_shared: other processes write to the store, too.
        background: what runs there until these journals are closed.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        policy: ServicePolicy,
        on_wake: Callable[[], None],
        on_settled: Callable[[str, Execution | None], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy
        self.background = Background()
        self._alarms = Alarms(clock, lambda tip: self.background.spawn(self._do_due(tip)))
        self.is_shared = policy.is_shared
        self._on_wake = on_wake
        self._on_settled = on_settled
        self._tips: dict[str, Tip] = {}
        self._idle = Idle(policy.max_idle_executions, policy.max_idle_bytes)

    # Tips

    async def pin(self, arn: str) -> Tip:
        """Give the latest state of an execution; `unpin` it afterwards.

        Raises:
            ResourceNotFoundException: there is none.
        """
        tip = self._tips.get(arn) or self._idle.take(arn)
        if tip is None:
            stored = await self._store.find(arn)
            if stored is None:
                raise ResourceNotFoundException(NO_SUCH_EXECUTION)
            tip = self._tips.get(arn) or self._idle.take(arn) or Tip.of(stored)
        self._tips[arn] = tip
        tip.pins += 1
        return tip

    def unpin(self, tip: Tip) -> None:
        """Let go of a tip. Those that nobody uses are kept only if no other process writes."""
        tip.pins -= 1
        if tip.pins or tip.session is not None or tip.failure is not None:
            return
        tip.disarm()
        arn = tip.execution.arn
        del self._tips[arn]
        if not (self.is_shared or tip.execution.is_closed):
            self._idle.keep(tip)

    def is_known_open(self, arn: str) -> bool:
        """Whether an execution is open for certain, without a look into the store."""
        tip = self._tips.get(arn) or self._idle.find(arn)
        if tip is None or self.is_shared:
            return False
        return not tip.execution.is_closed and tip.execution.parked_reason is None

    def hold(self, tip: Tip) -> None:
        """Have whoever works on a new execution do so on *tip*; `unpin` it afterwards."""
        self._tips[tip.execution.arn] = tip
        tip.pins += 1

    def forget(self, arn: str) -> None:
        """Keep nothing of an execution that is gone, and let no invocation of it begin."""
        if tip := self._tips.get(arn) or self._idle.find(arn):
            self.drop(tip, VersionConflict(arn))

    def drop(self, tip: Tip, failure: BaseException) -> None:
        """Use *tip* no more. That nobody knows what was written outweighs that one was first."""
        if tip.failure is not None:
            if tip.is_overtaken:
                tip.failure = failure
            return
        tip.failure = failure
        tip.disarm()
        arn = tip.execution.arn
        if self._tips.get(arn) is tip:
            del self._tips[arn]
        if self._idle.find(arn) is tip:
            self._idle.take(arn)
        if tip.session is not None:
            tip.session.lose(failure)

    # Commands

    async def ask(
        self,
        arn: str,
        command: Command,
        epoch: int | None = None,
        *,
        if_overtaken: Command | None = None,
    ) -> Execution:
        """Have *command* done, and give the execution it has made, once that is durable.

        With *epoch* it is the owner's, who gives up the claim with it. After a conflict
        *if_overtaken* is asked instead.

        Raises:
            ApiError: it was refused. Nothing was recorded.
            VersionConflict: it is the owner's, who has lost the claim.
            StoreError: it could not be written.
        """
        for _ in range(MAX_CONFLICTS):
            tip = await self.pin(arn)
            try:
                await self.ask_tip(tip, command, epoch)
            except VersionConflict:
                if epoch is not None and not await self.is_claimed_under(arn, epoch):
                    raise
                command = if_overtaken or command
            except ApiError:
                if not await self.drop_if_outdated(tip):
                    raise
            else:
                return tip.execution
            finally:
                self.unpin(tip)
        raise TooManyRequestsException(TOO_FAST)

    async def drop_if_outdated(self, tip: Tip) -> bool:
        """Drop a pinned tip that is not what is stored, and say so: refused, overtaken, or lost."""
        while True:
            try:
                await tip.settle()
            except VersionConflict:
                return True
            if not self.is_shared:
                return False
            written = tip.execution.version
            stored = await outline_of(self._store, tip.execution.arn)
            if stored is None or not tip.stands_at(stored.version, written):
                self.drop(tip, VersionConflict(tip.execution.arn))
                return True
            if tip.is_durable:  # otherwise something was said meanwhile
                return False

    async def make_known(self) -> None:
        """Return when other processes can see what was handed in before."""
        if self.is_shared:
            await self._store.append(())

    async def is_claimed_under(self, arn: str, epoch: int) -> bool:
        """Whether the claim *epoch* still stands."""
        stored = await outline_of(self._store, arn)
        return stored is not None and stored.claim_epoch == epoch

    async def ask_tip(
        self,
        tip: Tip,
        command: Command,
        epoch: int | None,
        *,
        is_soon: bool = False,
        on_durable: Callable[[], None] | None = None,
    ) -> None:
        """Have *command* done on a pinned tip; see `Plan` for *on_durable*.

        With *is_soon* nobody waits for a single fact that leaves the claim as it is: it is
        written with what comes after it, or soon.
        """
        parent: Tip | None = None
        is_orphan = False
        try:
            while True:
                try:
                    plan = self.plan(tip, command, epoch, is_orphan=is_orphan)
                    break
                except ParentNeeded:
                    parent = await pin_parent(self, tip.execution)
                    is_orphan = parent is None
            change = plan.changes[0] if is_soon and len(plan.changes) == 1 else None
            if change is not None and type(change.wake) is KeepClaim and len(change.facts) == 1:
                self._store.append_soon(change)
            else:
                plan.on_durable = on_durable
                await self.write(plan)
        finally:
            if parent is not None:
                self.unpin(parent)

    def plan(
        self, tip: Tip, command: Command, epoch: int | None, *, is_orphan: bool = False
    ) -> Plan:
        """Decide *command* and let it have happened, all at once; `write` the plan next.

        Raises:
            ApiError: it is refused. Nothing has changed.
            VersionConflict: the tip must not be used any more.
            ParentNeeded: pin the parent first.
        """
        if tip.failure is not None:
            raise VersionConflict(tip.execution.arn)
        now = self._clock.now()
        facts = decide(tip.execution, command, now, self._policy.failures)
        if not facts:
            given_up = (self._take(tip, (), epoch),) if gives_up(tip, command) else ()
            return Plan((tip,), given_up)
        parent: Tip | None = None
        if type(facts[-1]) in CLOSING and not is_orphan:
            parent = self._parent_of(tip.execution)
        plan = Plan((tip,), (self._take(tip, facts, epoch),))
        self._follow(plan, tip, facts, now, is_owner=epoch is not None)
        if parent is not None:
            self._complete_invoke(plan, tip.execution, parent, now)
        return plan

    def _take(self, tip: Tip, facts: Sequence[Fact], epoch: int | None) -> Change:
        try:
            return tip.take(facts, epoch)
        except ApiError:
            raise  # nothing has happened yet
        except Exception as error:  # a defect: nothing may build on what is never written
            self.drop(tip, error)
            raise

    def _parent_of(self, child: Execution) -> Tip | None:
        arn = child.start.parent_arn
        if arn is None:
            return None
        parent = self._tips.get(arn)
        if parent is None or not has_invoked(parent.execution, child):
            raise ParentNeeded
        return parent

    def _follow(
        self, plan: Plan, tip: Tip, facts: Sequence[Fact], now: datetime, *, is_owner: bool
    ) -> None:
        """Add to *plan* what *facts* of *tip* bring about."""
        for number, fact in enumerate(facts):
            if type(fact) not in NOTABLE:
                continue
            if isinstance(fact, ChainedInvokeStarted):
                after = facts[number + 1] if number + 1 < len(facts) else None
                if not isinstance(after, ChainedInvokeFailed):
                    plan.changes += (first_change(tip.execution, fact, self._policy, now),)
            else:
                plan.note(tip.execution, fact)
        if tip.session is not None:
            if not is_owner:
                plan.pushes += ((tip.session, tip.session.capture()),)
            self._alarms.arm(tip)

    def _complete_invoke(self, plan: Plan, child: Execution, parent: Tip, now: datetime) -> None:
        facts = decide(parent.execution, child_end(child, parent.execution), now)
        if facts:
            plan.tips += (parent,)
            plan.changes += (self._take(parent, facts, None),)
            self._follow(plan, parent, facts, now, is_owner=False)

    # Writing, and what follows

    async def write(self, plan: Plan, transaction: Transaction[object] | None = None) -> None:
        """Return when *plan* is durable, with *transaction*, and what it implies has been done.

        A plan that changes nothing waits for what is being written, and looks whether another
        process has changed something: its answer rests on it.

        Raises:
            VersionConflict: what it rests on, or itself, was not written.
            StoreError: it could not be written.
        """
        if not plan.changes:
            if await self.drop_if_outdated(plan.tips[0]):
                raise VersionConflict(plan.tips[0].execution.arn)
            self._act(plan)
            return
        for tip in plan.tips:
            tip.writing += 1
        try:
            await (transaction or self._store).append(plan.changes)
        except asyncio.CancelledError as cut:
            if self.background.is_ended:
                self._end_writing(plan, cut)
            else:
                self.background.spawn(self._find_out(plan))
            raise
        except Exception as error:
            self._end_writing(plan, error)
            raise
        self._end_writing(plan)
        self._act(plan)

    def _end_writing(self, plan: Plan, failure: BaseException | None = None) -> None:
        for tip in plan.tips:
            if failure is not None:
                self.drop(tip, failure)
            tip.note_written()

    async def _find_out(self, plan: Plan) -> None:
        """Whoever waited for *plan* was cancelled; it may have been written nevertheless."""
        arn = plan.changes[0].arn
        failure: BaseException = VersionConflict(arn)
        try:
            await self._store.append(())  # it may still be on its way
            if plan.is_in(await self._store.find(arn)):
                self._end_writing(plan)
                self._act(plan)
                return
        except (StoreError, asyncio.CancelledError) as error:
            failure = error  # cut off or not, others wait for the end of the writing
        self._end_writing(plan, failure)
        self._announce(plan, is_certain=False)

    def _act(self, plan: Plan) -> None:
        if plan.on_durable is not None:
            plan.on_durable()
        plan.count_in(self._store.tally)
        for session, push in plan.pushes:
            session.tell(push)
        self._announce(plan, is_certain=True)

    def _announce(self, plan: Plan, *, is_certain: bool) -> None:
        """Tell who waits; where it is not certain, he looks for himself."""
        for arn, closed in plan.settled:
            self._on_settled(arn, closed if is_certain else None)
        for change in plan.changes:
            if not isinstance(change.wake, KeepClaim) and change.wake.at is not None:
                self._on_wake()
                return

    def post(self, tip: Tip, command: Command, epoch: int) -> None:
        """Have an owner's *command* done soon, in order; a failure shows at its next `write`.

        Only for what neither starts nor ends an execution.
        """
        for change in self.plan(tip, command, epoch).changes:
            self._store.append_soon(change)

    def open_session(self, tip: Tip, session: Audience) -> None:
        """Let *session* be told of what happens to *tip*, and look after its timers."""
        tip.session = session
        self._alarms.arm(tip)

    def running(self) -> Sequence[str]:
        """Give the executions whose invocation runs here."""
        return [arn for arn, tip in self._tips.items() if tip.session is not None]

    def note_version(self, arn: str, version: int) -> None:
        """Note how many facts an execution has in the store: somebody else may have added some."""
        tip = self._tips.get(arn)
        if tip is not None and not (tip.writing or tip.stands_at(version)):
            self.drop(tip, VersionConflict(arn))

    # Timers of executions whose invocation runs here

    async def _do_due(self, tip: Tip) -> None:
        try:
            await self.ask(tip.execution.arn, TimersDue())
        except (ApiError, StoreError) as error:
            # The invocation loses its authority with it, and the next one finds the timers due.
            log.warning("timers could not be recorded: %s", error)

    async def close(self) -> None:
        """End what runs in the background."""
        for tip in list(self._tips.values()):
            tip.disarm()
        await self.background.end()
