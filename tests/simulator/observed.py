"""Everything that can be seen of a run from outside, as the invariants take it.

Whatever has a `tick` is ordered by it: one counter counts all that is observed. Instants (`at`) are
virtual seconds, those in histories the backend's. What a run does not observe stays empty, and the
invariants about it then hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal, TypeAlias

from durably.wire.history import Event
from durably.wire.update import OperationUpdate
from tests.simulator.ledger import Entry
from tests.simulator.oracle import Followed, follow
from tests.simulator.programs import Node, Path, Program, Scenario
from tests.simulator.records import Record, fold
from tests.simulator.values import Json, shown
from tests.simulator.walks import node_at

CLOSED = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED"})


@dataclass(frozen=True, slots=True)
class Read:
    """A history as it was read; `None` when the execution was not there."""

    tick: int
    events: tuple[Event, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An execution.

    Attributes:
        function: the name of its program.
        start: the name it was started by; empty for an invoked one.
        parent: the ARN of who invoked it, and the id of the operation.
        status: at the end; `None` when it was deleted.
        result: as JSON text, byte for byte.
        error: type and message.
        reads: of its history, by tick; the last one at the end, while it was there.
        standing: at the end, as `Engine.why` says it.
        wakes: at the end, what would wake it, as many as there are.
    """

    arn: str
    function: str
    status: str | None
    start: str = ""
    parent: tuple[str, str] | None = None
    result: str | None = None
    error: tuple[str, str] | None = None
    reads: tuple[Read, ...] = ()
    standing: str = ""
    wakes: tuple[str, ...] = ()

    @property
    def events(self) -> tuple[Event, ...]:
        """The history as it was read last."""
        return next((one.events for one in reversed(self.reads) if one.events is not None), ())

    @property
    def returned(self) -> Json:
        """What the handler returned, if it did."""
        return None if self.result is None else shown(json.loads(self.result))

    @property
    def raised(self) -> list[Json]:
        """Type and message of what it raised, if it did."""
        return [] if self.error is None else [self.error[0], shown(self.error[1])]


WriteKind: TypeAlias = Literal["checkpoint", "heartbeat", "release", "outcome"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A call by which the owner of an execution writes.

    Attributes:
        sent: the tick of the call.
        done: the tick at which the backend had decided; `None` when it never saw the call.
        accepted: by the backend; `None` when that is not known.
        acknowledged: the reply reached the caller.
        client_token: the same when a call is repeated.
        token_out: none in a reply that closes.
        refusal: what it was refused with, if it was: code, status and message.
    """

    kind: WriteKind
    execution: str
    invocation: str
    node: str
    epoch: int
    sent: int
    done: int | None
    accepted: bool | None
    acknowledged: bool
    updates: tuple[OperationUpdate, ...] = ()
    token_in: str = ""
    token_out: str | None = None
    client_token: str = ""
    refusal: tuple[str, int, str] | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """An execution was given to a worker of *node*, in an epoch of its own; by *tick* it was."""

    execution: str
    epoch: int
    tick: int
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """An invocation as the backend sees it.

    Attributes:
        id: its request id, as in the history; the writes call it so.
        token: the first one that it was given.
        began: tick.
        ended: tick of the answer; `None` when it never came.
        answer: SUCCEEDED, FAILED, PENDING; RAISED when it failed; `None` when it never came.
        tasks: of ours, that live after the answer; threads likewise.
        queued: updates that were queued and not sent at the answer.
    """

    id: str
    execution: str
    node: str
    epoch: int
    token: str
    began: int
    ended: int | None = None
    answer: str | None = None
    tasks: int = 0
    threads: int = 0
    queued: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault that was injected.

    Attributes:
        until: the tick at which it was over.
        node: which it hit; empty for the backend, so everyone.
        execution: which it hit alone; empty for all on the node.
    """

    kind: str
    tick: int
    at: float
    until: int | None = None
    node: str = ""
    execution: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What somebody outside asked of a callback, and was told.

    Attributes:
        refusal: the code of the error; empty for success; `None` when no reply came.
        text: the payload, or the message of the failure.
    """

    callback_id: str
    kind: Literal["succeed", "fail", "heartbeat"]
    sent: int
    done: int
    refusal: str | None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A start that was asked for; *arn* or *refusal* is the reply, neither when none came."""

    name: str
    function: str
    payload: str
    sent: int
    done: int
    arn: str | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What an operator asked of an execution, by *node*; *refusal* as in `Reply`."""

    kind: Literal["stop", "pause", "resume", "delete"]
    arn: str
    sent: int
    done: int
    refusal: str | None = ""
    node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A history, or the first *prefix* events of it, run again by the code that made it.

    Attributes:
        page_size: of the state.
        answer: of the invocation.
        updates: what it asked to be recorded.
    """

    execution: str
    prefix: int
    page_size: int
    answer: str
    result: str | None = None
    error: tuple[str, str] | None = None
    updates: tuple[OperationUpdate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A call of a plugin; *kind* is the hook without `on_`."""

    kind: str
    execution: str
    invocation: str
    operation_id: str = ""
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One round of claims: who could have been claimed, and who was."""

    runnable: frozenset[str]
    claimed: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Observed:
    """A run.

    Attributes:
        bystanders: digests of executions that nobody had to do with, before and after.
        resources: counts (queues, waiters, timers, leases, transactions) before and after.
        is_calm: faults were switched off, and there was time for everything to end.
        until: the backend's instant at the end.
        threshold: how many failed invocations in a row park an execution.
        turns: in how many rounds what is runnable is claimed.
    """

    scenario: Scenario
    executions: tuple[Seen, ...] = ()
    entries: tuple[Entry, ...] = ()
    writes: tuple[Write, ...] = ()
    claims: tuple[Claimed, ...] = ()
    invocations: tuple[Invocation, ...] = ()
    faults: tuple[Fault, ...] = ()
    replies: tuple[Reply, ...] = ()
    started: tuple[Started, ...] = ()
    acted: tuple[Acted, ...] = ()
    replays: tuple[Replay, ...] = ()
    hooks: tuple[Hook, ...] = ()
    rounds: tuple[Round, ...] = ()
    bystanders: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    resources: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    is_calm: bool = True
    until: datetime | None = None
    threshold: int = 10
    turns: int = 10

    @cached_property
    def by_arn(self) -> Mapping[str, Seen]:
        """Every execution by its ARN."""
        return {one.arn: one for one in self.executions}

    @cached_property
    def programs(self) -> Mapping[str, Program]:
        """The programs as they were at the start, by name."""
        return {one.name: one for one in self.scenario.programs}

    @cached_property
    def changed(self) -> frozenset[str]:
        """The names of programs that a deploy has changed."""
        return frozenset(one.program.name for one in self.scenario.deploys)

    @cached_property
    def records(self) -> Mapping[str, Mapping[str, Record]]:
        """What is recorded of each execution's operations."""
        return {one.arn: fold(one.events) for one in self.executions}

    @cached_property
    def entries_of(self) -> Mapping[str, list[Entry]]:
        """What user code did in each execution."""
        entries: dict[str, list[Entry]] = {one.arn: [] for one in self.executions}
        for entry in self.entries:
            entries.setdefault(entry.execution, []).append(entry)
        return entries

    @cached_property
    def followed(self) -> Mapping[str, Followed]:
        """What the model makes of each execution that is there and that no deploy has changed."""
        return {
            one.arn: follow(
                self.scenario.programs,
                self.programs[one.function],
                one.events,
                self.entries_of[one.arn],
            )
            for one in self.executions
            if one.status is not None and one.function not in self.changed
        }

    def node_at(self, arn: str, path: Path) -> Node | None:
        """Give the node of an execution's program at a path."""
        return node_at(self.programs[self.by_arn[arn].function].body, path)
