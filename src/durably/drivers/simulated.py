"""Runs programs for plain functions in one thread, from a seed: one invocation of a `def` handler.

A plain function cannot be suspended. Whoever has to wait is unwound, and driven again by replay
when there may be something new, as threads do with branches. So an invocation is a series of
*passes*: the handler runs as far as it goes, what it asked to be recorded is sent, and it runs
again, until it ends or nothing can go on. The requests are left to the caller, so that nothing here
waits for anything. Whatever there is to choose is drawn from the seed: which branch goes on, where
one gives way to another, and how much is done before the next request.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from random import Random
from typing import Any, NoReturn, TypeAlias, TypeVar

from durably.core.active import Attempting, active, check_use, misuse, not_owner
from durably.core.effects import (
    Attempt,
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
from durably.core.journal import Journal
from durably.core.lifecycle import reason_to_stop
from durably.core.op import Op
from durably.core.scope import Scope
from durably.drivers.bodies import outcome_of, root_scope, step_context, stopped
from durably.drivers.deadline import limit_of
from durably.drivers.futures import Broken, Ending, Raised, Returned, Suspended, is_final
from durably.drivers.outbox import Batch, Outbox
from durably.drivers.settings import RunSettings
from durably.drivers.strands import Branch, Branches, Strand
from durably.drivers.wrapping import in_thread
from durably.errors import (
    BranchSuspended,
    ContextUsageError,
    DurableOperationError,
    DurableSignal,
    InvocationSuspended,
    NonDeterministicExecutionError,
    TerminationReason,
    UnrecoverableError,
    classify_checkpoint_error,
)
from durably.wire.api import CheckpointRequest, CheckpointResponse
from durably.wire.operation import OperationType
from durably.wire.update import OperationUpdate

T = TypeVar("T")

Exchange: TypeAlias = Generator[CheckpointRequest, Outcome[CheckpointResponse], T]
"""Gives requests, and is sent what came of each: the reply, all its pages joined, or an error."""

_GIVES_WAY = 0.25
_SENDS_EARLY = 0.25
_ASKS_FOR_NEWS = 0.25


class SimulatedRun:
    """One invocation. Everything of it runs in the thread that asks for the next request.

    Code that swallows the signals of an invocation that ends, and never stops calling operations,
    keeps that thread: there is no other one that could leave it behind.

    Args:
        journal: what is known of each operation.
        token: the first checkpoint token.
        settings: as for any driver.
        random: where choices come from.
    """

    def __init__(self, journal: Journal, token: str, settings: RunSettings, random: Random) -> None:
        self._journal = journal
        self._settings = settings
        self._random = random
        self._outbox = Outbox(journal.arn, token, settings.ids, _left_to_the_caller)
        self._strand = Strand()
        self._is_pass_over = False
        self._awaited: list[Op] = []
        self._ending: Ending | None = None

    # What contexts call

    def begin(self, scope: Scope, name: str | None, type_: OperationType, sub_type: str) -> Op:
        """Give the operation that is being called on *scope* its identity.

        Raises:
            ContextUsageError: it must not be called from here. Nothing was recorded.
        """
        check_use(scope, name, self._strand)
        self._check_running()
        if isinstance(self._strand, Branch) and self._random.random() < _GIVES_WAY:
            self._strand.gave_way = True
            self._unwind()
        try:
            return scope.allot(name, type_, sub_type)
        except NonDeterministicExecutionError as different:
            raise self._break_off(different) from different

    def launch(self, scope: Scope, op: Op, program: Program[T]) -> T:
        """Run *program* to its end."""
        place = active.get()
        if not isinstance(place, Scope) or place.owner is not self._strand:
            raise misuse(scope, op.name) or not_owner(op.name)
        try:
            return self._drive(program)
        finally:
            scope.note_awaited(op)

    # The whole invocation

    def run(self, body: Callable[[Any], Any]) -> Exchange[Ending]:
        """Run the handler's *body*, and say how the invocation ended."""
        while self._ending is None:
            self._pass(body)
            if self._ending is None:
                yield from self._look_for_news()
        if is_final(self._ending):
            yield from self._send()
        return self._ending

    def persist_last(self, update: OperationUpdate) -> Exchange[None]:
        """Send the update that closes the execution, after the handler has returned.

        Raises:
            UnrecoverableError: it was not accepted.
        """
        self._outbox.add(update)
        yield from self._send()
        if isinstance(self._ending, Broken):
            raise self._ending.error

    def _pass(self, body: Callable[[Any], Any]) -> None:
        """Run the handler from its beginning, as far as it goes."""
        self._strand = Strand()
        self._is_pass_over = False
        self._awaited = []
        ending: Ending
        try:
            outcome = self._run_body(root_scope(self._journal, self._settings), body)
            ending = Returned(outcome.value) if isinstance(outcome, Ok) else Raised(outcome.error)
        except DurableSignal:
            return
        except ContextUsageError as error:
            ending = Raised(error)
        except UnrecoverableError as error:
            ending = Broken(error)
        if not self._is_pass_over:  # else it has swallowed the signal, and what it gives is void
            self._ending = self._ending or ending

    def _look_for_news(self) -> Exchange[None]:
        """Send what was queued; without anything, and without news, the invocation is over."""
        is_waiting_only = self._outbox.is_empty
        if is_waiting_only and self._random.random() < _ASKS_FOR_NEWS:
            self._outbox.force()
        seen = self._journal.changes
        yield from self._send()
        if is_waiting_only and self._ending is None and self._journal.changes == seen:
            reason = reason_to_stop(self._awaited) or TerminationReason.CALLBACK_PENDING
            self._ending = stopped(self._journal, reason)

    def _send(self) -> Exchange[None]:
        """Send all that is queued. What comes of it counts more than what the handler gave."""
        while (batch := self._outbox.sending) is not None:
            reply = yield batch.request
            if isinstance(reply, Err):
                self._outbox.close()
                self._ending = Broken(classify_checkpoint_error(reply.error))
                return
            self._outbox.accept(reply.value)
            operations = reply.value.new_execution_state.operations
            changed = self._journal.take_reply(operations, batch.updates)
            if self._settings.observers is not None:
                self._settings.observers.operations_changed(changed)
            if self._outbox.is_closed and not batch.closes_execution:
                self._ending = Suspended(TerminationReason.OPERATION_TERMINATED)
            self._outbox.send()

    # The driver

    def _drive(self, program: Program[T], primed: Effect | None = None) -> T:
        """Carry out what *program* asks for, until it has ended or has to wait."""
        answer: Any = None
        branches = Branches()
        try:
            while True:
                effect = primed or program.send(answer)
                primed = None
                answer = self._perform(branches, effect)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # typeshed: the value is Any
        except UnrecoverableError as error:
            raise self._break_off(error) from error
        finally:
            program.close()

    def _perform(self, branches: Branches, effect: Effect) -> Any:
        answer: Any = None
        match effect:
            case Persist(update, wait):
                self._persist(update, wait=wait)
            case Call(body, place):
                answer = self._call(body, place)
            case Park(op):
                self._awaited.append(op)
                self._unwind()
            case Spawn():
                self._spawn(branches, effect)
            case Next():
                answer = self._next(branches)
            case _:
                assert isinstance(effect, Drop), "there is no other effect"
                branches.ready.clear()  # none of them runs just now, because their program does
        return answer

    def _persist(self, update: OperationUpdate, *, wait: bool) -> None:
        self._check_running()
        self._outbox.add(update)
        if wait:
            self._is_pass_over = self._random.random() < _SENDS_EARLY
            self._unwind()

    def _spawn(self, branches: Branches, effect: Spawn) -> None:
        """Start a branch, so that starts have an order."""
        program = effect.make()
        try:
            while isinstance(first := program.send(None), Persist) and not first.wait:
                self._persist(first.update, wait=False)
        except StopIteration as end:
            branches.ended.append((effect.index, Ok(end.value)))
        except DurableOperationError as error:
            branches.ended.append((effect.index, Err(error)))
        else:
            branches.ready.append(Branch(effect, program, first))

    def _next(self, branches: Branches) -> tuple[int, Outcome[Any]]:
        while not branches.ended:
            if not branches.ready:
                self._unwind()
            branch = branches.ready.pop(self._random.randrange(len(branches.ready)))
            outcome = branch.context.copy().run(self._run_branch, branch)
            self._check_running()
            if branch.gave_way:
                branch.gave_way = branch.is_unwound = False
                branches.ready.append(branch)
            elif outcome is not None and not branch.is_unwound:
                branches.ended.append((branch.index, outcome))
        return branches.ended.popleft()

    def _run_branch(self, branch: Branch) -> Outcome[Any] | None:
        above, self._strand = self._strand, branch
        primed, branch.primed = branch.primed, None
        program, effect = primed or (branch.make(), None)
        try:
            return Ok(self._drive(program, effect))
        except DurableSignal:
            return None
        except Exception as error:  # noqa: BLE001 - whatever the program raises is its end
            return Err(error)
        finally:
            self._strand = above

    # User code

    def _call(self, body: Callable[..., Any], place: Attempt | Scope) -> Outcome[Any]:
        observers = self._settings.observers
        if observers is None:
            return self._run_user_code(body, place)
        info = observers.body_starts(place)
        outcome = self._run_user_code(in_thread(body, observers.body_wraps(info)), place)
        observers.body_ends(info, outcome)
        return outcome

    def _run_user_code(self, body: Callable[..., Any], place: Attempt | Scope) -> Outcome[Any]:
        if isinstance(place, Scope):
            return self._run_body(place, body)
        return self._run_attempt(body, place)

    def _run_body(self, scope: Scope, body: Callable[[Any], Any]) -> Outcome[Any]:
        scope.owner = self._strand
        token = active.set(scope)
        try:
            return outcome_of(lambda: body(self._settings.make_context(scope, self)))
        finally:
            active.reset(token)
            scope.owner = None

    def _run_attempt(self, body: Callable[[], Any], attempt: Attempt) -> Outcome[Any]:
        scope = active.get()
        assert isinstance(scope, Scope), "operations are driven inside the body of their context"
        clock, limit = self._settings.clock, limit_of(self._settings, attempt)
        context = step_context(self._settings, scope, attempt)
        if self._settings.stand_in is not None:
            body = self._settings.stand_in(scope, attempt, body)
        token = active.set(Attempting(scope, attempt, context))
        began = clock.monotonic()
        try:
            outcome = outcome_of(lambda: _value_of(body(), attempt))
        finally:
            active.reset(token)
        if limit is not None and clock.monotonic() - began > limit.seconds:
            return limit.given_up(attempt)
        return outcome

    # Ending it

    def _unwind(self) -> NoReturn:
        """Unwind the strand that runs: it has to wait."""
        self._strand.is_unwound = True
        if not isinstance(self._strand, Branch):
            self._is_pass_over = True
        raise InvocationSuspended if self._is_pass_over else BranchSuspended

    def _check_running(self) -> None:
        """Raise the signal again if the strand that runs is unwound: it is sticky."""
        if self._ending is not None or self._is_pass_over:
            raise InvocationSuspended
        if self._strand.is_unwound:
            raise BranchSuspended

    def _break_off(self, error: UnrecoverableError) -> DurableSignal:
        """End the invocation with *error*; give the signal to raise."""
        self._ending = self._ending or Broken(error)
        return InvocationSuspended()


def _left_to_the_caller(_batch: Batch) -> None:
    """Send nothing: the run gives its requests to its caller."""


def _value_of(value: Any, attempt: Attempt) -> Any:
    if not inspect.iscoroutine(value):
        return value
    value.close()
    raise ContextUsageError(
        f"{attempt.op} runs a coroutine function. Nothing was recorded. There is no event loop in "
        f"a simulated invocation: give the step a plain function"
    )
