"""Histories of a run, run again by the code that made them: the whole of each, and beginnings."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from durably.core.effects import Err, Ok, Outcome
from durably.drivers.paging import await_state
from durably.drivers.settings import Host
from durably.engine.evolution import fold
from durably.engine.execution import Execution, readable_operations
from durably.engine.facts import AnyFact, decode_fact, is_visible
from durably.engine.rules import INVALID_TOKEN
from durably.engine.store import Stored
from durably.errors import InvalidParameterValueException, UnrecoverableInvocationError
from durably.handler import DurableFunction
from durably.seams import RandomIds
from durably.wire.api import (
    CheckpointRequest,
    CheckpointResponse,
    GetExecutionStateRequest,
    GetExecutionStateResponse,
)
from durably.wire.invocation import ExecutionState, InvocationInput, InvocationOutput
from durably.wire.operation import Operation
from durably.wire.update import OperationUpdate
from tests.simulator.code import Code
from tests.simulator.ledger import Ledger
from tests.simulator.observed import Replay
from tests.simulator.programs import Scenario
from tests.simulator.stage import BackendClock, Stage

_PAGE_SIZES = (1, 1000)
_SHARE = 0.3
"""Of the executions of a run so many are replayed: the others' would say the same."""


class Replayer:
    """Replays executions of one scenario. What the code does then, no ledger hears of."""

    def __init__(self, stage: Stage, scenario: Scenario) -> None:
        self._stage = stage
        self._code = Code([scenario.programs], Ledger(), "replay")
        self._changed = {one.program.name for one in scenario.deploys}

    async def replays(self, function: str, arn: str, stored: Stored) -> list[Replay]:
        """Replay the whole of a history and one beginning of it, unless chance spares it."""
        if function in self._changed or not self._stage.is_likely(_SHARE):
            return []
        facts = [decode_fact(one) for one in stored.facts]
        some = self._stage.random.randint(1, len(facts))
        sizes = self._stage.random.sample(_PAGE_SIZES, 2)
        lengths = (len(facts), some)
        return [
            await self._replay(self._code[function], arn, facts[:length], size)
            for length, size in zip(lengths, sizes, strict=True)
        ]

    async def _replay(
        self, function: DurableFunction, arn: str, facts: Sequence[AnyFact], page_size: int
    ) -> Replay:
        execution = fold(facts)
        client = _RefusingClient(execution, page_size, self._stage)
        invocation = InvocationInput(
            durable_execution_arn=arn,
            checkpoint_token="replay",
            initial_execution_state=client.first_page,
        )
        try:
            output = await self._invoke(function, invocation, client)
        except UnrecoverableInvocationError:
            answer, result, error = "RAISED", None, None
        else:
            answer, result, error = output.status.value, output.result, None
            if output.error is not None:
                error = (output.error.error_type or "", output.error.error_message or "")
        return Replay(
            execution=arn,
            prefix=sum(map(is_visible, facts)),
            page_size=page_size,
            answer=answer,
            result=result,
            error=error,
            updates=tuple(client.asked),
        )

    async def _invoke(
        self, function: DurableFunction, invocation: InvocationInput, client: _RefusingClient
    ) -> InvocationOutput:
        if function.is_async:
            return await function.invoke(invocation, client)
        operations = await await_state(client, invocation)
        random = Random(self._stage.random.getrandbits(32))
        exchange = function.simulate(invocation, operations, random, client.host)
        try:
            request = next(exchange)
            while True:
                request = exchange.send(client.answer(request))
        except StopIteration as end:
            output: InvocationOutput = end.value
            return output


class _RefusingClient:
    """A backend that has a state, and accepts nothing that would change it.

    What was open when the execution ended, because nobody waited for it, may go on now.

    Attributes:
        asked: what it was asked to record.
        host: what functions run on.
    """

    def __init__(self, execution: Execution, page_size: int, stage: Stage) -> None:
        self.asked: list[OperationUpdate] = []
        self.host = Host(clock=BackendClock(stage), ids=RandomIds(stage.random))
        self._operations = readable_operations(execution)
        self._is_closed = execution.is_closed
        self._settled = {one.id for one in execution.operations if one.is_terminal}
        self._page_size = page_size

    @property
    def first_page(self) -> ExecutionState:
        """What an invocation begins with."""
        operations, marker = self._page(0)
        return ExecutionState(operations=operations, next_marker=marker)

    def answer(self, request: CheckpointRequest) -> Outcome[CheckpointResponse]:
        """Accept what goes on in an execution that is over; else note it, and refuse."""
        if self._is_closed and all(one.id not in self._settled for one in request.updates):
            return Ok(CheckpointResponse(checkpoint_token=request.checkpoint_token))
        self.asked += request.updates
        return Err(InvalidParameterValueException(INVALID_TOKEN))

    async def checkpoint(self, request: CheckpointRequest) -> CheckpointResponse:
        answer = self.answer(request)
        if isinstance(answer, Err):
            raise answer.error
        return answer.value

    async def get_execution_state(
        self, request: GetExecutionStateRequest
    ) -> GetExecutionStateResponse:
        operations, marker = self._page(int(request.marker or 0))
        return GetExecutionStateResponse(operations=operations, next_marker=marker)

    def _page(self, begin: int) -> tuple[tuple[Operation, ...], str | None]:
        end = begin + self._page_size
        has_more = end < len(self._operations)
        return tuple(self._operations[begin:end]), str(end) if has_more else None
