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
from durably.drivers.blocks import Bell, Block
from durably.drivers.bodies import foreign_cancellation
from durably.errors import ContextUsageError, UnrecoverableError

if TYPE_CHECKING:
    from durably.drivers.tasks import TaskRun

T = TypeVar("T")

_PRIMED, _DRIVEN, _RETURNED, _RAISED, _CANCELLED = range(5)


class TaskFuture(Generic[T]):
    """The result of an operation, and what drives it there.

    It is driven by whoever awaits it first, within that very task; one that nobody awaits soon
    after its call gets a task of its own.

    Attributes:
        scope: the context that it was called on.
        above: the operation whose body or branches it belongs to, `None` for the handler's own.
        is_awaited: whether anybody waits for it, now or before.
        home: where it is listed while it is open.
        driver: the task that drives it.
    """

    __slots__ = (
        "_bell",
        "_blocks",
        "_effect",
        "_ended_branches",
        "_inner",
        "_on_end",
        "_program",
        "_run",
        "_seen",
        "_state",
        "_value",
        "above",
        "driver",
        "home",
        "is_awaited",
        "op",
        "scope",
        "task_context",
    )

    def __init__(
        self,
        run: TaskRun,
        scope: Scope,
        op: Op,
        program: Program[T],
        above: TaskFuture[Any] | None,
        on_end: Callable[[Outcome[T]], None] | None = None,
    ) -> None:
        self._run = run
        self._program = program
        self._on_end = on_end
        self._state = _PRIMED
        self._value: Any = None
        self._blocks: list[Block | Bell] | None = None
        self._inner: Scope | None = None
        self._ended_branches: deque[tuple[int, Outcome[Any]]] = _NO_BRANCHES
        self._bell: Bell | None = None
        self.scope = scope
        self.op = op
        self.above = above
        self.is_awaited = on_end is not None
        self.home: dict[TaskFuture[Any], None] | None = None
        self.driver: asyncio.Task[Any] | None = None
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
            self._run.check_running(self.scope)
            self.is_awaited = True
            if self._state == _PRIMED:
                self._run.work.forget_unstarted(self)
                yield from self.drive().__await__()
            else:
                yield from self._wait_for_end().__await__()
        self.scope.note_awaited(self.op)
        if self._state == _RETURNED:
            return self._value  # type: ignore[no-any-return]  # the program's type is T
        if self._state == _RAISED:
            raise self._value
        raise asyncio.CancelledError(f"operation {self.op} was cancelled in this invocation")

    def __bool__(self) -> bool:
        """Refuse to be taken for the result.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"operation {self.op} has not been awaited: write `await` before its call")

    def outcome(self) -> Outcome[T] | None:
        """Say how it ended, `None` while it has not; a cancelled one counts as open."""
        if self._state == _RETURNED:
            return Ok(self._value)
        return Err(self._value) if self._state == _RAISED else None

    def wake_at_end(self, block: Block | Bell) -> None:
        """Wake *block* when it has ended; whoever waits there waits for this too."""
        self.is_awaited = True
        if self._blocks is None:
            self._blocks = []
        self._blocks.append(block)

    def is_waited_for(self) -> bool:
        """Whether somebody waits for it who is waited for himself, and it is no orphan."""
        future: TaskFuture[Any] | None = self
        while future is not None:
            if not future.is_awaited or future.scope.is_closed:
                return False
            future = future.above
        return True

    def move(self, home: dict[TaskFuture[Any], None]) -> None:
        """List it in *home*, and nowhere else."""
        if self.home is not None:
            del self.home[self]
        self.home = home
        home[self] = None

    def claim(self, driver: asyncio.Task[None]) -> None:
        """Leave the driving to *driver*, and to nobody else."""
        self._state = _DRIVEN
        self.driver = driver

    def abandon(self) -> None:
        """Give it up, whoever drives it; it ends when that task has unwound."""
        if self.driver is None:
            self.close()
        elif not self.done():
            self.driver.cancel()

    def close(self) -> None:
        """Give it up, when nobody drives it."""
        self._end(_CANCELLED, None)

    async def drive(self) -> None:
        """Carry out what the program asks for, until it has ended."""
        self._state = _DRIVEN
        self.driver = asyncio.current_task()
        effect = self._effect
        try:
            while effect is not None:
                effect = self._resume(await self._perform(effect))
        except ContextUsageError as error:
            self._end(_RAISED, error)
        except UnrecoverableError as error:
            signal = self._run.break_off(error)
            self._end(_CANCELLED, None)
            raise signal from error
        except BaseException:
            self._end(_CANCELLED, None)
            raise

    async def _wait_for_end(self) -> None:
        block = Block(self._run.activity, is_drive=False, owns=self._run.work.owns_a_context())
        self.wake_at_end(block)
        try:
            await self._run.block(block)
        except asyncio.CancelledError:
            self._run.cancel_with_waiter(self)
            raise

    def _resume(self, answer: Any) -> Effect | None:
        """Run the program to its next effect that takes time; `None` when it has ended."""
        self._seen = self._run.journal.changes
        try:
            return self._advance(answer)
        except StopIteration as end:
            self._end(_RETURNED, end.value)
        except UnrecoverableError as error:
            signal = self._run.break_off(error)
            self._end(_CANCELLED, None)
            raise signal from error
        except Exception as error:  # noqa: BLE001 - whatever the program raises is its end
            self._end(_RAISED, error)
        except BaseException:
            self._end(_CANCELLED, None)
            raise
        return None

    def _advance(self, answer: Any) -> Effect:
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

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case Persist(update):
                return await self._run.persist(self.scope, update)
            case Call(body, place):
                return await self._run.call(self, body, place)
            case Park() if self._run.journal.changes != self._seen:
                return None  # its program must look again
            case Park(op, until):
                return await self._run.park(self, op, until)
            case _:
                assert isinstance(effect, Next), "no other effect takes time"
                return await self._next()

    def _spawn(self, effect: Spawn) -> None:
        if self._inner is None:
            self._inner = effect.scope
            self._run.work.open_branches(effect.scope, self)
            self._ended_branches = deque()
            self._bell = Bell(self._run, is_drive=True)
        ended, bell, index = self._ended_branches, self._bell, effect.index
        assert bell is not None, "it was made with the first branch"

        def on_end(outcome: Outcome[Any]) -> None:
            ended.append((index, outcome))
            bell.wake()

        branch = TaskFuture(self._run, effect.scope, effect.op, effect.make(), self, on_end)
        if branch.is_primed:
            self._run.start_branch(branch)

    async def _next(self) -> tuple[int, Outcome[Any]]:
        assert self._bell is not None, "something was spawned"
        while not self._ended_branches:
            await self._bell.wait()
        return self._ended_branches.popleft()

    def _drop(self) -> None:
        if self._inner is not None:
            self._run.work.close(self._inner)

    def _end(self, state: int, value: Any) -> None:
        if self._state > _DRIVEN:
            return
        self._state = state
        self._value = value
        self._program.close()
        self._run.activity.moving -= 1
        if self.home is not None:
            del self.home[self]
        self._drop()
        for block in self._blocks or ():
            block.wake()
        if self._on_end is not None:
            self._tell(self._on_end)
        self._run.note_ended()

    def _tell(self, on_end: Callable[[Outcome[T]], None]) -> None:
        outcome = self.outcome()
        if outcome is not None:
            on_end(outcome)
        elif not self.scope.is_closed:
            # Something of the user's cancelled its body; its batch must not wait for it for ever.
            self._run.break_off(foreign_cancellation())


TaskFuture.__name__ = TaskFuture.__qualname__ = "DurableFuture"  # what users know it as

_NO_BRANCHES: deque[tuple[int, Outcome[Any]]] = deque()
