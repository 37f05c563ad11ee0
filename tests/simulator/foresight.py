"""What a program comes to in a world where it has only one way to go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from math import inf
from typing import Any

from tests.simulator.outcomes import (
    ANY,
    ModelError,
    Outcome,
    Tally,
    Try,
    WaitingError,
    next_delay,
    planned_check,
    planned_step,
    reason_to_stop,
)
from tests.simulator.programs import (
    OUTSIDE,
    Again,
    Answer,
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
    Step,
    Together,
    Values,
    Wait,
    named,
)
from tests.simulator.values import NULL, UNWRITABLE, Payload, marked, shown

_MARGIN = 0.5  # seconds between an answer and a deadline, below which either may come first


class FreeError(Exception):
    """Chance decides, so there is more than one way to go."""


class Foresight:
    """Interprets programs. With faults, what they can change is free."""

    def __init__(self, programs: Sequence[Program], *, with_faults: bool) -> None:
        self.programs = programs
        self.with_faults = with_faults

    def block(self, program: Program, block: Block, path: Path) -> list[Any]:
        """Run node after node."""
        return [self.node(program, node, (*path, place)) for place, node in enumerate(block)]

    def node(self, program: Program, node: Node, path: Path) -> Any:
        """Give the value of a node.

        Raises:
            ModelError: it raises.
            WaitingError: it never ends.
            FreeError: it may do one or the other.
        """
        kinds: dict[type[Any], Callable[..., Any]] = {
            Step: self.step,
            Wait: lambda *_: None,
            Condition: self.condition,
            Ask: self.ask,
            Invoke: self.invoke,
            Child: self.child,
            Callback: self.callback,
            Fan: self.fan,
            Combine: self.combine,
            Together: self.together,
            Again: self.again,
            Guard: self.guard,
            Values: lambda *_: ANY,
            Raise: self.fail,
        }
        return kinds[type(node)](program, node, path)

    def outcome(self, run: Callable[[], Any]) -> Outcome:
        """Say how something comes out."""
        try:
            return Outcome(run())
        except ModelError as error:
            return Outcome(error=error)
        except WaitingError as waiting:
            return Outcome(waits=waiting.waits)

    def step(self, program: Program, node: Step, path: Path) -> Any:
        """Run a step."""
        if node.once and self.with_faults:
            raise FreeError
        return self.tries(partial(planned_step, node, path), "StepError")

    def condition(self, program: Program, node: Condition, path: Path) -> Any:
        """Run a condition."""
        return self.tries(partial(planned_check, node, path), "WaitForConditionError")

    def tries(self, plan: Callable[[int], Try], raised: str) -> Any:
        """Make attempts up to the last."""
        number = 1
        while (tried := plan(number)).delay is not None:
            number += 1
        if tried.error is not None:
            raise ModelError(raised, *tried.error)
        return tried.value

    def fail(self, program: Program, node: Raise, path: Path) -> Any:
        """Raise what is no operation's error."""
        raise ModelError("ValueError", None, node.message)

    # The outside

    def callback(self, program: Program, node: Callback, path: Path) -> Any:
        """Make a callback, do something else, and await it."""
        between = self.block(program, node.between, path)
        return [between, self.answer(node)]

    def ask(self, program: Program, node: Ask, path: Path) -> Any:
        """Tell the outside, and await its answer."""
        submitter = Step(name=None, gives=NULL, failures=node.failures, attempts=node.attempts)
        try:
            self.tries(partial(planned_step, submitter, path), "StepError")
        except ModelError as error:
            raise ModelError("CallbackSubmitterError", ANY, error.says) from error
        try:
            return self.answer(node)
        except ModelError as error:
            raise ModelError(error.raised, ANY, error.says) from error

    def answer(self, node: Callback | Ask) -> Any:
        """Say which comes first: an answer or a deadline."""
        if self.with_faults and node.answers and (node.timeout or node.heartbeat):
            raise FreeError
        last = node.timeout or inf
        silence = node.heartbeat or inf
        for one in sorted(node.answers, key=lambda one: one.after):
            if abs(one.after - min(last, silence)) < _MARGIN:
                raise FreeError
            if one.after > min(last, silence):
                break
            if one.kind != "heartbeat":
                return self.accepted(one)
            silence = one.after + (node.heartbeat or inf)
        self.expire(last, silence)
        return None

    def accepted(self, answer: Answer) -> Any:
        """Give what an answer says."""
        if answer.kind == "fail":
            raise ModelError("CallbackExternalError", OUTSIDE, answer.text)
        return answer.text

    def expire(self, last: float, silence: float) -> None:
        """Raise what the deadline says that comes first."""
        if min(last, silence) == inf:
            raise WaitingError({"": "callback"})
        if abs(last - silence) < _MARGIN:
            raise FreeError
        kind, end = ("Timeout", "") if last < silence else ("Heartbeat", " on heartbeat")
        raise ModelError("CallbackTimeoutError", f"Callback.{kind}", f"Callback timed out{end}")

    def invoke(self, program: Program, node: Invoke, path: Path) -> Any:
        """Run another program."""
        if node.program is None:
            raise ModelError("InvokeError", "ChainedInvoke.FunctionNotFound", ANY)
        other = self.programs[node.program]
        try:
            return self.block(other, other.body, ())
        except ModelError as error:
            raise ModelError("InvokeError", error.raised, error.says) from error

    # Contexts

    def child(self, program: Program, node: Child, path: Path) -> Any:
        """Run a block in a context."""
        value = self.inside(partial(self.block, program, node.body, path), node.gives)
        return marked(value) if node.marked else value

    def inside(self, run: Callable[[], Any], gives: Payload | None = None) -> Any:
        """Run the body of a context."""
        try:
            value = run()
        except ModelError as error:
            raise error.in_child() from error
        if gives is None:
            return value
        if gives.kind in UNWRITABLE:
            raise ModelError("ChildContextError", "SerdesError", ANY)
        return [value, shown(gives.make())]

    def again(self, program: Program, node: Again, path: Path) -> Any:
        """Run rounds."""
        rounds = partial(self.rounds, program, node, path)
        return self.inside(rounds) if node.wrapped else rounds()

    def rounds(self, program: Program, node: Again, path: Path) -> Any:
        """Run rounds until one succeeds, or the strategy gives up."""
        number = 1
        while True:
            try:
                return self.round(program, node, path, number)
            except ModelError:
                if next_delay(node.attempts, number, node.delay) is None:
                    raise
            number += 1

    def round(self, program: Program, node: Again, path: Path, number: int) -> Any:
        """Run one round."""
        value = self.block(program, node.body, (*path, number))
        if number <= node.failures:
            raise ModelError("BoomError", None, f"{named(path)} round {number}")
        return value

    def guard(self, program: Program, node: Guard, path: Path) -> Any:
        """Run `try`, `except` and `finally`."""
        try:
            try:
                said: Any = ["fine", self.block(program, node.body, (*path, 0))]
            except ModelError as error:
                rescued = self.block(program, node.rescue, (*path, 1))
                said = ["caught", error.shown(), rescued]
        except ModelError:
            self.lastly(program, node, path)
            raise
        self.lastly(program, node, path)
        return said

    def lastly(self, program: Program, node: Guard, path: Path) -> None:
        """Run what is in the `finally`."""
        if node.lastly is not None:
            self.node(program, node.lastly, (*path, 2))

    # What runs beside each other

    def fan(self, program: Program, node: Fan, path: Path) -> Any:
        """Run a fan-out, if nothing can stop it early, or only one item runs at once."""
        is_lost = node.flat and node.gives is not None and node.gives.kind in UNWRITABLE
        gives = None if is_lost else node.gives
        runs = [
            partial(self.inside, partial(self.block, program, block, (*path, index)), gives)
            for index, block in enumerate(node.branches)
        ]
        items, reason = self.in_turn(node, runs) if node.limit == 1 else self.at_once(node, runs)
        if is_lost and any(one.has_returned for one in items):
            raise ModelError("ChildContextError", "SerdesError", ANY)
        if node.throws:
            for one in items:
                if one.error is not None:
                    raise one.error
            if reason == "CUSTOM_COMPLETION_FAILED":
                raise ModelError("BatchCompletionError", ANY, ANY)
        said = [
            [index, "SUCCEEDED" if one.error is None else "FAILED", one.shown()]
            for index, one in enumerate(items)
        ]
        return {"reason": reason, "items": said}

    def in_turn(
        self, node: Fan, runs: Sequence[Callable[[], Any]]
    ) -> tuple[list[Outcome], str | None]:
        """Run items one after the other."""
        items: list[Outcome] = []
        reason = self.reason(node, items)
        for run in runs:
            if reason is not None:
                break
            items.append(self.outcome(run))
            if items[-1].waits is not None:
                raise WaitingError(items[-1].waits)
            reason = self.reason(node, items)
        return items, reason

    def at_once(
        self, node: Fan, runs: Sequence[Callable[[], Any]]
    ) -> tuple[list[Outcome], str | None]:
        """Run all items, unless the batch may stop before they are done."""
        items = [self.outcome(run) for run in runs]
        successes = sum(one.has_returned for one in items)
        failures = sum(one.error is not None for one in items)
        for good, bad in product(range(successes + 1), range(failures + 1)):
            tally = Tally(good, bad, len(items))
            if not tally.is_whole and reason_to_stop(node.completion, tally) is not None:
                raise FreeError
        for one in items:
            if one.waits is not None:
                raise WaitingError(one.waits)
        return items, self.reason(node, items)

    def reason(self, node: Fan, items: Sequence[Outcome]) -> str | None:
        """Say why a batch stops after *items*."""
        failures = sum(one.error is not None for one in items)
        tally = Tally(len(items) - failures, failures, len(node.branches))
        return reason_to_stop(node.completion, tally)

    def parts(self, program: Program, node: Combine | Together, path: Path) -> list[Outcome]:
        """Run parts; in a plain function each is in a context of its own."""
        runs: Iterable[Callable[[], Any]] = (
            partial(self.node, program, one, (*path, place)) for place, one in enumerate(node.parts)
        )
        if program.flavour == "def":
            runs = (partial(self.inside, run) for run in runs)
        return [self.outcome(run) for run in runs]

    def together(self, program: Program, node: Together, path: Path) -> Any:
        """Run operations beside each other."""
        parts = self.parts(program, node, path)
        for one in parts:
            if one.waits is not None:
                raise WaitingError(one.waits)
        return [one.shown() for one in parts]

    def combine(self, program: Program, node: Combine, path: Path) -> Any:
        """Run a combinator, if only one part can decide it."""
        parts = self.parts(program, node, path)
        deciding = {
            "all": [one for one in parts if one.error is not None],
            "any": [one for one in parts if one.has_returned],
            "race": [one for one in parts if one.has_ended],
            "all_settled": [],
        }[node.kind]
        if len(deciding) > 1:
            raise FreeError
        if deciding:
            return self.decided(deciding[0])
        for one in parts:
            if one.waits is not None:
                raise WaitingError(one.waits)
        if node.kind == "any":
            raise ModelError("PromiseCombinatorError", ANY, ANY)
        if node.kind == "all":
            return [one.value for one in parts]
        return [["fulfilled" if one.error is None else "rejected", one.shown()] for one in parts]

    def decided(self, part: Outcome) -> Any:
        """Give what a combinator gives that *part* decides."""
        if part.error is not None:
            raise ModelError("PromiseCombinatorError", ANY, part.error.says)
        return part.value
