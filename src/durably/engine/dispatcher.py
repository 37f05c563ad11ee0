"""Claims executions that are due, and has their functions called."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeAlias

from durably.engine.invokers import Invoker
from durably.engine.keyring import LOOK_INTERVAL
from durably.engine.leases import Leases
from durably.engine.policy import DispatcherPolicy
from durably.engine.reports import logged, recorded
from durably.engine.rooms import Kind, Rooms
from durably.engine.roster import Presence, claim_names
from durably.engine.rules import EXIT_ERROR
from durably.engine.service import Service
from durably.engine.sessions import Session
from durably.engine.store import Claim
from durably.engine.waiters import wait_at_most
from durably.errors import (
    ResourceNotFoundException,
    StoreError,
    error_object,
)
from durably.seams import maybe
from durably.wire.arns import title_of
from durably.wire.execution import ExecutionStatus
from durably.wire.invocation import InvocationStatus
from durably.wire.operation import ErrorObject

log = logging.getLogger("durably.engine")
failures = logging.getLogger("durably.engine.failures")
"""Executions that failed, one line each."""

_UNSHARED_POLL = timedelta(seconds=5)
_MAX_PAUSE_SECONDS = 5.0
_Work: TypeAlias = Callable[[], Coroutine[Any, Any, object]]


class Dispatcher:
    """One worker: claims what is due for its functions, and runs it through an invoker.

    Args:
        service: whose executions.
        invoker: how functions are called.
        functions: the names of those that it can call, asked for anew at every claim.
        worker: who it is; unique among those that share the store.
        policy: how it works.
    """

    def __init__(
        self,
        service: Service,
        invoker: Invoker,
        functions: Callable[[], Sequence[str]],
        worker: str,
        policy: DispatcherPolicy | None = None,
    ) -> None:
        self._service = service
        self._invoker = invoker
        self._functions = functions
        self._worker = worker
        self._policy = policy or DispatcherPolicy()
        shared = service.policy
        usual = shared.poll_interval if shared.is_shared else _UNSHARED_POLL
        self._poll_seconds = (self._policy.poll_interval or usual).total_seconds()
        self._nudged = asyncio.Event()
        self._running: dict[asyncio.Task[None], Claim] = {}
        self._draining = asyncio.Event()
        self._is_behind = False
        self._in_vain = 0  # looks in a row that found something due, and nothing to be claimed
        self._told = ""  # of a store that has not worked since
        self._rooms = Rooms(invoker, self._policy, self._running)
        self._turns = list(Kind)
        self._leases = Leases(service, worker, self._policy.lease, self._running)
        self._started_at = service.clock.now()
        self._sharing = service.sharing
        service.on_wake(self._nudged.set)
        invoker.on_room(self._nudged.set)

    async def run(self) -> None:
        """Work until `drain` is called, and keep the leases until the last invocation has ended.

        A store that fails is asked again, ever more rarely.
        """
        keepers = self._start_keepers()
        try:
            await self._work_until_drained()
            with suppress(StoreError):
                await self._announce()  # that it drains
            while self._running:
                self._nudged.clear()
                await self._nudged.wait()
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            if self._sharing is not None:
                with suppress(StoreError):  # then it counts as dead when its lease is over
                    await self._sharing.withdraw(self._worker)

    def _start_keepers(self) -> Sequence[asyncio.Task[None]]:
        """Do what is to be done again and again."""
        policy = self._policy
        kept: list[tuple[timedelta, _Work]] = [
            (policy.lease / 3, self._leases.extend),
            (policy.housekeeping_interval, self._service.delete_expired),
        ]
        if self._sharing is not None:
            kept += [
                (self._service.policy.poll_interval, self._sharing.refresh),
                (policy.lease / 3, self._announce),
                (LOOK_INTERVAL, self._service.keys.load),
            ]
        return [asyncio.create_task(self._every(interval, do)) for interval, do in kept]

    async def _work_until_drained(self) -> None:
        is_announced = False
        failures = 0
        while not self._draining.is_set():
            try:
                if not is_announced:
                    await self._announce()
                    is_announced = True
                self._nudged.clear()
                await self._work()
                failures = 0
                self._told = ""
            except StoreError as error:
                failures += 1
                self._tell_of_store(error)
                await self._pause(failures)

    async def drain(self, grace: timedelta = timedelta(seconds=10)) -> None:
        """Claim nothing more; let what runs go on for *grace*, then cut it off.

        What is cut off is not counted as failed, and goes on in another worker at once. User code
        that swallows its cancellation is left behind.
        """
        self._draining.set()
        self._nudged.set()
        if self._running:
            await asyncio.wait(self._running, timeout=grace.total_seconds())
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=self._policy.unwinding.total_seconds())
        for claim in self._running.values():
            said = "an invocation of %s does not end when it is cancelled, and is left behind"
            log.error(said, title_of(claim.arn), extra={"executionArn": claim.arn})
        self._running.clear()
        self._nudged.set()

    @property
    def running(self) -> int:
        """How many invocations run now."""
        return len(self._running)

    async def wait_for_running(self, seconds: float) -> None:
        """Wait until one of the invocations that run now has ended, but no longer than that."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    async def _work(self) -> None:
        """Claim what is due, and sleep until there may be more to claim."""
        functions = tuple(self._functions())
        self._is_behind = True
        asked = await self._claim_due(functions)
        self._is_behind = len(asked) < len(set(functions))
        if not self._nudged.is_set() and not maybe("second look"):
            await self._sleep(asked)

    async def _claim_due(self, functions: Sequence[str]) -> Sequence[str]:
        """Claim what is due of each kind in turn; give those of which all is claimed that is due.

        The kind that was given something goes last the next time: if one always went first, it
        might take all the room there is, for ever.
        """
        asked: list[str] = []
        named = self._rooms.sorted_out(functions)
        for kind in [kind for kind in self._turns if named[kind]]:
            while rooms := self._rooms.of(kind, named[kind]):
                limit = min(rooms.values())
                claimed = await self._claim(tuple(rooms), limit)
                if claimed:
                    self._turns.remove(kind)
                    self._turns.append(kind)
                if claimed < limit:
                    asked += rooms
                    break
        return asked

    async def _claim(self, functions: Sequence[str], limit: int) -> int:
        """Launch what is due of these, *limit* of it at most, and say how many that were."""
        await self._leases.extend_if_late()
        now = self._service.clock.now()
        claims = await self._service.store.claim(
            self._worker, self._claim_names(functions), now, self._policy.lease, limit
        )
        if claims:
            self._in_vain = 0
        for claim in claims:
            if self._draining.is_set():
                await self._give_back(claim)
            else:
                self._launch(claim)
        return 0 if self._draining.is_set() else len(claims)

    def _claim_names(self, functions: Sequence[str]) -> tuple[str, ...]:
        return claim_names(functions, self._policy.version)

    async def _announce(self) -> None:
        """Tell other processes that this worker is there, and hear of them."""
        if self._sharing is None:
            return
        presence = Presence(
            worker=self._worker,
            functions=self._claim_names(self._functions()),
            max_concurrency=self._policy.max_concurrency,
            started_at=self._started_at,
            lease=self._policy.lease,
            is_draining=self._draining.is_set(),
        )
        await self._sharing.announce(presence)

    async def _sleep(self, functions: Sequence[str]) -> None:
        """Wait for a nudge, the next execution that is due, or the poll.

        What is due already and could not be claimed is locked by somebody: it is looked at ever
        more rarely.
        """
        seconds = self._poll_seconds
        if functions:
            due = await self._service.store.next_wake_at(self._claim_names(functions))
            if due is not None:
                left = (due - self._service.clock.now()).total_seconds()
                self._in_vain = self._in_vain + 1 if left <= 0 else 0
                pause = 0.01 * 2 ** min(self._in_vain, 10) if self._in_vain > 1 else left
                seconds = min(seconds, pause)
        if seconds > 0 and not self._nudged.is_set():
            await wait_at_most(self._nudged, seconds, self._service.clock)

    def _launch(self, claim: Claim) -> None:
        task = asyncio.create_task(self._run(claim), name=f"durably {claim.arn}")
        self._running[task] = claim
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        # More may be due than there was room for, even if room has come since.
        if self._is_behind or self._draining.is_set():
            self._nudged.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an invocation broke", exc_info=error)

    async def _run(self, claim: Claim) -> None:
        session: Session | None = None
        try:
            session = await self._service.begin(claim)
            if session is not None:
                await self._invoke(session)
        except StoreError as error:
            self._tell_of_store(error)
            said = "an invocation of %s could not be recorded, and is to be made again"
            log.warning(said, title_of(claim.arn), extra={"executionArn": claim.arn})
            await self._give_back(claim, None if session is None else session.request_id)

    async def _give_back(self, claim: Claim, request_id: str | None = None) -> None:
        """Give up a claim whose invocation is over here, as soon as the store works.

        The execution is due at once then. A worker that drains tries once more, and no longer.
        """
        failures = 0
        is_last = False
        while not is_last:
            failures += 1
            await self._pause(failures)
            is_last = self._draining.is_set()
            with suppress(StoreError):  # who has it run has logged it; it is tried again
                await self._service.give_back(claim, request_id)
                return

    async def _pause(self, failures: int) -> None:
        """Wait before the store is asked again, ever longer, but not once this worker drains."""
        seconds = min(0.05 * 2 ** min(failures, 10), _MAX_PAUSE_SECONDS)
        await wait_at_most(self._draining, seconds, self._service.clock)

    async def _invoke(self, session: Session) -> None:
        try:
            output = await self._invoker.invoke(session)
        except asyncio.CancelledError:
            error_type, message = EXIT_ERROR
            cut = ErrorObject(error_type=error_type, error_message=message)
            task = asyncio.current_task()
            is_ours = task is not None and task.cancelling() > 0
            await session.fail(cut, is_counted=not is_ours)  # user code may raise it, too
            if is_ours:
                raise
        except (KeyboardInterrupt, SystemExit) as crash:  # they end the loop, if it lets them
            said = f"user code raised {type(crash).__name__}"
            await session.fail(ErrorObject(error_type=EXIT_ERROR[0], error_message=said))
            raise
        except Exception as error:  # noqa: BLE001 - whatever a function raises, the worker goes on
            await self._tell(session, error)
            await session.fail(recorded(error))
        else:
            has_failed = output.status is InvocationStatus.FAILED and not session.is_over
            await session.end(output)
            if has_failed:
                await self._tell_of_answer(session, logged(output.error))

    async def _tell_of_answer(self, session: Session, said: str) -> None:
        """Log what failed: the execution, unless what its function answered was no answer."""
        title = title_of(session.arn)
        if await self._end_of(session.arn) is None:
            log.warning(
                "an invocation of %s failed: %s", title, said, extra={"executionArn": session.arn}
            )
        else:
            failures.warning("%s failed: %s", title, said, extra={"executionArn": session.arn})

    async def _tell(self, session: Session, error: Exception) -> None:
        """Log that an invocation failed, or that its execution was ended meanwhile."""
        title, ended = title_of(session.arn), await self._end_of(session.arn)
        if ended is None:
            said = f"an invocation of {title} failed: {logged(error_object(error))}"
        else:
            said = f"{title} {ended}; what it still does is not recorded"
        log.warning("%s", said, extra={"executionArn": session.arn})

    def _tell_of_store(self, error: StoreError) -> None:
        """Log what is wrong with the store, once until it works again."""
        if str(error) != self._told:
            self._told = str(error)
            log.warning("the store failed: %s", error)

    async def _end_of(self, arn: str) -> str | None:
        """Say how an execution was ended while an invocation of it ran; `None` if it was not."""
        try:
            found = await self._service.get(arn)
        except ResourceNotFoundException:
            return "was deleted"
        if not found.is_closed:
            return None
        return "was stopped" if found.status is ExecutionStatus.STOPPED else "has ended"

    async def _every(self, interval: timedelta, do: _Work) -> None:
        never = asyncio.Event()
        while True:
            await wait_at_most(never, interval.total_seconds(), self._service.clock)
            try:
                await do()
            except StoreError as error:
                self._tell_of_store(error)
            except Exception:
                log.exception("what keeps the leases broke; it is tried again")
