"""A scenario without faults on a real `Engine`, through its public face, observed as it goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from itertools import count
from typing import Any

from durably import ApiError, Engine, ErrorObject, Execution, Query
from tests.simulator.handlers import compile_programs
from tests.simulator.ledger import Entry, Ledger
from tests.simulator.observed import CLOSED, Acted, Observed, Read, Reply, Seen, Started
from tests.simulator.programs import OUTSIDE, Action, Answer, Ask, Callback, Scenario, Start
from tests.simulator.records import details_of
from tests.simulator.walks import node_at

Sleep = Callable[[float], Awaitable[None]]


class EmbeddedRun:
    """Plays the outside of a scenario to an engine, and writes down what it sees.

    The engine's functions are those of `functions`; several runs may share one engine.
    """

    def __init__(self, scenario: Scenario, *, sleep: Sleep = asyncio.sleep) -> None:
        self.scenario = scenario
        self.tick = count(1).__next__
        self._loop = asyncio.get_running_loop()
        self.ledger = Ledger(self.tick, self._loop.time)
        self.ledger.listeners.append(self._hear)
        self.functions = compile_programs(scenario.programs, self.ledger, pause=sleep)
        self._sleep = sleep
        self._tasks: list[asyncio.Task[None]] = []
        self._told: set[str] = set()
        self._reads: dict[str, list[Read]] = {}
        self._replies: list[Reply] = []
        self._started: list[Started] = []
        self._acted: list[Acted] = []
        self._engine: Engine

    async def play(self, engine: Engine, patience: float) -> Observed:
        """Play everything, and wait until it has ended, *patience* seconds at most."""
        self._engine = engine
        end = self._loop.time() + patience
        for one in self.scenario.starts:
            self._do(self._start(one))
        for act in self.scenario.actions:
            self._do(self._act(act))
        pause = 0.1
        while self._loop.time() < end and not await self._is_over():
            await self._sleep(pause)
            pause = min(pause * 1.1, 60)
        is_calm = await self._is_over() or self._loop.time() >= end
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return await self._observed(is_calm=is_calm)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(self._loop.create_task(work))

    async def _is_over(self) -> bool:
        if not all(task.done() for task in self._tasks):
            return False
        return all(one.summary.status in CLOSED for one in await self._listed())

    async def _listed(self) -> list[Any]:
        names = [one.name for one in self.scenario.programs]
        pages = [
            await self._engine.list(Query(function_name=name, oldest_first=True, limit=1000))
            for name in names
        ]
        return [one for page in pages for one in page.executions]

    # The outside

    async def _start(self, start: Start) -> None:
        await self._sleep(start.at)
        program = self.scenario.programs[start.program]
        given = start.input.make()
        sent, arn, refusal = self.tick(), None, None
        try:
            run = await self._engine.start(
                program.name, given, name=start.name, execution_timeout=start.timeout
            )
            arn = run.arn
        except ApiError as error:
            refusal = error.code
        self._started.append(
            Started(
                name=start.name,
                function=program.name,
                payload=json.dumps(given),
                sent=sent,
                done=self.tick(),
                arn=arn,
                refusal=refusal,
            )
        )

    async def _act(self, action: Action) -> None:
        await self._sleep(action.at)
        start = next(one for one in self.scenario.starts if one.name == action.start)
        name = f"{self.scenario.programs[start.program].name}/{action.start}"
        sent, refusal, arn = self.tick(), "", ""
        try:
            arn = (await self._engine.get(name)).arn
            await self._read(arn)
            await getattr(self._engine, action.kind)(arn)
        except ApiError as error:
            refusal = error.code
        self._acted.append(
            Acted(kind=action.kind, arn=arn, sent=sent, done=self.tick(), refusal=refusal)
        )
        if arn:
            await self._read(arn)

    def _hear(self, entry: Entry) -> None:
        """Answer a callback that user code has told of, once."""
        if entry.phase != "told" or entry.operation_id in self._told:
            return
        self._told.add(entry.operation_id or "")
        self._loop.call_soon_threadsafe(self._answer_all, entry)

    def _answer_all(self, entry: Entry) -> None:
        node = next(
            node
            for program in self.scenario.programs
            if f":{program.name}:" in entry.execution
            and isinstance(node := node_at(program.body, entry.path), Ask | Callback)
        )
        for answer in node.answers:
            self._do(self._answer(entry, answer))

    async def _answer(self, entry: Entry, answer: Answer) -> None:
        await self._sleep(answer.after)
        callback_id = entry.operation_id or ""
        sent, refusal = self.tick(), ""
        try:
            match answer.kind:
                case "succeed":
                    await self._engine.callback_succeed(callback_id, answer.text)
                case "fail":
                    error = ErrorObject(error_type=OUTSIDE, error_message=answer.text)
                    await self._engine.callback_fail(callback_id, error)
                case "heartbeat":
                    await self._engine.callback_heartbeat(callback_id)
        except ApiError as error:
            refusal = error.code
        self._replies.append(
            Reply(
                callback_id=callback_id,
                kind=answer.kind,
                sent=sent,
                done=self.tick(),
                refusal=refusal,
                text=answer.text,
            )
        )
        await self._read(entry.execution)

    # What is seen

    async def _read(self, arn: str) -> None:
        try:
            events = await Execution.history(await self._engine.get(arn))
        except ApiError:
            self._reads.setdefault(arn, []).append(Read(self.tick(), None))
        else:
            self._reads.setdefault(arn, []).append(Read(self.tick(), events))

    async def _observed(self, *, is_calm: bool) -> Observed:
        arns = {one.arn for one in await self._listed()} | self._reads.keys()
        for arn in sorted(arns):
            await self._read(arn)
        invoked = {
            details_of(event).durable_execution_arn: (arn, event.id or "")
            for arn, reads in self._reads.items()
            for event in reads[-1].events or ()
            if event.event_type == "ChainedInvokeStarted"
        }
        seen = [await self._see(arn, invoked.get(arn)) for arn in sorted(arns)]
        return Observed(
            scenario=self.scenario,
            executions=tuple(seen),
            entries=tuple(self.ledger.entries),
            replies=tuple(self._replies),
            started=tuple(self._started),
            acted=tuple(self._acted),
            is_calm=is_calm,
        )

    async def _see(self, arn: str, parent: tuple[str, str] | None) -> Seen:
        reads = tuple(self._reads[arn])
        function = next(one.name for one in self.scenario.programs if f":{one.name}:" in arn)
        if reads[-1].events is None:
            return Seen(arn=arn, function=function, status=None, reads=reads)
        told = await self._engine.describe(arn)
        why = await self._engine.why(arn)
        error = None
        if told.error is not None:
            error = (told.error.error_type or "", told.error.error_message or "")
        return Seen(
            arn=arn,
            function=function,
            start="" if parent else told.execution_name,
            parent=parent,
            status=told.status.value,
            result=told.result,
            error=error,
            reads=reads,
            standing=why.standing.value,
            wakes=tuple(map(str, (*filter(None, [why.wakes_at]), *why.waits_for))),
        )
