"""Durable programs as values: what they do, said once, for a handler and for the oracle.

A program is a block of nodes, and a node asks for one durable operation, or for something around
operations. Each node has a *path*, its place in the program: `0.2.1` is node 1 of part 2 of the
root's node 0. A block gives a list with what each of its nodes gave (`shown`), so the result of an
execution tells everything that its handler has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.simulator.values import NULL, TEXT, Payload

Path: TypeAlias = tuple[int, ...]


WHOLE = -1
"""Under a fan-out's path: what the whole batch came to, before `throw_if_error`."""


def named(path: Path) -> str:
    """Write a path as text."""
    return ".".join(map(str, path))


# Nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step whose first *failures* attempts raise, and whose strategy makes *attempts* at most.

    Attributes:
        gives: what it returns when it does.
        delay: seconds between attempts.
        once: at most once for each attempt.
        fatal: after *failures* attempts it raises what its strategy does not retry.
        pause: seconds that the body takes.
        marked: its value is recorded by a serdes that marks what it has read (`marked`).
    """

    name: str | None
    gives: Payload = TEXT
    failures: int = 0
    attempts: int = 1
    delay: float = 1
    once: bool = False
    fatal: bool = False
    pause: float = 0
    marked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A wait."""

    name: str | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """A condition that counts up to *checks*.

    Attributes:
        limit: the strategy raises when so many checks have not sufficed.
        broken_at: which check raises, from 1.
    """

    name: str | None
    checks: int
    delay: float = 1
    limit: int = 10
    broken_at: int | None = None


OUTSIDE = "Outside"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the outside sends to a callback, *after* so many seconds since it was told of it.

    A failure is sent as an error of the type `OUTSIDE`, with *text* as its message.
    """

    kind: Literal["succeed", "fail", "heartbeat"]
    after: float
    text: str = "yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """A callback that the handler makes, tells of, and awaits after *between*.

    Attributes:
        timeout: seconds; 0 is none.
        heartbeat: seconds; 0 is none.
        answers: by `after`.
    """

    name: str | None
    timeout: int = 0
    heartbeat: int = 0
    answers: tuple[Answer, ...] = ()
    between: Block = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A `wait_for_callback`, whose submitter fails as a step of the same fields does."""

    name: str | None
    timeout: int = 0
    heartbeat: int = 0
    answers: tuple[Answer, ...] = ()
    failures: int = 0
    attempts: int = 1
    delay: float = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoke:
    """A call of another of the scenario's programs, `None` for one that is not there."""

    name: str | None
    program: int | None
    sends: Payload = NULL


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A child context. With *gives* it returns `[what its block gave, that value]`.

    With *marked* its value is recorded as that of such a step.
    """

    name: str | None
    body: Block
    virtual: bool = False
    gives: Payload | None = None
    marked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A completion configuration. *quorum* is a predicate: so many successes, or failures."""

    min_successful: int | None = None
    tolerated_count: int | None = None
    tolerated_percentage: float | None = None
    quorum: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """A map, a parallel or an `execute_concurrently`; each branch is a block of its own.

    Attributes:
        limit: how many at once.
        throws: `throw_if_error` is called on what it gives.
        gives: as for a child, for each branch.
    """

    name: str | None
    kind: Literal["map", "parallel", "concurrently"]
    branches: tuple[Block, ...]
    limit: int | None = None
    completion: Completion = Completion()
    flat: bool = False
    throws: bool = False
    gives: Payload | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Combine:
    """A combinator over single operations: futures in `async def`, branches in `def`."""

    name: str | None
    kind: Literal["all", "any", "race", "all_settled"]
    parts: tuple[Single, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """Single operations beside each other: `asyncio.gather`, in `def` a parallel of that name."""

    name: str | None
    parts: tuple[Single, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A `with_retry` whose first *failures* rounds raise after their block."""

    name: str | None
    body: Block
    failures: int = 0
    attempts: int = 1
    delay: float = 1
    wrapped: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """`try` around *body*, `except Exception` with *rescue*, `finally` with the step *lastly*.

    Attributes:
        greedy: it catches `BaseException`, so signals of the library too.
    """

    body: Block
    rescue: Block = ()
    lastly: Step | None = None
    greedy: bool = False


@dataclass(frozen=True, slots=True)
class Values:
    """`ctx.now()`, `ctx.uuid4()` and `ctx.random()`."""


@dataclass(frozen=True, slots=True)
class Raise:
    """User code that raises a `ValueError`."""

    message: str


Single: TypeAlias = Step | Wait | Condition | Ask | Invoke | Child
"""What is one operation, and may be a part of a combinator."""
Node: TypeAlias = Single | Callback | Fan | Combine | Together | Again | Guard | Values | Raise
Block: TypeAlias = tuple[Node, ...]


# Scenarios


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One durable function; *name* is what it is registered as."""

    name: str
    body: Block
    flavour: Literal["async", "def"] = "async"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A start of an execution; *input* is anything but a part of what it does.

    Attributes:
        name: of the execution. The same may be started twice.
        at: virtual seconds since the scenario began.
        timeout: of the execution, in seconds.
    """

    name: str
    program: int = 0
    input: Payload = NULL
    at: float = 0
    timeout: int | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """What an operator does to the execution named *start*, at so many virtual seconds."""

    kind: Literal["stop", "pause", "resume", "delete"]
    start: str
    at: float


@dataclass(frozen=True, slots=True)
class Deploy:
    """From *at* on, workers have *program* in place of the one of its name."""

    at: float
    program: Program
    edits: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is to happen, faults excepted."""

    seed: int
    programs: tuple[Program, ...]
    starts: tuple[Start, ...]
    actions: tuple[Action, ...] = ()
    deploys: tuple[Deploy, ...] = ()
