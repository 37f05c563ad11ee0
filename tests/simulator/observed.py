"""Everything that can be seen of a run from outside, as the invariants take it.

Whatever has a `tick` is ordered by it: one counter counts all that is observed. Instants (`at`) are
virtual seconds, those in histories the backend's. What a run does not observe stays empty, and the
invariants about it then hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from durably.wire.history import Event
from durably.wire.update import OperationUpdate
from tests.simulator.ledger import Entry
from tests.simulator.programs import Scenario

Closed = frozenset({"SUCCEEDED", "FAILED", "TIMED_OUT", "STOPPED"})


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """An invocation as the backend sees it.

    Attributes:
        id: whatever the writes call it.
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
    """What an operator asked of an execution; *refusal* as in `Reply`."""

    kind: Literal["stop", "pause", "resume", "delete"]
    arn: str
    sent: int
    done: int
    refusal: str | None = ""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A run.

    Attributes:
        bystanders: digests of executions that nobody had to do with, before and after.
        resources: counts (queues, waiters, timers, leases, transactions) before and after.
        calm_from: the tick at which faults were switched off.
        threshold: how many failed invocations in a row park an execution.
    """

    scenario: Scenario
    executions: tuple[Seen, ...] = ()
    entries: tuple[Entry, ...] = ()
    writes: tuple[Write, ...] = ()
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
    calm_from: int | None = None
    threshold: int = 10
