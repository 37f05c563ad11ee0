"""Programs as durable functions of the public API, whose bodies report to the ledger.

A program is run by a generator that yields what it wants to be called, so that a coroutine and a
plain function share it: the one awaits what the call gives, the other has it already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from functools import partial
from typing import Any, TypeAlias

from durably import (
    BatchResult,
    CallbackConfig,
    CompletionConfig,
    DurableFunction,
    DurableOperationError,
    ParallelConfig,
    Settled,
    current_step,
    durable_execution,
)
from tests.simulator.calls import (
    FANS,
    NOBODY,
    BoomError,
    FatalError,
    again_config,
    ask_config,
    child_config,
    condition_config,
    step_config,
)
from tests.simulator.ledger import Ledger, Visit
from tests.simulator.programs import (
    WHOLE,
    Again,
    Ask,
    Block,
    Callback,
    Child,
    Combine,
    Condition,
    Fan,
    Guard,
    Invoke,
    Node,
    Path,
    Program,
    Raise,
    Single,
    Step,
    Together,
    Values,
    Wait,
    named,
)
from tests.simulator.values import Json, Payload, shown

Pause: TypeAlias = Callable[[float], Awaitable[None]]
Routine: TypeAlias = Generator[Callable[[], Any], Any, Any]


def compile_programs(
    programs: Sequence[Program], ledger: Ledger, *, node: str = "n1", pause: Pause = asyncio.sleep
) -> list[DurableFunction]:
    """Make a durable function of each program, as *node* runs it.

    *pause* is what bodies of coroutines wait with; those of plain functions never do.
    """
    return [_compile(program, programs, ledger, node, pause) for program in programs]


def _compile(
    program: Program, programs: Sequence[Program], ledger: Ledger, node: str, pause: Pause
) -> DurableFunction:
    async def coroutine(event: Any, ctx: Any) -> Any:
        visit = ledger.begin(ctx.durable_execution_arn, node)
        return await _drive_async(_Coroutines(visit, programs, pause).handler(ctx, program.body))

    def function(event: Any, ctx: Any) -> Any:
        visit = ledger.begin(ctx.durable_execution_arn, node)
        return _drive(_Functions(visit, programs).handler(ctx, program.body))

    handler: Callable[..., Any] = coroutine if program.flavour == "async" else function
    handler.__name__ = program.name
    return durable_execution(handler)


async def _drive_async(routine: Routine) -> Any:
    step: Callable[[], Any] = partial(next, routine)
    while True:
        try:
            wanted = step()
        except StopIteration as end:
            return end.value
        try:
            step = partial(routine.send, await wanted())
        except BaseException as error:  # noqa: BLE001 - it is the routine's, signals too
            step = partial(routine.throw, error)


def _drive(routine: Routine) -> Any:
    step: Callable[[], Any] = partial(next, routine)
    while True:
        try:
            wanted = step()
        except StopIteration as end:
            return end.value
        try:
            step = partial(routine.send, wanted())
        except BaseException as error:  # noqa: BLE001 - it is the routine's, signals too
            step = partial(routine.throw, error)


class _Runner:
    """Runs blocks, in one invocation.

    Attributes:
        doomed: contexts in which a signal was swallowed: what their code sees from there on counts
            for nothing, as it is run again.
    """

    def __init__(self, visit: Visit, programs: Sequence[Program]) -> None:
        self.visit = visit
        self.programs = programs
        self.doomed: list[Any] = []

    # What differs between coroutines and functions

    def body(self, routine: Callable[..., Routine], *args: Any) -> Callable[..., Any]:
        """Make a body of *routine*, which is called with *args* and then those of the body."""
        raise NotImplementedError

    def pause(self, seconds: float) -> Any:
        """Take time."""
        raise NotImplementedError

    def parts(self, ctx: Any, parts: tuple[Single, ...], path: Path) -> list[Any]:
        """Give what a combinator takes for *parts*."""
        raise NotImplementedError

    def together(self, ctx: Any, node: Together, path: Path) -> Routine:
        """Run parts beside each other."""
        raise NotImplementedError

    # Blocks and nodes

    def handler(self, ctx: Any, block: Block) -> Routine:
        """Run a whole program."""
        try:
            given = yield from self.block(ctx, block, ())
        except Exception as error:
            self.visit.note((), "end", shown_error(error))
            raise
        except BaseException:
            self.visit.note((), "cut off")
            raise
        self.visit.note((), "end", given)
        return given

    def block(self, ctx: Any, block: Block, path: Path) -> Routine:
        """Run node after node."""
        given = []
        for place, node in enumerate(block):
            given.append((yield from self.node(ctx, node, (*path, place))))
        return given

    def node(self, ctx: Any, node: Node, path: Path) -> Routine:
        """Run a node, and note what the handler saw of it."""
        try:
            given = yield from self.outcome(ctx, node, path)
        except Exception as error:
            self.see(ctx, path, shown_error(error))
            raise
        if given is not _SWALLOWED:
            self.see(ctx, path, given)
        return given

    def see(self, ctx: Any, path: Path, given: Json) -> None:
        """Note what the handler saw."""
        if not any(one is ctx for one in self.doomed):
            self.visit.note(path, "saw", given)

    def outcome(self, ctx: Any, node: Node, path: Path) -> Routine:
        """Run a node."""
        if isinstance(node, Single):
            return shown((yield partial(self.start, ctx, node, path)))
        kinds: dict[type[Node], Callable[..., Routine]] = {
            Again: self.again,
            Callback: self.callback,
            Combine: self.combine,
            Fan: self.fan,
            Guard: self.guard,
            Raise: self.fail,
            Together: self.together,
            Values: self.values,
        }
        return (yield from kinds[type(node)](ctx, node, path))

    def values(self, ctx: Any, node: Values, path: Path) -> Routine:
        """Take what is the same on every replay."""
        yield from ()
        return [ctx.now().isoformat(), str(ctx.uuid4()), ctx.random()]

    def fail(self, ctx: Any, node: Raise, path: Path) -> Routine:
        """Raise what is no operation's error."""
        yield from ()
        raise ValueError(node.message)

    def guard(self, ctx: Any, node: Guard, path: Path) -> Routine:
        """Run `try`, `except` and `finally`."""
        said: Any
        try:
            said = ["fine", (yield from self.block(ctx, node.body, (*path, 0)))]
        except BaseException as error:
            if not isinstance(error, Exception):
                if not node.greedy or isinstance(error, GeneratorExit):
                    raise
                self.doomed.append(ctx)
                said = _SWALLOWED
            else:
                rescued = yield from self.block(ctx, node.rescue, (*path, 1))
                said = ["caught", shown_error(error), rescued]
        finally:
            if node.lastly is not None:
                yield from self.node(ctx, node.lastly, (*path, 2))
        return said

    # Single operations: what they are called with

    def start(self, ctx: Any, node: Single, path: Path) -> Any:
        """Call an operation: what it gives, or a future of that."""
        kinds: dict[type[Single], Callable[..., Any]] = {
            Step: self.start_step,
            Wait: lambda ctx, node, _: ctx.wait(node.name, node.seconds),
            Condition: self.start_condition,
            Ask: self.start_ask,
            Invoke: self.start_invoke,
            Child: self.start_child,
        }
        return kinds[type(node)](ctx, node, path)

    def start_step(self, ctx: Any, node: Step, path: Path) -> Any:
        """Call a step."""
        return ctx.step(node.name, self.body(self.step, node, path), config=step_config(node))

    def start_condition(self, ctx: Any, node: Condition, path: Path) -> Any:
        """Call a condition."""
        check = self.body(self.check, node, path)
        return ctx.wait_for_condition(node.name, check, condition_config(node))

    def start_ask(self, ctx: Any, node: Ask, path: Path) -> Any:
        """Call a `wait_for_callback`."""
        submitter = self.body(self.submit, node, path)
        return ctx.wait_for_callback(node.name, submitter, config=ask_config(node))

    def start_invoke(self, ctx: Any, node: Invoke, path: Path) -> Any:
        """Call another program, or nobody."""
        name = NOBODY if node.program is None else self.programs[node.program].name
        return ctx.invoke(node.name, name, node.sends.make())

    def start_child(self, ctx: Any, node: Child, path: Path) -> Any:
        """Call a child context."""
        body = self.body(self.child, node.body, path, node.gives)
        return ctx.run_in_child_context(node.name, body, config=child_config(node))

    def step(self, node: Step, path: Path) -> Routine:
        """Be the body of a step."""
        return self.attempt(path, node.pause, partial(self.work, node, path))

    def check(self, node: Condition, path: Path, state: int) -> Routine:
        """Be the check of a condition: count."""

        def count(attempt: int) -> int:
            if attempt == node.broken_at:
                raise BoomError(f"{named(path)} attempt {attempt}")
            return state + 1

        return self.attempt(path, 0, count, state)

    def submit(self, node: Ask, path: Path, callback_id: str) -> Routine:
        """Be a submitter: tell the outside first, so that it may answer at once."""

        def tell(attempt: int) -> None:
            self.visit.note(path, "told", operation_id=callback_id)
            if attempt <= node.failures:
                raise BoomError(f"{named(path)} attempt {attempt}")

        return self.attempt(path, 0, tell)

    def work(self, node: Step, path: Path, attempt: int) -> object:
        """Do what a step is for."""
        if attempt <= node.failures:
            raise BoomError(f"{named(path)} attempt {attempt}")
        if node.fatal:
            raise FatalError(f"{named(path)} attempt {attempt}")
        return node.gives.make()

    def attempt(
        self, path: Path, pause: float, work: Callable[[int], object], value: Json = None
    ) -> Routine:
        """Enter a body, take time, do the work, and leave."""
        step = current_step()
        note = partial(self.visit.note, path, attempt=step.attempt, operation_id=step.operation_id)
        note("enter", value)
        try:
            if pause:
                yield partial(self.pause, pause)
            given = work(step.attempt)
        except Exception:
            note("raise")
            raise
        except BaseException:
            note("cut")
            raise
        note("exit")
        return given

    def child(self, block: Block, path: Path, gives: Payload | None, ctx: Any) -> Routine:
        """Run a child's block, or a branch's."""
        self.visit.note(path, "enter")
        try:
            given = yield from self.block(ctx, block, path)
        except Exception:
            self.visit.note(path, "raise")
            raise
        except BaseException:
            self.visit.note(path, "cut")
            raise
        self.visit.note(path, "exit")
        return given if gives is None else [given, gives.make()]

    # Operations of several

    def callback(self, ctx: Any, node: Callback, path: Path) -> Routine:
        """Make a callback, tell of it, do something else, and await it."""
        config = CallbackConfig(timeout=node.timeout, heartbeat_timeout=node.heartbeat)
        callback = yield partial(ctx.create_callback, node.name, config)
        self.visit.note(path, "told", operation_id=callback.callback_id)
        between = yield from self.block(ctx, node.between, path)
        return [between, shown((yield callback.result))]

    def fan(self, ctx: Any, node: Fan, path: Path) -> Routine:
        """Run a fan-out."""
        bodies = [
            self.body(self.child, block, (*path, place), node.gives)
            for place, block in enumerate(node.branches)
        ]
        batch = yield partial(FANS[node.kind], ctx, node, bodies)
        self.visit.note((*path, WHOLE), "saw", shown_batch(batch))
        if node.throws:
            batch.throw_if_error()
        return shown_batch(batch)

    def combine(self, ctx: Any, node: Combine, path: Path) -> Routine:
        """Run a combinator."""
        parts = self.parts(ctx, node.parts, path)
        given = yield partial(getattr(ctx, node.kind), node.name, parts)
        if node.kind == "all_settled":
            return [shown_settled(one) for one in given]
        return shown(given)

    def again(self, ctx: Any, node: Again, path: Path) -> Routine:
        """Run rounds until one succeeds."""
        body = self.body(self.round, node, path)
        return (yield partial(ctx.with_retry, node.name, body, again_config(node)))

    def round(self, node: Again, path: Path, ctx: Any, attempt: int) -> Routine:
        """Run one round of it."""
        given = yield from self.block(ctx, node.body, (*path, attempt))
        if attempt <= node.failures:
            raise BoomError(f"{named(path)} round {attempt}")
        return given


class _Coroutines(_Runner):
    def __init__(self, visit: Visit, programs: Sequence[Program], pause: Pause) -> None:
        super().__init__(visit, programs)
        self._pause = pause

    def body(self, routine: Callable[..., Routine], *args: Any) -> Callable[..., Any]:
        async def body(*own: Any) -> Any:
            return await _drive_async(routine(*args, *own))

        return body

    def pause(self, seconds: float) -> Any:
        return self._pause(seconds)

    def parts(self, ctx: Any, parts: tuple[Single, ...], path: Path) -> list[Any]:
        return [self.start(ctx, part, (*path, place)) for place, part in enumerate(parts)]

    def together(self, ctx: Any, node: Together, path: Path) -> Routine:
        futures = self.parts(ctx, node.parts, path)
        given = yield partial(asyncio.gather, *futures, return_exceptions=True)
        return [shown_error(one) if isinstance(one, Exception) else shown(one) for one in given]


class _Functions(_Runner):
    def body(self, routine: Callable[..., Routine], *args: Any) -> Callable[..., Any]:
        def body(*own: Any) -> Any:
            return _drive(routine(*args, *own))

        return body

    def pause(self, seconds: float) -> Any:
        return None

    def parts(self, ctx: Any, parts: tuple[Single, ...], path: Path) -> list[Any]:
        def branch(part: Single, place: int, child: Any) -> Any:
            return self.start(child, part, (*path, place))

        return [partial(branch, part, place) for place, part in enumerate(parts)]

    def together(self, ctx: Any, node: Together, path: Path) -> Routine:
        branches = self.parts(ctx, node.parts, path)
        config = ParallelConfig(completion_config=CompletionConfig.all_completed())
        batch = yield partial(ctx.parallel, node.name, branches, config)
        return [
            shown(one.result) if one.error is None else shown_error(one.error) for one in batch.all
        ]


_SWALLOWED = "swallowed"


# What is said of outcomes


def shown_error(error: Exception) -> Json:
    """Say what was raised."""
    of = error.error_type if isinstance(error, DurableOperationError) else None
    return {"raised": type(error).__name__, "of": of, "says": shown(str(error))}


def shown_batch(batch: BatchResult[Any]) -> Json:
    """Say what a batch came to."""
    return {
        "reason": batch.completion_reason.value,
        "items": [
            [
                one.index,
                one.status.value,
                shown(one.result) if one.error is None else shown_error(one.error),
            ]
            for one in batch.all
        ],
    }


def shown_settled(one: Settled) -> Json:
    """Say how one of `all_settled` ended."""
    given = shown(one.value) if one.reason is None else shown_error(one.reason)
    return [one.status, given]
