"""Scenarios drawn from a seed: programs over every operation, what the outside does, deploys.

Drawing is cheap, some ten microseconds a node, so that millions of seeds are; it uses `Random`
alone, so that a seed is a scenario on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Literal, TypeVar

from tests.simulator.edits import edit
from tests.simulator.programs import (
    Action,
    Again,
    Answer,
    Ask,
    Block,
    Callback,
    Child,
    Combine,
    Completion,
    Condition,
    Deploy,
    Fan,
    Guard,
    Invoke,
    Node,
    Program,
    Raise,
    Scenario,
    Single,
    Start,
    Step,
    Together,
    Values,
    Wait,
)
from tests.simulator.values import CHILD_BYTES, STEP_BYTES, TEXT, UNWRITABLE, WRITABLE, Payload
from tests.simulator.walks import durations

T = TypeVar("T")

_HOSTILE = tuple(sorted(UNWRITABLE))
_PLAIN = ("null", "truth", "number", "fraction", "text", "empty", "unicode", "nested")
_FANS: Sequence[Literal["map", "parallel", "concurrently"]] = ("map", "parallel", "concurrently")
_COMBINATORS: Sequence[Literal["all", "any", "race", "all_settled"]] = (
    "all", "any", "race", "all_settled",
)  # fmt: skip
_DEEPEST = 4


def generate(rng: Random, size: int) -> Scenario:
    """Draw a scenario of about *size* nodes."""
    count = 1 + (rng.random() < 0.4) + (rng.random() < 0.2)
    programs = tuple(
        Program(
            name=f"p{number}",
            body=_Draw(rng, range(number + 1, count)).block(max(1, size // (number + 1)), 0),
            flavour="def" if rng.random() < 0.3 else "async",
        )
        for number in range(count)
    )
    starts = _starts(rng)
    end = min(60, max(2, durations(programs, programs[0].body)))
    return Scenario(
        seed=rng.getrandbits(32),
        programs=programs,
        starts=starts,
        actions=_actions(rng, starts, end) if rng.random() < 0.2 else (),
        deploys=_deploys(rng, programs, end) if rng.random() < 0.1 else (),
    )


def _starts(rng: Random) -> tuple[Start, ...]:
    starts = [
        Start(
            name=f"run-{number}",
            at=round(rng.random() * 3, 3),
            timeout=rng.randint(1, 30) if rng.random() < 0.05 else None,
        )
        for number in range(1 + (rng.random() < 0.3) + (rng.random() < 0.1))
    ]
    if rng.random() < 0.15:
        given = TEXT if rng.random() < 0.5 else starts[0].input
        starts.append(replace(starts[0], at=starts[0].at + rng.random() * 5, input=given))
    return tuple(starts)


def _actions(rng: Random, starts: Sequence[Start], end: float) -> tuple[Action, ...]:
    name = rng.choice(starts).name
    at = round(rng.random() * end, 3)
    match rng.randrange(4):
        case 0:
            return (Action("stop", name, at),)
        case 1:
            return (Action("pause", name, at), Action("resume", name, at + rng.randint(1, 20)))
        case 2:
            return (Action("stop", name, at), Action("delete", name, at + rng.randint(0, 5)))
        case _:
            return (Action("delete", name, at), Action("stop", name, at + 1))


def _deploys(rng: Random, programs: Sequence[Program], end: float) -> tuple[Deploy, ...]:
    deploy = edit(rng.choice(programs), rng)
    return (replace(deploy, at=round(rng.random() * end, 3)),)


class _Draw:
    """Draws the body of one program, which may invoke *others*."""

    def __init__(self, rng: Random, others: range) -> None:
        self.rng = rng
        self.others = others
        self.is_risky = False
        self.count = 0

    def block(self, size: int, depth: int) -> Block:
        """Draw a block of about *size* nodes, those inside of nodes counted."""
        nodes: list[Node] = []
        left = size
        while left > 0:
            before = self.count
            nodes.append(self.guarded(self.node(left, depth)))
            left -= self.count - before
        return tuple(nodes)

    def node(self, size: int, depth: int) -> Node:
        """Draw a node; what it is made of costs of *size*."""
        self.count += 1
        roll = self.rng.random()
        if size < 2 or depth >= _DEEPEST or roll < 0.45:
            return self.single(size, _DEEPEST)
        kinds: Sequence[Callable[[int, int], Node]] = (
            self.single, self.single, self.callback, self.fan, self.fan, self.combine,
            self.together, self.again, self.guard, self.values, self.failure,
        )  # fmt: skip
        return kinds[int((roll - 0.45) / 0.55 * len(kinds))](size - 1, depth + 1)

    def single(self, size: int, depth: int) -> Single:
        """Draw what is one operation."""
        kinds: Sequence[Callable[[], Single]] = (
            self.step, self.step, self.step, self.step, self.step, self.step, self.wait, self.wait,
            self.condition, self.ask, self.invoke,
        )  # fmt: skip
        roll = self.rng.randrange(len(kinds) + 1)
        return kinds[roll]() if roll < len(kinds) else self.child(size, depth)

    def guarded(self, node: Node) -> Node:
        """Put most of what surely raises into a `try`."""
        if not self.is_risky or self.rng.random() < 0.1:
            return node
        self.is_risky = False
        if isinstance(node, Guard):
            return node
        return Guard(body=(node,), rescue=(self.step(),) if self.rng.random() < 0.3 else ())

    # Values

    def name(self, kind: str) -> str | None:
        """Draw a name: its own, none, a common one, or a strange one."""
        roll = self.rng.random()
        if roll < 0.85:
            return f"{kind} {self.count}"
        if roll < 0.92:
            return None
        return "same" if roll < 0.97 else "~ \"<&>' {}%s\\"

    def payload(self) -> Payload:
        """Draw a value, seldom a large one or one that cannot be written."""
        roll = self.rng.random()
        if roll < 0.6:
            return TEXT
        if roll < 0.92:
            return Payload(self.rng.choice(WRITABLE), self.rng.randrange(9))
        if roll < 0.96:
            self.is_risky = True
            return Payload(self.rng.choice(_HOSTILE))
        size = self.rng.choice((1_000, CHILD_BYTES, CHILD_BYTES + 1, STEP_BYTES, STEP_BYTES + 2))
        self.is_risky |= size > STEP_BYTES
        return Payload(self.rng.choice(("large", "wide")), size)

    def attempts(self) -> tuple[int, int]:
        """Draw how many attempts fail, and how many there are at most."""
        roll = self.rng.random()
        if roll < 0.7:
            return 0, 1 if roll < 0.4 else 3
        failures = self.rng.randint(1, 3)
        if roll < 0.9:
            return failures, failures + self.rng.randint(1, 2)
        self.is_risky = True
        return failures, failures

    def answers(self, *, is_endless: bool) -> tuple[int, int, tuple[Answer, ...]]:
        """Draw deadlines of a callback, and what the outside sends."""
        rng = self.rng
        timeout = 0 if is_endless else rng.randint(1, 6)
        heartbeat = rng.randint(1, 3) if rng.random() < 0.2 else 0
        sent: list[Answer] = []
        if heartbeat:
            sent += [Answer("heartbeat", number + 0.2) for number in range(rng.randint(0, 4))]
        count = rng.choice((0, 1, 1, 1, 1, 2, 2)) if timeout or heartbeat else 1
        for number in range(count):
            at = rng.choice((0.0, 0.001, rng.random() * 8))
            kind = "fail" if rng.random() < 0.2 else "succeed"
            sent.append(Answer("fail" if kind == "fail" else "succeed", at, f"answer {number}"))
        if rng.random() < 0.02:
            sent = []
        self.is_risky |= not sent or sent[-1].kind != "succeed" or sent[-1].after > timeout > 0
        return timeout, heartbeat, tuple(sorted(sent, key=lambda one: one.after))

    # Single operations

    def step(self) -> Step:
        """Draw a step."""
        rng = self.rng
        failures, attempts = self.attempts()
        is_fatal = rng.random() < 0.03
        self.is_risky |= is_fatal
        gives = self.payload()
        return Step(
            name=self.name("step"),
            gives=gives,
            marked=gives.kind in _PLAIN and rng.random() < 0.1,
            failures=failures,
            attempts=attempts,
            delay=rng.choice((1, 1, 2, 0.3, 1.5)),
            once=rng.random() < 0.25,
            fatal=is_fatal,
            pause=rng.choice((0, 0, 0.01, 0.4, 2)),
        )

    def wait(self) -> Wait:
        """Draw a wait, seldom a long one."""
        seconds = self.rng.choice((1, 1, 2, 3, 1.5, 5, 5, 3600))
        return Wait(name=self.name("wait"), seconds=seconds)

    def condition(self) -> Condition:
        """Draw a condition that is met, or not in time, or breaks."""
        checks = self.rng.randint(1, 4)
        limit, broken_at = 10, None
        roll = self.rng.random()
        if roll < 0.15:
            broken_at = self.rng.randint(1, checks)
        elif roll < 0.3:
            limit = self.rng.randint(1, checks)
        self.is_risky |= roll < 0.3
        return Condition(
            name=self.name("condition"), checks=checks, limit=limit, broken_at=broken_at
        )

    def ask(self) -> Ask:
        """Draw a `wait_for_callback`."""
        timeout, heartbeat, answers = self.answers(is_endless=self.rng.random() < 0.3)
        failures, attempts = self.attempts()
        return Ask(
            name=self.name("ask"),
            timeout=timeout,
            heartbeat=heartbeat,
            answers=answers,
            failures=failures,
            attempts=attempts,
        )

    def invoke(self) -> Invoke:
        """Draw a call, seldom of nobody."""
        sends = Payload(self.rng.choice(_PLAIN), self.rng.randrange(9))
        if not self.others or self.rng.random() < 0.05:
            self.is_risky = True
            return Invoke(name=self.name("nobody"), program=None, sends=sends)
        self.is_risky |= self.rng.random() < 0.5
        return Invoke(name=self.name("invoke"), program=self.rng.choice(self.others), sends=sends)

    def child(self, size: int, depth: int) -> Child:
        """Draw a child context."""
        is_virtual = self.rng.random() < 0.2
        name = self.name("child")
        gives = self.payload() if self.rng.random() < 0.3 and not is_virtual else None
        return Child(
            name=name,
            body=self.block(self.part(size), depth),
            virtual=is_virtual,
            gives=gives,
            marked=not is_virtual and gives is None and self.rng.random() < 0.1,
        )

    def part(self, size: int) -> int:
        """Draw how much of *size* goes into a node."""
        return self.rng.randint(0, max(1, size // 2))

    # Several operations

    def callback(self, size: int, depth: int) -> Callback:
        """Draw a callback."""
        timeout, heartbeat, answers = self.answers(is_endless=self.rng.random() < 0.3)
        return Callback(
            name=self.name("callback"),
            timeout=timeout,
            heartbeat=heartbeat,
            answers=answers,
            between=self.block(min(2, self.part(size)), depth),
        )

    def fan(self, size: int, depth: int) -> Fan:
        """Draw a fan-out."""
        rng = self.rng
        count = rng.choice((0, 1, 2, 3, 3, 4, 6, 10))
        each = max(1, size // (count + 1))
        name = self.name("fan")
        kind = rng.choice(_FANS)
        branches = tuple(self.block(min(each, rng.randint(0, 3)), depth) for _ in range(count))
        is_throwing = rng.random() < 0.2
        gives = self.payload() if rng.random() < 0.2 else None
        completion = self.completion(count)
        if rng.random() < 0.1:  # the whole batch is too large to be recorded, no item of it is
            gives = Payload("large", CHILD_BYTES // (count - 1 if count > 1 else 1) + 100)
            if count > 1 and rng.random() < 0.5:  # and one of its items is late
                place = rng.randrange(count)
                branches = (*branches[:place], self.late(branches[place]), *branches[place + 1 :])
                completion = Completion(min_successful=count - 1)
        self.is_risky = self.is_risky and is_throwing
        return Fan(
            name=name,
            kind=kind,
            branches=branches,
            limit=rng.choice((None, None, 1, 2, 3)),
            completion=completion,
            flat=rng.random() < 0.3,
            throws=is_throwing,
            gives=gives,
        )

    def late(self, block: Block) -> Block:
        """Put a wait before a block, and let it hardly be stopped by what ends the wait."""
        wait = Wait(name=self.name("late"), seconds=5)
        if self.rng.random() < 0.5:
            return (wait, *block)
        return (Guard(body=(wait,), greedy=True), *block, self.step())

    def completion(self, count: int) -> Completion:
        """Draw when a batch of *count* stops."""
        rng = self.rng
        if count == 0 or rng.random() < 0.25:
            return Completion()
        if rng.random() < 0.15:
            return Completion(quorum=(rng.randint(1, count), rng.randint(1, count)))
        return Completion(
            min_successful=self.maybe(rng.randint(1, count), 0.3),
            tolerated_count=self.maybe(rng.randint(0, count), 0.5),
            tolerated_percentage=self.maybe(rng.choice((0, 10, 34.5, 50, 100)), 0.4),
        )

    def maybe(self, value: T, chance: float) -> T | None:
        """Give *value*, or nothing."""
        return value if self.rng.random() < chance else None

    def parts(self, size: int, depth: int) -> tuple[Single, ...]:
        """Draw what runs beside each other."""
        count = self.rng.randint(1, 4)
        self.count += count
        return tuple(self.single(size // count, depth) for _ in range(count))

    def combine(self, size: int, depth: int) -> Combine:
        """Draw a combinator."""
        kind = self.rng.choice(_COMBINATORS)
        parts = self.parts(size, depth)
        self.is_risky = self.is_risky and kind != "all_settled"
        return Combine(name=self.name(kind), kind=kind, parts=parts)

    def together(self, size: int, depth: int) -> Together:
        """Draw operations beside each other."""
        parts = self.parts(size, depth)
        self.is_risky = False
        return Together(name=self.name("together"), parts=parts)

    def again(self, size: int, depth: int) -> Again:
        """Draw a `with_retry`."""
        body = self.block(self.part(size), depth)
        failures, attempts = self.attempts()
        return Again(
            name=self.name("again"),
            body=body,
            failures=failures,
            attempts=attempts,
            wrapped=self.rng.random() < 0.6,
        )

    def guard(self, size: int, depth: int) -> Guard:
        """Draw a `try`."""
        body = self.block(self.part(size), depth)
        rescue = self.block(min(2, self.part(size)), depth)
        lastly = self.maybe(self.step(), 0.4)
        self.is_risky = False
        return Guard(body=body, rescue=rescue, lastly=lastly, greedy=self.rng.random() < 0.3)

    def values(self, size: int, depth: int) -> Values:
        """Draw values."""
        return Values()

    def failure(self, size: int, depth: int) -> Raise:
        """Draw user code that raises."""
        self.is_risky = True
        return Raise(f"failure {self.count}")
