"""The outside of one scenario: who starts its executions, answers callbacks, operates, looks.

Whoever asks for something and hears nothing asks again, until there is an answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from durably.engine.policy import StartOptions
from durably.engine.service import Service
from durably.engine.views import Description
from durably.errors import (
    ApiError,
    ResourceNotFoundException,
    ServiceException,
    TooManyRequestsException,
)
from durably.wire.history import Event
from durably.wire.operation import ErrorObject
from tests.simulator.ledger import Entry
from tests.simulator.network import LostError
from tests.simulator.observed import CLOSED, Acted, Read, Reply, Started
from tests.simulator.programs import (
    OUTSIDE,
    Action,
    Answer,
    Ask,
    Callback,
    Program,
    Scenario,
    Start,
)
from tests.simulator.stage import Stage
from tests.simulator.walks import node_at

T = TypeVar("T")
Api = Callable[[Callable[[Service], Coroutine[Any, Any, T]]], Awaitable[T]]

_UNKNOWN = (LostError, ServiceException, TooManyRequestsException)


class Outside:
    """Plays it.

    Args:
        begins_at: when the scenario begins, in seconds of the world.
        api: has something done by the service, over the network.

    Attributes:
        arns: by the names of the starts.
        told: how an execution had ended, and the tick at which that was told.
        open_tasks: what is still to be done.
    """

    def __init__(self, stage: Stage, scenario: Scenario, begins_at: float, api: Api[Any]) -> None:
        self.scenario = scenario
        self.begins_at = begins_at
        self.arns: dict[str, str] = {}
        self.started: list[Started] = []
        self.acted: list[Acted] = []
        self.replies: list[Reply] = []
        self.reads: dict[str, list[Read]] = {}
        self.told: dict[str, tuple[str, int]] = {}
        self._stage = stage
        self._api = api
        self._programs: dict[str, Program] = {one.name: one for one in scenario.programs}
        self._known: set[str] = set()
        self._tasks: dict[asyncio.Task[None], None] = {}

    def begin(self) -> None:
        """Begin all that does not depend on what the functions do."""
        for start in self.scenario.starts:
            self._do(self._start(start))
        for action in self.scenario.actions:
            self._do(self._act(action))

    @property
    def open_tasks(self) -> int:
        return sum(not task.done() for task in self._tasks)

    @property
    def failures(self) -> list[str]:
        """What went wrong here, by no fault of the product."""
        broken = [task for task in self._tasks if task.done() and not task.cancelled()]
        return [repr(error) for task in broken if (error := task.exception()) is not None]

    def cancel(self) -> None:
        """Wait for nothing any more."""
        for task in self._tasks:
            task.cancel()

    def hear(self, entry: Entry) -> None:
        """Answer a callback that user code has told of, once."""
        callback_id = entry.operation_id
        if entry.phase != "told" or callback_id is None or callback_id in self._known:
            return
        self._known.add(callback_id)
        found = (node_at(one.body, entry.path) for one in self._versions(entry))
        node = next((node for node in found if isinstance(node, Ask | Callback)), None)
        if node is not None and node.answers:
            self._do(self._answer(entry, node.answers))

    def _versions(self, entry: Entry) -> list[Program]:
        name = next(name for name in self._programs if f":{name}:" in entry.execution)
        deployed = [one.program for one in self.scenario.deploys if one.program.name == name]
        return [self._programs[name], *deployed]

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[self._stage.loop.run_in(self._stage.loop.world, work)] = None

    async def _until(self, seconds: float) -> None:
        left = self.begins_at + seconds - self._stage.loop.now
        await asyncio.sleep(max(left, 0))

    async def _asked(self, once: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """Ask until there is an answer."""
        pause = 0.2
        while not await once():
            await asyncio.sleep(self._stage.random.uniform(0, pause))
            pause = min(pause * 2, 5)

    # Starts

    async def _start(self, start: Start) -> None:
        await self._until(start.at)
        await self._asked(lambda: self._start_once(start))
        arn = self.arns.get(start.name)
        if arn is not None and self._stage.is_likely(0.2):
            await self._wait_for(arn)

    async def _start_once(self, start: Start) -> bool:
        trace = self._stage.trace
        program = self.scenario.programs[start.program]
        payload = json.dumps(start.input.make())
        options = StartOptions(timeout_seconds=start.timeout, is_synchronous=True)
        sent, arn, refusal = trace.tick(), None, None
        try:
            arn = await self._api(
                lambda service: service.start(
                    program.name, payload, name=start.name, options=options
                )
            )
        except _UNKNOWN:
            pass
        except ApiError as error:
            refusal = error.code
            trace.reach("start refused")
        if arn is not None:
            if self.arns.setdefault(start.name, arn) == arn and start.name in self._known:
                trace.reach("start repeated")
            self._known.add(start.name)
        self.started.append(
            Started(
                name=start.name,
                function=program.name,
                payload=payload,
                sent=sent,
                done=trace.tick(),
                arn=arn,
                refusal=refusal,
            )
        )
        return arn is not None or refusal is not None

    async def _wait_for(self, arn: str) -> None:
        """Wait for an execution as an engine does; what is told must be what is recorded."""

        async def once() -> bool:
            try:
                found = await self._api(lambda service: _closed_soon(service, arn))
            except (*_UNKNOWN, TimeoutError):
                return False
            except ApiError:
                return True  # deleted
            if found.status.value in CLOSED:
                self.told[arn] = (found.status.value, self._stage.trace.tick())
            return True

        await self._asked(once)
        await self.read(arn)  # it must be there by now

    # Operators

    async def _act(self, action: Action) -> None:
        await self._until(action.at)
        arn = self.arns.get(action.start)
        if arn is not None:
            await self.read(arn)
            await self._asked(lambda: self._act_once(action, arn))
            await self.read(arn)

    async def _act_once(self, action: Action, arn: str) -> bool:
        trace = self._stage.trace
        sent = trace.tick()
        is_running = any(
            visit.execution == arn and visit.ended is None for visit in self._stage.visits.values()
        )
        refusal: str | None = ""
        node = ""

        async def do(service: Service) -> None:
            nonlocal node
            node = self._stage.loop.here.name
            await getattr(service, action.kind)(arn)

        try:
            await self._api(do)
        except _UNKNOWN:
            refusal = None
        except ApiError as error:
            refusal = error.code
        done = trace.tick()
        self.acted.append(
            Acted(kind=action.kind, arn=arn, sent=sent, done=done, refusal=refusal, node=node)
        )
        if refusal == "":
            trace.say(f"{action.kind} of {arn} is done")
            states = {"stop": "stopped under an invocation", "pause": "paused under an invocation"}
            if action.kind == "delete":
                trace.reach("deleted")
            elif is_running and action.kind in states:
                trace.reach(states[action.kind])
        return refusal is not None

    # Callbacks

    async def _answer(self, entry: Entry, answers: Sequence[Answer]) -> None:
        """Send one answer after the other: whoever sends them keeps them in order."""
        callback_id = entry.operation_id or ""
        for answer in answers:
            await asyncio.sleep(max(entry.at + answer.after - self._stage.loop.now, 0))
            await self._asked(partial(self._answer_once, callback_id, answer))
        if self._stage.is_likely(0.3):
            await self.read(entry.execution)

    async def _answer_once(self, callback_id: str, answer: Answer) -> bool:
        trace = self._stage.trace
        sent = trace.tick()
        refusal: str | None = ""
        error = ErrorObject(error_type=OUTSIDE, error_message=answer.text)

        def told(service: Service) -> Coroutine[Any, Any, str]:
            if answer.kind == "succeed":
                return service.succeed_callback(callback_id, answer.text)
            if answer.kind == "fail":
                return service.fail_callback(callback_id, error)
            return service.heartbeat_callback(callback_id)

        try:
            await self._api(told)
        except _UNKNOWN:
            refusal = None
        except ApiError as refused:
            refusal = refused.code
            trace.reach("callback answered too late")
        self.replies.append(
            Reply(
                callback_id=callback_id,
                kind=answer.kind,
                sent=sent,
                done=trace.tick(),
                refusal=refusal,
                text=answer.text,
            )
        )
        return refusal is not None

    # Readers

    async def read(self, arn: str) -> None:
        """Read a history as far as it goes just now, if it can be read at all."""
        trace, page = self._stage.trace, self._page()

        async def look(service: Service) -> Read:
            try:
                events = await read_history(service, page, arn)
            except ResourceNotFoundException:
                return Read(trace.tick(), None)
            return Read(trace.tick(), events)  # nothing has come between the last page and this

        try:
            read = await self._api(look)
        except _UNKNOWN:
            return
        reads = self.reads.setdefault(arn, [])
        reads.append(read)
        reads.sort(key=lambda one: one.tick)

    def _page(self) -> int:
        return 1000 if self._stage.is_likely(0.7) else self._stage.random.randint(1, 7)


async def _closed_soon(service: Service, arn: str) -> Description:
    async with asyncio.timeout(20):
        return await service.wait_closed(arn)


async def read_history(service: Service, page: int, arn: str) -> tuple[Event, ...]:
    """Give all of a history, read in pages."""
    events: list[Event] = []
    marker = None
    while True:
        found = await service.history(arn, max_items=page, marker=marker)
        events += found.events
        marker = found.next_marker
        if marker is None:
            return tuple(events)
