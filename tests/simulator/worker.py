"""Functions that run elsewhere, in a process that comes with tokens over the network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from random import Random
from typing import Any, TypeAlias, TypeVar

from msgspec.structs import replace

from durably.core.effects import Err, Ok, Outcome
from durably.drivers.paging import await_state, checkpoint_and_await_pages
from durably.drivers.settings import Host
from durably.engine.invokers import Call, FunctionError
from durably.engine.rules import INVALID_TOKEN
from durably.engine.service import Service
from durably.errors import (
    ApiError,
    InvalidParameterValueException,
    ServiceException,
    StoreError,
    TooManyRequestsException,
)
from durably.handler import DurableFunction
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.base import decode_wire, encode_api, encode_invocation
from durably.wire.invocation import InvocationInput, InvocationOutput, InvocationStatus
from durably.wire.operation import Operation
from tests.simulator.code import Code
from tests.simulator.faults import WRONG_ANSWER
from tests.simulator.loop import Place, kept_tasks
from tests.simulator.network import LostError, Network, Repeats
from tests.simulator.stage import Attempted, Stage, Visited, handed_out, passes

_TRIES = 3
INVOCATION_SECONDS = 90.0
_MISLEADING = "Invalid checkpoint token: the store failed."
"""What an error of the service says. Its code alone tells that trying again may help (R5)."""

T = TypeVar("T")
Find: TypeAlias = Callable[[], tuple[Place, Service] | None]
"""Gives a process that serves just now, and its service."""


class Worker:
    """A process that runs functions. They reach the backend by whatever process serves.

    Attributes:
        place: where it runs; a new one after each death.
        code: its functions.
    """

    def __init__(
        self, stage: Stage, network: Network, place: Place, code: Code, host: Host
    ) -> None:
        self._stage = stage
        self._network = network
        self.place = place
        self.code = code
        self._host = host

    async def run(self, visit: Visited, payload: bytes, find: Find, function: str) -> bytes:
        """Run one invocation, and give the answer as it goes over the wire.

        Raises:
            FunctionError: the function failed.
        """
        handed_out.set(visit.began)
        invocation = decode_wire(payload, InvocationInput)
        client = WorkerClient(self._stage, self._network, self.place, visit, find, self._host)
        client.note(invocation.initial_execution_state.operations)
        if invocation.initial_execution_state.next_marker:
            self._stage.trace.reach("state read in pages")
        tasks: list[asyncio.Task[object]] = []
        token = kept_tasks.set(tasks)
        output: InvocationOutput | None = None
        try:
            output = await self._run(self.code[function], invocation, client)
        except Exception as error:
            raise FunctionError(str(error), error_type=type(error).__name__) from error
        finally:
            kept_tasks.reset(token)
            visit.ended = self._stage.trace.tick()
            visit.answer = "RAISED" if output is None else output.status.value
            visit.tasks = sum(not task.done() for task in tasks)
        return encode_invocation(output)

    async def _run(
        self, function: DurableFunction, invocation: InvocationInput, client: WorkerClient
    ) -> InvocationOutput:
        if function.is_async:
            return await function.invoke(invocation, client, client)
        passes.set([])
        operations = await await_state(client, invocation)
        random = Random(self._stage.random.getrandbits(32))
        exchange = function.simulate(invocation, operations, random, client.host)
        try:
            request = next(exchange)
            while True:
                outcome: Outcome[CheckpointResponse]
                try:
                    outcome = Ok(await checkpoint_and_await_pages(client, request))
                except Exception as error:  # noqa: BLE001 - the driver classifies it
                    outcome = Err(error)
                request = exchange.send(outcome)
        except StopIteration as end:
            output: InvocationOutput = end.value
            return output


class WorkerClient:
    """An `AsyncDurableExecutionClient` that tries again, as that of AWS does.

    It is what the function gets as the context of its invocation, too.

    Attributes:
        host: what the function runs on.
    """

    def __init__(
        self,
        stage: Stage,
        network: Network,
        place: Place,
        visit: Visited,
        find: Find,
        host: Host,
    ) -> None:
        self.host = host
        self._stage = stage
        self._network = network
        self._place = place
        self._visit = visit
        self._find = find
        self._past: dict[str, Operation] = {}
        self._over: dict[str, None] = {}

    @property
    def aws_request_id(self) -> str:
        return self._visit.id

    async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        trace = self._stage.trace
        if not request.updates:
            trace.reach("empty checkpoint")
        if len(request.updates) > 1:
            trace.reach("several updates in one request")
        was_carried_out = False
        for left in reversed(range(_TRIES)):
            try:
                response = await self._checkpoint(request)
            except (LostError, ServiceException, TooManyRequestsException) as error:
                was_carried_out |= isinstance(error, LostError) and error.is_carried_out
                if not left:
                    raise
                await asyncio.sleep(self._stage.random.uniform(0, 0.5))
            else:
                if was_carried_out:
                    trace.reach("lost reply resolved")
                return response
        raise AssertionError("the last try raises or gives")

    async def _checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        stage, visit = self._stage, self._visit
        if stage.faults.hits("token is refused", execution=visit.execution):
            raise InvalidParameterValueException(INVALID_TOKEN)
        sent = stage.trace.tick()

        async def serve(service: Service) -> tuple[Attempted, bytes]:
            write = Attempted(
                kind="checkpoint",
                execution=visit.execution,
                invocation=visit.id,
                node=self._place.name,
                epoch=visit.epoch,
                sent=sent,
                updates=request.updates,
                token_in=request.checkpoint_token,
                client_token=request.client_token or "",
            )
            stage.ask(write)
            asked = decode_wire(encode_api(request), CheckpointRequest)
            try:
                response = await service.checkpoint(asked)
            except ApiError as error:
                stage.answer(write, error)
                if isinstance(error, InvalidParameterValueException):
                    self._note_refusal(error)
                raise
            except StoreError as error:
                raise ServiceException(_MISLEADING) from error
            stage.answer(write)
            write.token_out = response.checkpoint_token
            return write, encode_api(response)

        write, text = await self._ask(serve)
        write.acknowledged = True
        visit.is_dismissed |= write.token_out is None
        return self._with_the_past(decode_wire(text, CheckpointResponse))

    def note(self, operations: Iterable[Operation]) -> None:
        """Remember how operations stood before they came to their end."""
        for one in operations:
            if one.is_terminal:
                self._over[one.id] = None
            else:
                self._past[one.id] = one

    def _with_the_past(self, response: CheckpointResponse) -> CheckpointResponse:
        """Let a reply tell, after its news, how things stood that have come to their end (R10)."""
        state = response.new_execution_state
        self.note(state.operations)
        past = tuple(self._past[one] for one in self._over if one in self._past)
        if not past or not self._stage.faults.hits(
            "reply tells of the past", execution=self._visit.execution
        ):
            return response
        told = replace(state, operations=(*state.operations, *past))
        return replace(response, new_execution_state=told)

    def _note_refusal(self, error: InvalidParameterValueException) -> None:
        trace = self._stage.trace
        if error.message == INVALID_TOKEN:
            trace.reach("stale token")
            newer = any(
                one.execution == self._visit.execution and one.epoch > self._visit.epoch
                for one in self._stage.visits.values()
            )
            if newer:
                trace.reach("zombie refused")

    async def get_execution_state(
        self, request: GetExecutionStateRequest
    ) -> GetExecutionStateResponse:
        async def serve(service: Service) -> bytes:
            try:
                return encode_api(await service.get_execution_state(request))
            except StoreError as error:
                raise ServiceException(_MISLEADING) from error

        for _ in range(_TRIES - 1):
            with suppress(LostError, ServiceException, TooManyRequestsException):
                return decode_wire(await self._ask(serve), GetExecutionStateResponse)
        return decode_wire(await self._ask(serve), GetExecutionStateResponse)

    async def _ask(self, serve: Callable[[Service], Coroutine[Any, Any, T]]) -> T:
        found = self._find()
        if found is None:
            raise LostError("nobody serves")
        place, service = found
        return await self._network.ask(
            place,
            lambda: serve(service),
            execution=self._visit.execution,
            repeats=Repeats.ANY_TIME,
        )


class RemoteFunctionProxy:
    """A function of some worker, as the service calls it."""

    is_durable = True
    capacity = None

    def __init__(
        self,
        stage: Stage,
        network: Network,
        name: str,
        find_worker: Callable[[], Worker | None],
        find: Find,
    ) -> None:
        self._stage = stage
        self._network = network
        self._name = name
        self._find_worker = find_worker
        self._find = find

    def on_room(self, listener: Callable[[], None], /) -> None:
        """There is nothing to tell."""

    async def call(self, call: Call) -> bytes:
        """See `RemoteFunction.call`."""
        worker = self._find_worker()
        if worker is None:
            raise FunctionError("no worker is there", error_type="Function.Unreachable")
        payload = call.payload()
        if payload is None:
            raise FunctionError("nobody wants it any more", error_type="Function.Cancelled")
        visit = self._stage.visits[call.request_id]
        visit.node = worker.place.name
        try:
            answer = await self._network.ask(
                worker.place,
                lambda: worker.run(visit, payload, self._find, self._name),
                execution=visit.execution,
                patience=INVOCATION_SECONDS,
                repeats=Repeats.NEVER,
            )
        except LostError as error:
            raise FunctionError(str(error), error_type="Sandbox.Timedout") from error
        except TooManyRequestsException as error:
            raise FunctionError(str(error), error_type="TooManyRequests") from error
        if visit.answer == "SUCCEEDED" and self._stage.faults.hits(
            WRONG_ANSWER, execution=visit.execution
        ):
            return encode_invocation(InvocationOutput(status=InvocationStatus.PENDING))
        return answer
