"""Everything that can be asked of durable executions, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from durably.clock import Clock
from durably.engine.arns import ExecutionArn, parse_execution_arn, split_function_name
from durably.engine.begins import begin_session, give_back
from durably.engine.commands import (
    BeginInvocation,
    Command,
    CompleteCallback,
    FailCallback,
    HeartbeatCallback,
    Pause,
    Resume,
    Start,
    Stop,
    Surroundings,
    Target,
)
from durably.engine.damage import facts_of
from durably.engine.facts import AnyFact, timestamp_of
from durably.engine.history import history_page
from durably.engine.journals import Journals
from durably.engine.keyring import KeyRing
from durably.engine.policy import ServicePolicy, StartOptions
from durably.engine.remote import remote_checkpoint, remote_state
from durably.engine.rules import (
    CALLBACK_NOT_FOUND,
    CANNOT_DELETE_OPEN,
    MAX_CONFLICTS,
    NO_SUCH_EXECUTION,
    TOO_FAST,
)
from durably.engine.sessions import Session
from durably.engine.shared_store import is_shared, outline_of
from durably.engine.sharing import Sharing
from durably.engine.starts import Starts
from durably.engine.store import (
    KEY_BYTES,
    Claim,
    Page,
    Query,
    Store,
    Stored,
    VersionConflict,
)
from durably.engine.tips import Tip
from durably.engine.tokens import (
    NONCE_BYTES,
    TokenParts,
    mint_callback_id,
    seal_token,
)
from durably.engine.views import Description, Why, describe, why
from durably.engine.waiters import Waiters
from durably.errors import (
    ResourceConflictException,
    ResourceNotFoundException,
    TooManyRequestsException,
)
from durably.seams import IdSource
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.history import HistoryPage
from durably.wire.operation import ErrorObject, Operation

_NO_OPTIONS = StartOptions()


class Service:
    """Durable executions, as kept in one store.

    Args:
        store: where they are kept.
        clock: where the time comes from.
        ids: where names, request ids and callback ids come from.
        find_target: says whether a function of that name can be invoked, and as what.
        policy: how the service runs.

    Attributes:
        keys: what tokens and callback ids are made with.
        waiters: whoever waits in `wait_closed`.
        sharing: notices what other processes do, if others write to the store.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ids: IdSource,
        find_target: Callable[[str], Target | None],
        policy: ServicePolicy | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.policy = policy or ServicePolicy()
        self._ids = ids
        self._find_target = find_target
        self.keys = KeyRing(store, clock)
        self._wakers: list[Callable[[], None]] = []
        self.waiters = Waiters(clock)
        self._journals = Journals(store, clock, self.policy, self._wake, self.waiters.settle)
        self._starts = Starts(store, clock, self._journals, self._wake)
        self.sharing = Sharing(store, self._journals, self._wake) if is_shared(store) else None
        self._surroundings = Surroundings(
            lambda place: mint_callback_id(self.keys.current, ids.nonce(NONCE_BYTES, place)),
            self._target_of,
            None if self.sharing is None else self.sharing.learn,
            self.keys.renew,
        )

    async def open(self) -> None:
        """Open the store and make ready. Executions cut off earlier go on by themselves.

        Raises:
            StoreError: the store cannot be used.
        """
        await self.store.open()

    async def close(self) -> None:
        """Write what was handed in, and close the store."""
        await self._journals.close()
        await self.store.close()

    def on_wake(self, waker: Callable[[], None]) -> None:
        """Call *waker*, in the event loop, whenever an execution may be due earlier than before."""
        self._wakers.append(waker)

    async def start(
        self,
        function_name: str,
        input_payload: str | None,
        *,
        name: str | None = None,
        options: StartOptions = _NO_OPTIONS,
    ) -> str:
        """Start an execution, and give its arn once it is durable (P1).

        Args:
            function_name: a name or an arn, with or without a qualifier.
            input_payload: JSON text.
            name: within the function, of one execution. Given again with the same payload, that
                execution's arn is the answer, and nothing is started.
            options: everything else that holds for the whole execution.

        Raises:
            ResourceNotFoundException: there is no such function.
            DurableExecutionAlreadyStartedException: *name* was started with another payload.
            InvalidParameterValueException: an argument breaks a limit.
        """
        bare_name, _ = split_function_name(function_name)
        target = self._target_of(function_name)
        if target is None and self.sharing is not None:
            await self.sharing.learn()
            target = self._target_of(function_name)
        if target is None:
            raise ResourceNotFoundException(f"There is no function {bare_name!r}.")
        execution_name = str(self._ids.uuid4()) if name is None else name
        invocation_id = str(self._ids.uuid4())
        arn = ExecutionArn(
            self.policy.home, target.function_name, target.version, execution_name, invocation_id
        )
        command = Start(
            arn=str(arn),
            function_name=target.function_name,
            version=target.version,
            execution_name=execution_name,
            input_payload=input_payload,
            timeout_seconds=options.timeout_seconds or self.policy.execution_timeout_seconds,
            retention_days=options.retention_days or self.policy.retention_days,
            is_synchronous=options.is_synchronous,
            tenant_id=options.tenant_id,
            trace_id=options.trace_id,
        )
        return await self._starts.start(command, is_named=name is not None)

    def _target_of(self, text: str) -> Target | None:
        """Find a function: one that can be invoked here, or else by another worker."""
        found = self._find_target(text)
        return found if found or self.sharing is None else self.sharing.find_target(text)

    async def get(self, arn: str) -> Description:
        """Describe an execution.

        Raises:
            ResourceNotFoundException: there is none of this arn.
        """
        return describe(Tip.of(await self._find(arn)).execution)

    async def why(self, arn: str) -> Why:
        """Say why an execution is where it is; raises as `get` does."""
        return why(Tip.of(await self._find(arn)).execution)

    async def operations(self, arn: str) -> tuple[Operation, ...]:
        """Give all operations of an execution, in the order of their start; raises as `get`."""
        return tuple(Tip.of(await self._find(arn)).execution.operations)

    async def facts(self, arn: str) -> tuple[AnyFact, ...]:
        """Give everything that has happened to an execution.

        Raises:
            ResourceNotFoundException: there is none of this arn.
            ResourceConflictException: its record cannot be read.
        """
        return tuple(facts_of(await self._find(arn)))

    async def history(
        self,
        arn: str,
        *,
        max_items: int | None = None,
        marker: str | None = None,
        oldest_first: bool = True,
        include_data: bool = True,
    ) -> HistoryPage:
        """Give one page of the history; see `history_page`. Raises as `get` does, too."""
        stored = await self._find(arn)
        return history_page(
            facts_of(stored),
            max_items=max_items,
            marker=marker,
            oldest_first=oldest_first,
            include_data=include_data,
        )

    async def list(self, query: Query) -> Page:
        """Give one page of the executions that *query* asks for."""
        return await self.store.list(query)

    async def wait_closed(self, arn: str) -> Description:
        """Wait until an execution is closed or parked, and describe it then.

        Raises:
            ResourceNotFoundException: there is none of this arn (any more).
            InvalidStateError: nothing is worked on here any more.
        """
        poll = self.policy.poll_interval.total_seconds() if self.policy.is_shared else None
        may_be_at_rest = True
        with self.waiters.waiting(arn) as waiter:
            while True:
                if waiter.settled is not None:
                    return describe(waiter.settled)  # nothing comes after its end
                if may_be_at_rest and not self._journals.is_known_open(arn):
                    found = await self.get(arn)
                    if found.is_closed or found.parked_reason is not None:
                        return found
                self.waiters.check()
                await waiter.wait(poll)
                if poll is not None:  # its facts may be many
                    outline = await outline_of(self.store, arn)
                    may_be_at_rest = outline is None or outline.is_at_rest

    async def _find(self, arn: str) -> Stored:
        parse_execution_arn(arn)
        stored = await self.store.find(arn)
        if stored is None:
            raise ResourceNotFoundException(NO_SUCH_EXECUTION)
        return stored

    # Operators

    async def stop(self, arn: str, error: ErrorObject | None = None) -> datetime:
        """End an execution, whatever it does, and say when it ended; a closed one is left alone."""
        execution = await self._journals.ask(arn, Stop(error))
        assert execution.ended_at is not None, "what is stopped is closed"
        return timestamp_of(execution.ended_at)

    async def pause(
        self,
        arn: str,
        *,
        reason: str | None = None,
        is_timeout_paused: bool = True,
        client_token: str | None = None,
    ) -> None:
        """Let no further invocation run until `resume`.

        Raises:
            ResourceConflictException: it is closed, or paused already.
        """
        await self._journals.ask(arn, Pause(reason, is_timeout_paused, client_token))

    async def resume(
        self, arn: str, *, reason: str | None = None, client_token: str | None = None
    ) -> None:
        """End a pause, or what parked the execution.

        Raises:
            ResourceConflictException: it is neither paused nor parked, and waits for no retry.
        """
        await self._journals.ask(arn, Resume(reason, client_token))

    async def delete(self, arn: str) -> datetime:
        """Remove a closed execution, and say when.

        Raises:
            ResourceConflictException: it is not closed.
        """
        for _ in range(MAX_CONFLICTS):
            stored = await self._find(arn)
            if stored.summary.ended_at is None:
                raise ResourceConflictException(CANNOT_DELETE_OPEN)
            if await self._starts.delete(stored):
                return self.clock.now()
        raise TooManyRequestsException(TOO_FAST)

    async def delete_expired(self, limit: int = 1000) -> int:
        """Remove closed executions kept long enough, *limit* in a transaction; say how many."""
        deleted = batch = await self.store.delete_expired(self.clock.now(), limit)
        while batch == limit:
            deleted += (batch := await self.store.delete_expired(self.clock.now(), limit))
        return deleted

    async def rotate_key(self) -> None:
        """Make callback ids and tokens with a new key.

        What the key before has made stays good until the next time.

        Raises:
            ResourceConflictException: it was less than five minutes ago, in a shared store.
        """
        await self.keys.add(self._ids.nonce(KEY_BYTES))

    async def succeed_callback(self, callback_id: str, result: str | None) -> str:
        """Answer a callback, and give the arn of its execution.

        Raises:
            ResourceNotFoundException: there is no such callback.
            CallbackTimeoutException: it has expired, or was completed before.
        """
        return await self._ask_callback(callback_id, CompleteCallback(callback_id, result))

    async def fail_callback(self, callback_id: str, error: ErrorObject) -> str:
        """Report a failure; gives and raises what `succeed_callback` does."""
        return await self._ask_callback(callback_id, FailCallback(callback_id, error))

    async def heartbeat_callback(self, callback_id: str) -> str:
        """Say that the outside system is alive; gives and raises what `succeed_callback` does."""
        return await self._ask_callback(callback_id, HeartbeatCallback(callback_id))

    async def _ask_callback(self, callback_id: str, command: Command) -> str:
        await self.keys.check_callback_id(callback_id)
        arn = await self.store.find_by_callback(callback_id)
        if arn is None:
            raise ResourceNotFoundException(CALLBACK_NOT_FOUND)
        await self._journals.ask(arn, command)
        return arn

    async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        """Accept the updates of a function that runs elsewhere and holds a token.

        Raises:
            InvalidParameterValueException: the token is not the current one, or an update is not
                legal. Nothing was recorded.
        """
        began = self.clock.monotonic()
        response = await self.keys.trying(
            lambda keys: remote_checkpoint(self._journals, keys, self._surroundings, request)
        )
        self.store.tally.checkpoint_seconds.note(self.clock.monotonic() - began)
        return response

    async def get_execution_state(
        self, request: GetExecutionStateRequest
    ) -> GetExecutionStateResponse:
        """Give one page of the state to a function that runs elsewhere; raises as `checkpoint`."""
        return await self.keys.trying(lambda keys: remote_state(self._journals, keys, request))

    async def begin(self, claim: Claim) -> Session | None:
        """Begin the invocation that a claim is for, if one is owed; otherwise give the claim up.

        Raises:
            StoreError: it could not be written; the claim stands.
        """
        self.store.tally.claims += 1
        self.store.tally.claims_lost += claim.is_takeover
        await self.keys.renew()
        lost = str(self._ids.uuid4()) if claim.is_takeover else ""
        command = BeginInvocation(claim.epoch, str(self._ids.uuid4()), claim.is_takeover, lost)
        token = seal_token(self.keys.current, claim.arn, TokenParts(claim.epoch, 0))
        try:
            return await begin_session(self._journals, claim, command, token, self._surroundings)
        except (ResourceNotFoundException, VersionConflict):
            return None  # it is gone, or somebody else's

    async def give_back(self, claim: Claim, request_id: str | None = None) -> None:
        """Give a claim up that nothing runs under any more, or yet; see `begins.give_back`."""
        await give_back(self._journals, claim, request_id)

    def _wake(self) -> None:
        for waker in self._wakers:
            waker()
