"""One operation of an `async def` handler while it is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from durably.core.effects import (
    Call,
    Drop,
    Effect,
    Err,
    Next,
    Ok,
    Outcome,
    Park,
    Persist,
    Program,
    Spawn,
)
from durably.core.op import Op
from durably.core.scope import Scope
from durably.errors import ContextUsageError, UnrecoverableError

if TYPE_CHECKING:
    from durably.drivers.tasks import TaskRun

T = TypeVar("T")

_PRIMED, _DRIVEN, _RETURNED, _RAISED, _CANCELLED = range(5)


class Block:
    """A place where a task waits inside a durable future; counted, so that a stop can be seen."""

    __slots__ = ("_activity", "_is_drive", "_owns", "_waiter")

    def __init__(self, run: TaskRun, *, is_drive: bool) -> None:
        self._activity = run.activity
        self._is_drive = is_drive
        self._owns = run.owns_a_context(asyncio.current_task())
        self._waiter = run.loop.create_future()
        self._activity.moving -= self._is_drive
        self._activity.parked_owners += self._owns

    def wake(self) -> None:
        """Let the task go on. It counts as moving from now on, not only when it runs."""
        if not self._waiter.done():
            self._waiter.set_result(None)
            self._count_back()

    def cancel(self) -> None:
        """Unwind the task."""
        self._waiter.cancel()

    async def wait(self) -> None:
        """Wait for `wake`."""
        try:
            await self._waiter
        except asyncio.CancelledError:
            if self._waiter.cancelled():
                self._count_back()
            raise

    def _count_back(self) -> None:
        self._activity.moving += self._is_drive
        self._activity.parked_owners -= self._owns


class TaskFuture(Generic[T]):
    """The result of an operation, and what drives it there.

    It is driven by whoever awaits it first, within that very task; one that nobody awaits in the
    loop turn of its call gets a task of its own.

    Attributes:
        scope: the context that it was called on.
        is_awaited: whether anybody waits for it, now or before.
        body_scope: the context whose body it runs, if any.
    """

    __slots__ = (
        "_answer_block",
        "_blocks",
        "_branches",
        "_effect",
        "_ended_branches",
        "_on_end",
        "_program",
        "_run",
        "_state",
        "_value",
        "body_scope",
        "is_awaited",
        "op",
        "scope",
        "task",
        "task_context",
    )

    def __init__(
        self,
        run: TaskRun,
        scope: Scope,
        op: Op,
        program: Program[T],
        on_end: Callable[[Outcome[T]], None] | None = None,
    ) -> None:
        self._run = run
        self._program = program
        self._on_end = on_end
        self._state = _PRIMED
        self._value: Any = None
        self._blocks: list[Block] | None = None
        self._branches: list[TaskFuture[Any]] | None = None
        self._ended_branches: deque[tuple[int, Outcome[Any]]] | None = None
        self._answer_block: Block | None = None
        self.scope = scope
        self.op = op
        self.is_awaited = on_end is not None
        self.body_scope: Scope | None = None
        self.task: asyncio.Task[None] | None = None
        self.task_context: Any = None
        run.activity.moving += 1
        self._effect = self._resume(None)

    @property
    def operation_id(self) -> str:
        """The id under which the operation is recorded."""
        return self.op.id

    @property
    def name(self) -> str | None:
        """The operation's name."""
        return self.op.name

    @property
    def is_primed(self) -> bool:
        """Whether it has been started by its call, and nobody drives it yet."""
        return self._state == _PRIMED

    def done(self) -> bool:
        """Whether awaiting it would return at once."""
        return self._state > _DRIVEN

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for the result; raise what the operation failed with."""
        if self._state <= _DRIVEN:
            self._run.check_running()
            self.is_awaited = True
            if self._state == _PRIMED:
                self._run.forget_unstarted(self)
                yield from self.drive().__await__()
            else:
                yield from self._wait_for_end().__await__()
        self.scope.note_awaited(self.op)
        if self._state == _RETURNED:
            return self._value  # type: ignore[no-any-return]  # the program's type is T
        if self._state == _RAISED:
            raise self._value
        raise asyncio.CancelledError(f"operation {self.op} was cancelled in this invocation")

    def outcome(self) -> Outcome[T] | None:
        """Say how it ended, `None` while it has not; a cancelled one counts as open."""
        if self._state == _RETURNED:
            return Ok(self._value)
        return Err(self._value) if self._state == _RAISED else None

    def wake_at_end(self, block: Block) -> None:
        """Wake *block* when it has ended; whoever waits there waits for this too."""
        self.is_awaited = True
        if self.body_scope is not None:
            self.body_scope.is_awaited = True
        if self._blocks is None:
            self._blocks = []
        self._blocks.append(block)

    def claim(self) -> None:
        """Leave the driving to the caller, and to nobody else."""
        self._state = _DRIVEN

    async def drive(self) -> None:
        """Carry out what the program asks for, until it has ended."""
        self._state = _DRIVEN
        effect = self._effect
        try:
            while effect is not None:
                effect = self._resume(await self._perform(effect))
        except asyncio.CancelledError:
            self._program.close()
            self._end(_CANCELLED, None)
            raise
        except ContextUsageError as error:
            self._program.close()
            self._end(_RAISED, error)

    async def _wait_for_end(self) -> None:
        block = Block(self._run, is_drive=False)
        self.wake_at_end(block)
        await self._run.block(block)

    def _resume(self, answer: Any) -> Effect | None:
        """Run the program to its next effect that takes time; `None` when it has ended."""
        try:
            while True:
                effect = self._program.send(answer)
                answer = None
                match effect:
                    case Persist(update, False):
                        self._run.post(self.scope, update)
                    case Spawn():
                        self._spawn(effect)
                    case Drop():
                        self._drop()
                    case _:
                        return effect
        except StopIteration as end:
            self._end(_RETURNED, end.value)
        except UnrecoverableError as error:
            self._end(_CANCELLED, None)
            raise self._run.break_off(error) from error
        except Exception as error:
            self._end(_RAISED, error)
        return None

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case Persist(update):
                return await self._run.persist(self.scope, update)
            case Call(body, place):
                return await self._run.call(self, body, place)
            case Park(op, until):
                return await self._run.park(self, op, until)
            case Next():
                return await self._next()
            case _:
                raise AssertionError(f"{effect} is none of the effects that take time")

    def _spawn(self, effect: Spawn) -> None:
        if self._ended_branches is None:
            self._ended_branches = deque()
            self._branches = []
        ended, index = self._ended_branches, effect.index

        def on_end(outcome: Outcome[Any]) -> None:
            ended.append((index, outcome))
            if self._answer_block is not None:
                self._answer_block.wake()

        branch = TaskFuture(self._run, effect.scope, effect.op, effect.make(), on_end)
        if not branch.done():
            assert self._branches is not None
            self._branches.append(branch)
            self._run.start_task(branch)

    async def _next(self) -> tuple[int, Outcome[Any]]:
        assert self._ended_branches is not None, "something was spawned"
        if not self._ended_branches:
            self._answer_block = Block(self._run, is_drive=True)
            await self._run.block(self._answer_block)
            self._answer_block = None
        return self._ended_branches.popleft()

    def _drop(self) -> None:
        for branch in self._branches or ():
            if not branch.done() and branch.task is not None:
                branch.task.cancel()
        self._branches = None

    def close(self) -> None:
        """Give it up before anybody has begun to drive it."""
        self._program.close()
        self._end(_CANCELLED, None)

    def _end(self, state: int, value: Any) -> None:
        self._state = state
        self._value = value
        self._run.activity.moving -= 1
        for block in self._blocks or ():
            block.wake()
        if self._on_end is None:
            self.scope.open_calls -= 1
        else:
            if state == _RETURNED:
                self._on_end(Ok(value))
            elif state == _RAISED:
                self._on_end(Err(value))
        self._run.note_quiet()
