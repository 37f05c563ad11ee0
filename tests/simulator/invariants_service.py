"""I8, I9, I14, I15, I17 to I19, I23 to I26: what the service and the SDK say to each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from durably.wire.history import Event
from tests.simulator.observed import CLOSED, Acted, Invocation, Observed, Reply, Seen, Write
from tests.simulator.records import Record, details_of, fold, kind_of

_EXPIRED = "CallbackTimeoutException"
_GONE = "ResourceNotFoundException"
_INVALID = "Runtime.InvalidResponse"
_INVALID_PARAMETER = "InvalidParameterValueException"
_KNOWN = "DurableExecutionAlreadyStartedException"


def _accepted(observed: Observed, arn: str) -> list[Write]:
    own = [one for one in observed.writes if one.execution == arn and one.accepted]
    return sorted(own, key=lambda one: one.done or one.sent)


def i8(observed: Observed) -> list[str]:
    """Each accepted checkpoint has the token of the one before it; a repeated one its reply.

    Or none, if the invocation is over by then.
    """
    found = []
    for seen in observed.executions:
        tokens = {one.id: one.token for one in observed.invocations if one.execution == seen.arn}
        replies: dict[tuple[str, str], str | None] = {}
        for write in _accepted(observed, seen.arn):
            if write.kind != "checkpoint":
                continue
            key = _key(write)
            if key in replies and write.client_token:
                if write.token_out not in {None, replies[key]} and write.acknowledged:
                    found.append(f"{_of(write)}: repeated, it got another token")
                continue
            if tokens.get(write.invocation) != write.token_in:
                found.append(f"{_of(write)}: its token is not that of the reply before")
            replies[key] = write.token_out
            if write.token_out is not None:
                tokens[write.invocation] = write.token_out
    return found


def _key(write: Write) -> tuple[str, str]:
    """Give what a repeated checkpoint has in common with the first, which recorded it."""
    return write.token_in, write.client_token


def _of(write: Write) -> str:
    return f"{write.execution} {write.kind} sent at tick {write.sent} by {write.invocation}"


def i9(observed: Observed) -> list[str]:
    """One invocation writes at a time: what is older than the latest epoch is refused.

    An epoch begins when the execution is given to somebody, before they have done anything. One
    who is so slow that it is given to another meanwhile may begin all the same, and write nothing.
    """
    found = []
    for seen in observed.executions:
        own = sorted(_own(observed, seen.arn), key=lambda one: one.began)
        for earlier, later in pairwise(own):
            is_over = earlier.ended is not None and earlier.ended <= later.began
            if not is_over and later.epoch == earlier.epoch:
                found.append(
                    f"{seen.arn}: invocation {later.id} began at tick {later.began} in epoch"
                    f" {later.epoch}, while {earlier.id} had not ended, which has the same"
                )
        begun = [(one.tick, one.epoch) for one in observed.claims if one.execution == seen.arn]
        begun += [(one.began, one.epoch) for one in own]
        known: set[tuple[str, str]] = set()
        for write in _accepted(observed, seen.arn):
            is_repeated = _key(write) in known
            known.add(_key(write))
            if is_repeated:
                continue  # what it asks for was recorded with the first
            newest = max((epoch for at, epoch in begun if at < (write.done or 0)), default=0)
            if write.epoch < newest:
                found.append(f"{_of(write)}: accepted in epoch {write.epoch} after epoch {newest}")
    return found


def _own(observed: Observed, arn: str) -> Iterable[Invocation]:
    return (one for one in observed.invocations if one.execution == arn)


def i14(observed: Observed) -> list[str]:
    """PENDING is answered only with something outstanding, an end only after all was accepted.

    Or after a refusal that says that the execution itself has failed: that is its end, too.
    """
    found = []
    for invocation in observed.invocations:
        where = f"{invocation.execution} invocation {invocation.id}"
        if invocation.answer == "PENDING":
            seen = observed.by_arn[invocation.execution]
            if not _is_outstanding(seen.events, invocation.id):
                found.append(f"{where}: answered PENDING, and nothing is outstanding")
            elif _is_refused(seen.events, invocation.id):
                found.append(f"{where}: answered PENDING, rightly, and was refused")
        if invocation.answer in {"SUCCEEDED", "FAILED"}:
            if invocation.queued:
                found.append(f"{where}: ended with {invocation.queued} updates that were not sent")
            found += [
                f"{where}: ended, and its checkpoint sent at tick {sent} was not acknowledged"
                for sent in _unanswered(observed.writes, invocation)
            ]
    return found


def _is_refused(events: Sequence[Event], request_id: str) -> bool:
    """Whether the answer of an invocation was taken for one that cannot be."""
    ends = [details_of(one) for one in events if one.event_type == "InvocationCompleted"]
    errors = [one.error.payload for one in ends if one.request_id == request_id and one.error]
    return any(one is not None and one.error_type == _INVALID for one in errors)


def _is_outstanding(events: Sequence[Event], request_id: str) -> bool:
    """Whether something was open as an invocation ended, or ended by itself while it ran."""
    before: list[Event] = []
    since = 0
    for event in events:
        if event.event_type == "InvocationCompleted":
            if details_of(event).request_id == request_id:
                moved = any(map(_is_by_itself, before[since:]))
                return moved or any(map(_is_open, fold(before).values()))
            since = len(before)
        before.append(event)
    return True  # its end is not recorded: the execution is over, or it came too late


def _is_by_itself(event: Event) -> bool:
    about = kind_of(event)
    return about is not None and about[0] in {"Wait", "Callback", "ChainedInvoke"} and (
        about[1] != "STARTED"
    )  # fmt: skip


def _is_open(record: Record) -> bool:
    if record.is_closed or record.kind == "Context":
        return False
    return record.kind != "Step" or record.attempts[-1].delay is not None


def _unanswered(writes: Iterable[Write], invocation: Invocation) -> list[int]:
    own = [one for one in writes if one.invocation == invocation.id and one.kind == "checkpoint"]
    told = {one.client_token for one in own if one.acknowledged}
    return [
        one.sent
        for one in own
        if one.updates
        and not one.acknowledged
        and one.client_token not in told
        and not (invocation.answer == "FAILED" and _is_of_the_execution(one.refusal))
    ]


def _is_of_the_execution(refusal: tuple[str, int, str] | None) -> bool:
    """Whether a refusal fails the execution, and not the invocation alone."""
    if refusal is None:
        return False
    code, status, message = refusal
    if code == _INVALID_PARAMETER and message.lower().startswith("invalid checkpoint token"):
        return False
    return code.startswith("KMS") or (400 <= status < 500 and status != 429)


def i15(observed: Observed) -> list[str]:
    """Nothing of an invocation outlives it: no task, no thread, no update, no request."""
    found = []
    for one in observed.invocations:
        if one.ended is None:
            continue
        where = f"{one.execution} invocation {one.id}"
        left = {"tasks": one.tasks, "threads": one.threads, "queued updates": one.queued}
        found += [f"{where}: {count} {what} outlive it" for what, count in left.items() if count]
        found += [
            f"{_of(write)}: its invocation had ended at tick {one.ended}"
            for write in observed.writes
            if write.invocation == one.id and write.kind == "checkpoint" and write.sent > one.ended
        ]
    return found


def i17(observed: Observed) -> list[str]:
    """A callback has one winner, whose answer is recorded; every loser is told."""
    found = []
    callbacks = {
        record.details.callback_id: (seen, record)
        for seen in observed.executions
        for record in observed.records[seen.arn].values()
        if record.kind == "Callback"
    }
    by_id: defaultdict[str, list[Reply]] = defaultdict(list)
    for reply in observed.replies:
        by_id[reply.callback_id].append(reply)
    for callback_id, replies in by_id.items():
        known = callbacks.get(callback_id)
        if known is not None and known[0].status is not None:
            found += [f"callback {callback_id}: {text}" for text in _wrong(*known, replies)]
    for callback_id, (seen, record) in callbacks.items():
        texts = {(one.kind, one.text) for one in by_id[callback_id] if not one.refusal}
        is_answered = record.ended is not None and record.status != "TIMED_OUT"
        if observed.replies and is_answered and _verdict(record) not in texts:
            found.append(f"callback {callback_id} in {seen.arn}: nobody said {_verdict(record)}")
    return found


def _verdict(record: Record) -> tuple[str, str]:
    if record.error is not None:
        return "fail", record.error.error_message or ""
    return "succeed", record.payload or ""


def _wrong(seen: Seen, record: Record, replies: Iterable[Reply]) -> Iterable[str]:
    winners = [one for one in replies if one.kind != "heartbeat" and one.refusal == ""]
    if len(winners) > 1:
        yield f"{len(winners)} answers were accepted"
    for one in winners:
        if record.ended is None or _verdict(record) != (one.kind, one.text):
            yield f"{one.kind} {one.text!r} was accepted, recorded is {record.status}"
    for one in replies:
        is_over = record.is_closed or seen.status in CLOSED
        if one.refusal and one.refusal not in {_EXPIRED, _GONE}:
            yield f"{one.kind} was refused with {one.refusal}"
        elif one.refusal and not is_over:
            yield f"{one.kind} was refused with {one.refusal}, and it is still open"


def i18(observed: Observed) -> list[str]:
    """An invoke has one child, and comes to what that comes to."""
    found = []
    children = Counter(one.parent for one in observed.executions if one.parent is not None)
    found += [
        f"{parent[0]} operation {parent[1]}: it has {count} children"
        for parent, count in children.items()
        if count > 1
    ]
    for seen in observed.executions:
        for record in observed.records[seen.arn].values():
            child = _child(observed, record)
            if child is None or not record.is_closed:
                continue
            error = None
            if record.error is not None:
                error = (record.error.error_type, record.error.error_message)
            if record.status != child.status or (
                record.status in {"SUCCEEDED", "FAILED"}
                and (record.payload, error) != (child.result, child.error)
            ):
                found.append(
                    f"{seen.arn} operation {record.id}: {record.status} {record.payload or error},"
                    f" its child {child.status} {child.result or child.error}"
                )
    return found


def _child(observed: Observed, record: Record) -> Seen | None:
    if record.kind != "ChainedInvoke":
        return None
    return observed.by_arn.get(record.details.durable_execution_arn or "")


def i19(observed: Observed) -> list[str]:
    """After a stop or a deletion nothing more is accepted, begun or there.

    Whoever was given the execution before may still begin, if another process stopped it.
    """
    found = []
    for act in observed.acted:
        if act.kind not in {"stop", "delete"} or act.refusal != "":
            continue
        what = f"{act.arn} after {act.kind} at tick {act.done}"
        accepted = _accepted(observed, act.arn)
        before = {_key(one) for one in accepted if (one.done or 0) <= act.done}
        found += [
            f"{what}: accepted {_of(one)}"
            for one in accepted
            if (one.done or 0) > act.done and one.updates and _key(one) not in before
        ]
        found += [
            f"{what}: invocation {one.id} began at tick {one.began}"
            for one in _own(observed, act.arn)
            if one.began > act.done and not _was_given_before(observed, one, act)
        ]
        found += [f"{what}: {text}" for text in _later(observed, act)]
    return found


def _was_given_before(observed: Observed, invocation: Invocation, act: Acted) -> bool:
    return any(
        (one.execution, one.epoch) == (invocation.execution, invocation.epoch)
        and one.tick < act.done
        and one.node != act.node
        for one in observed.claims
    )


def _later(observed: Observed, act: Acted) -> Iterable[str]:
    seen = observed.by_arn.get(act.arn)
    reads = [one for one in (seen.reads if seen else ()) if one.tick > act.done]
    if act.kind == "delete":
        if any(one.events is not None for one in reads):
            yield "it is there again"
        return
    known = next((len(one.events) for one in reads if one.events is not None), 0)
    for read in reads:
        for event in (read.events or ())[known:]:
            if event.event_type != "InvocationCompleted":
                yield f"event {event.event_id} {event.event_type} was added"


def i23(observed: Observed) -> list[str]:
    """What nobody had to do with has not changed by a byte."""
    return [
        f"{arn}: was {before}, is {after}"
        for arn, (before, after) in observed.bystanders.items()
        if before != after
    ]


def i24(observed: Observed) -> list[str]:
    """Whatever is counted is back to where it was."""
    return [
        f"{what}: {before} before, {after} after"
        for what, (before, after) in observed.resources.items()
        if before != after
    ]


def i25(observed: Observed) -> list[str]:
    """A function and a name are one execution, which another input does not start."""
    found = []
    deleted = _deleted(observed)
    known: dict[tuple[str, str], tuple[str, str]] = {}
    for one in sorted(observed.started, key=lambda one: one.done):
        key = (one.function, one.name)
        first = known.get(key)
        if first is not None and deleted.get(first[0], one.done) < one.done:
            first = None
        if one.arn is not None:
            known[key] = (one.arn, one.payload)
        if first is None or (one.arn is None and one.refusal is None):
            continue
        where = f"{one.function}/{one.name} started at tick {one.sent} with {one.payload[:40]}"
        if one.payload == first[1] and one.arn != first[0]:
            found.append(f"{where}: gave {one.arn or one.refusal}, it is {first[0]}")
        if one.payload != first[1] and one.refusal != _KNOWN:
            found.append(f"{where}: gave {one.arn or one.refusal}, its input was {first[1][:40]}")
    return found


def _deleted(observed: Observed) -> dict[str, int]:
    """Say when deletions were first asked for: one whose reply was lost is asked for again."""
    deleted: dict[str, int] = {}
    for act in observed.acted:
        if act.kind == "delete":
            deleted[act.arn] = min(act.sent, deleted.get(act.arn, act.sent))
    return deleted


def i26(observed: Observed) -> list[str]:
    """Each start that a plugin hears of has an end, in an invocation that ends well."""
    found = []
    ended = {one.id for one in observed.invocations if one.answer is not None}
    open_: Counter[tuple[str, str, str, int | None]] = Counter()
    ends: Counter[tuple[str, str]] = Counter()
    for hook in observed.hooks:
        what, _, phase = hook.kind.rpartition("_")
        if hook.kind == "operation_end":
            ends[hook.execution, hook.operation_id] += 1
        if what in {"operation_attempt", "user_function", "invocation"}:
            key = (hook.invocation, what, hook.operation_id, hook.attempt)
            open_[key] += {"start": 1, "end": -1}.get(phase, 0)
            if open_[key] < 0:
                found.append(f"invocation {hook.invocation}: {what} {hook.operation_id} ends twice")
    found += [
        f"invocation {key[0]}: {key[1]} {key[2]} never ends"
        for key, count in open_.items()
        if count > 0 and key[0] in ended
    ]
    found += [
        f"{arn}: operation {operation} ends {count} times for plugins"
        for (arn, operation), count in ends.items()
        if count > 1
    ]
    return found
