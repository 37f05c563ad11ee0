"""I1 to I4, I12, I13, I20 to I22, and the model: what user code did, and what it saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from durably.wire.history import Event
from durably.wire.operation import ErrorObject
from durably.wire.update import OperationAction
from tests.simulator.faults import LATE_ANSWER
from tests.simulator.ledger import Entry
from tests.simulator.observed import Fault, Observed, Replay, Seen
from tests.simulator.oracle import follow, foresee
from tests.simulator.outcomes import agrees
from tests.simulator.programs import WHOLE, Fan, Path, Step, named
from tests.simulator.records import Record, details_of, error_of, fold, payload_of
from tests.simulator.values import STEP_BYTES, Json

_REQUEST_BYTES = 6 * 1024 * 1024
_NEVER = 2**62
_ENDS = frozenset({"SUCCEEDED", "FAILED"})
_DIVERGED = "NonDeterministicExecutionError"


def bodies(observed: Observed, arn: str) -> Mapping[tuple[Path, int], list[Entry]]:
    """Give the entries into bodies of steps and checks of an execution, by path and attempt."""
    entered: defaultdict[tuple[Path, int], list[Entry]] = defaultdict(list)
    for entry in observed.entries_of.get(arn, ()):
        if entry.phase == "enter" and entry.attempt:
            entered[entry.path, entry.attempt].append(entry)
    return entered


def durable_at(observed: Observed, seen: Seen) -> dict[str, int]:
    """Give the tick by which each operation's outcome was surely durable."""
    ticks: dict[str, int] = {}
    closing = {OperationAction.SUCCEED, OperationAction.FAIL}
    for write in observed.writes:
        if write.execution == seen.arn and write.accepted and write.done is not None:
            for update in write.updates:
                if update.action in closing:
                    ticks[update.id] = min(write.done, ticks.get(update.id, write.done))
    for read in seen.reads:
        for record in _closed_in(read.events or ()):
            ticks[record] = min(read.tick, ticks.get(record, read.tick))
    return ticks


def _closed_in(events: Iterable[Event]) -> set[str]:
    return {one.id for one in fold(events).values() if one.is_closed}


def i1(observed: Observed) -> list[str]:
    """A function whose operation has a durable outcome is never entered again.

    One that had lost its execution before, and could not know, may enter it once more: so may one
    that was still to begin when another was given the execution.
    """
    found = []
    for seen in observed.executions:
        durable = durable_at(observed, seen)
        begun = {
            one.invocation: one.tick
            for one in observed.entries_of[seen.arn]
            if one.phase == "begin"
        }
        left: dict[tuple[int, str], int] = {}
        for entry in observed.entries_of[seen.arn]:
            if entry.operation_id is None or not entry.attempt:
                continue
            known = durable.get(entry.operation_id)
            own = (entry.invocation, entry.operation_id)
            began = begun.get(entry.invocation, 0)
            if entry.phase != "enter":
                left[own] = entry.tick
            elif known is not None and (
                (began > known and _has_claim(observed, seen.arn, began, known))
                or (
                    left.get(own, known) < known < entry.tick
                    and not any(began < other < known for other in begun.values())
                )
            ):
                found.append(
                    f"{_at(entry)}: entered at tick {entry.tick} by invocation"
                    f" {entry.invocation}; its outcome was durable at tick {known}"
                )
    return found


def _has_claim(observed: Observed, arn: str, began: int, until: int) -> bool:
    """Whether no other process was given the execution before *until*, but who began then."""
    own = [one for one in observed.invocations if one.execution == arn and one.began <= began]
    epoch = max(own, key=lambda one: one.began).epoch if own else _NEVER
    claims = [one for one in observed.claims if one.execution == arn]
    nodes = {one.node for one in claims if one.epoch == epoch}
    return not any(
        one.epoch > epoch and one.tick < until and one.node not in nodes for one in claims
    )


def _at(entry: Entry) -> str:
    return f"{entry.execution} {named(entry.path)} attempt {entry.attempt}"


def i2(observed: Observed) -> list[str]:
    """At most once: each attempt is entered once at most, and only after its START is durable."""
    found = []
    for seen in observed.executions:
        starts = _starts(observed, seen.arn)
        is_watched = any(one.execution == seen.arn for one in observed.writes)
        for (path, attempt), entries in bodies(observed, seen.arn).items():
            node = observed.node_at(seen.arn, path)
            if not isinstance(node, Step) or not node.once or seen.function in observed.changed:
                continue
            if len(entries) > 1:
                ticks = [one.tick for one in entries]
                found.append(f"{_at(entries[0])}: entered {len(entries)} times, at ticks {ticks}")
            known = starts.get(entries[0].operation_id or "", [])
            if is_watched and sum(tick < entries[0].tick for tick in known) < attempt:
                found.append(
                    f"{_at(entries[0])}: entered at tick {entries[0].tick} before its START was"
                    f" accepted; its operation's were at {known}"
                )
    return found


def _starts(observed: Observed, arn: str) -> dict[str, list[int]]:
    starts: defaultdict[str, list[int]] = defaultdict(list)
    counted: set[tuple[str, str]] = set()
    for write in observed.writes:
        key = (write.token_in, write.client_token)
        if write.execution == arn and write.accepted and write.done and key not in counted:
            counted.add(key)
            for update in write.updates:
                if update.action is OperationAction.START:
                    starts[update.id].append(write.done)
    return starts


def i3(observed: Observed) -> list[str]:
    """At least once: a body is entered again only when a fault hit it before its outcome held."""
    found = []
    disturbed = disturbances(observed)
    for seen in observed.executions:
        if seen.arn not in observed.followed:
            continue
        bounds = observed.followed[seen.arn].bounds
        durable = durable_at(observed, seen)
        entered = bodies(observed, seen.arn)
        for key, entries in entered.items():
            high = bounds.get(key, (0, 0))[1]
            if 0 < len(entries) <= high:
                continue
            end = durable.get(entries[0].operation_id or "")
            faults = [one for one in disturbed if _hits(one, entries, end)]
            if len(entries) > high + len(faults) or not high:
                found.append(
                    f"{_at(entries[0])}: entered {len(entries)} times, at ticks"
                    f" {[one.tick for one in entries]}; {high} is planned, and {len(faults)} faults"
                    " hit it"
                )
        for (path, attempt), (low, _) in bounds.items():
            if len(entered.get((path, attempt), ())) < low:
                found.append(f"{seen.arn} {named(path)} attempt {attempt}: recorded, never entered")
    return found


def disturbances(observed: Observed) -> list[Fault]:
    """Give what may cut a body off: faults, and pauses, which end an invocation where it stands."""
    found = [one for one in observed.faults if one.kind != LATE_ANSWER]
    for act in observed.acted:
        if act.kind != "pause" or act.refusal:
            continue
        resumed = [
            one.done
            for one in observed.acted
            if one.kind == "resume" and one.arn == act.arn and one.done > act.sent
        ]
        until = min(resumed, default=_NEVER)
        found.append(Fault(kind="pause", tick=act.sent, at=0, until=until, execution=act.arn))
    return found


def _hits(fault: Fault, entries: list[Entry], end: int | None) -> bool:
    """Whether a fault was between the first entry and the outcome, where one was entered."""
    over = fault.until if fault.until is not None else fault.tick
    return (
        fault.execution in {"", entries[0].execution}
        and fault.node in {"", *(one.node for one in entries)}
        and over >= entries[0].tick
        and (end is None or fault.tick <= end)
    )


def i4(observed: Observed) -> list[str]:
    """What the handler sees of a node is the same on every replay."""
    found = []
    for seen in observed.executions:
        if seen.function in observed.changed:
            continue
        values: dict[Path, Entry] = {}
        for entry in observed.entries_of[seen.arn]:
            if entry.phase != "saw":
                continue
            first = values.setdefault(entry.path, entry)
            if not agrees(first.value, entry.value):
                found.append(
                    f"{seen.arn} {named(entry.path)}: invocation {first.invocation} saw"
                    f" {first.value}, invocation {entry.invocation} saw {entry.value}"
                )
    return found


def i12(observed: Observed) -> list[str]:
    """The id of an operation is that of its place in the program."""
    found = []
    for arn, followed in observed.followed.items():
        for entries in bodies(observed, arn).values():
            for entry in entries:
                place = followed.ids.get(entry.operation_id or "")
                if place != entry.path:
                    found.append(
                        f"{_at(entry)}: runs under the id {entry.operation_id}, which is"
                        f" {'nobody' if place is None else named(place)}'s by its place"
                    )
    return found


def i13(observed: Observed) -> list[str]:
    """No more items of a fan-out are under way at once than its limit.

    When it is over, and too large to be recorded whole, a replay may make all its items anew.
    """
    found = []
    for arn, followed in observed.followed.items():
        durable = durable_at(observed, observed.by_arn[arn])
        for operation_id, path in followed.ids.items():
            node = observed.node_at(arn, path)
            record = observed.records[arn].get(operation_id)
            if not isinstance(node, Fan) or node.limit is None or record is None:
                continue
            most = _most_open(operation_id, observed.records[arn].values())
            if not node.flat and most > node.limit:
                found.append(f"{arn} {named(path)}: {most} items were open, {node.limit} may be")
            ran = _most_running(path, observed.entries_of[arn], durable.get(operation_id, _NEVER))
            if ran > node.limit:
                found.append(f"{arn} {named(path)}: {ran} items ran, {node.limit} may")
    return found


def _most_open(parent: str, records: Iterable[Record]) -> int:
    items = [one for one in records if one.parent == parent]
    moves = sorted(
        [(one.started, 1) for one in items] + [(one.ended, -1) for one in items if one.ended]
    )
    return _highest(move for _, move in moves)


def _most_running(path: Path, entries: Iterable[Entry], until: int) -> int:
    running: defaultdict[int, set[Path]] = defaultdict(set)
    most = 0
    for entry in entries:
        if entry.tick > until or (entry.path, entry.phase) == ((*path, WHOLE), "saw"):
            break
        if entry.attempt or entry.path[:-1] != path or len(entry.path) != len(path) + 1:
            continue
        if entry.phase == "enter":
            running[entry.invocation].add(entry.path)
        elif entry.phase in {"exit", "raise", "cut"}:
            running[entry.invocation].discard(entry.path)
        most = max(most, len(running[entry.invocation]))
    return most


def _highest(moves: Iterable[int]) -> int:
    level = highest = 0
    for move in moves:
        level += move
        highest = max(highest, level)
    return highest


def i20(observed: Observed) -> list[str]:
    """Replaying a history, whole or in part, gives the same operations and the same end."""
    found = []
    for replay in observed.replays:
        seen = observed.by_arn[replay.execution]
        where = f"{seen.arn} replayed to event {replay.prefix}, pages of {replay.page_size}"
        is_whole = replay.prefix >= len(seen.events)
        if is_whole and seen.status in _ENDS:
            live = (seen.status, seen.result, seen.error)
            again = (replay.answer, replay.result, replay.error)
            if live != again:
                found.append(f"{where}: came to {again}, live it was {live}")
            if replay.updates:
                found.append(f"{where}: asked to record {_named_updates(replay)}")
        if replay.error is not None and replay.error[0] == _DIVERGED:
            found.append(f"{where}: diverged, {replay.error[1]}")
        found += [f"{where}: {text}" for text in _strange(replay, observed.records[seen.arn])]
    return found


def _named_updates(replay: Replay) -> list[str]:
    return [f"{one.action} {one.id} {one.name!r}" for one in replay.updates]


def _strange(replay: Replay, records: Mapping[str, Record]) -> Iterable[str]:
    for update in replay.updates:
        record = records.get(update.id)
        if record is None or update.action is not OperationAction.START:
            continue
        wanted = (record.kind.upper(), record.name, record.parent)
        given = (update.type.replace("_", ""), update.name, update.parent_id)
        if given != (wanted[0].replace("_", ""), *wanted[1:]):
            yield f"{update.id} is {given}, recorded was {wanted}"


def i21(observed: Observed) -> list[str]:
    """Changed code fails as non-deterministic, or comes to what one version would come to."""
    found = []
    for seen in observed.executions:
        if seen.function not in observed.changed or seen.status not in _ENDS:
            continue
        if seen.error is not None and seen.error[0] == _DIVERGED:
            continue
        versions = [observed.programs[seen.function]]
        versions += [
            one.program for one in observed.scenario.deploys if one.program.name == seen.function
        ]
        entries = observed.entries_of[seen.arn]
        # One that had lost the execution, and could not know, may have come to an end later.
        last = {one.invocation for one in entries if one.phase == "end"}
        ends = [
            follow(
                observed.scenario.programs,
                version,
                seen.events,
                [one for one in entries if one.invocation == invocation],
                trusts=True,
            )
            for version in versions
            for invocation in sorted(last or {0})
        ]
        if not any(_is_end(seen, one.status, one.result, one.error) for one in ends):
            found.append(
                f"{seen.arn} came to {seen.status} {seen.result or seen.error}; its versions come"
                f" to {[(one.status, one.result or one.error, one.problems) for one in ends]}"
            )
    return found


def _is_end(seen: Seen, status: str, result: Json, error: tuple[object, object] | None) -> bool:
    if status != seen.status or status not in _ENDS:
        return status == seen.status
    if status == "SUCCEEDED":
        return agrees(result, seen.returned)
    return error is not None and agrees(list(error), seen.raised)


def i22(observed: Observed) -> list[str]:
    """Nothing stored is over its limit, and what would be fails at once, for good."""
    found = []
    for seen in observed.executions:
        for event in seen.events:
            details = details_of(event)
            given = getattr(details, "input", None)
            text = payload_of(details) or (given.payload if given is not None else None) or ""
            is_whole = event.event_type.startswith("Execution")
            limit = _REQUEST_BYTES if is_whole else STEP_BYTES
            error = error_of(details)
            size = len((text or "").encode()) or len(str(error and error.error_message).encode())
            if size > limit:
                found.append(f"{seen.arn} event {event.event_id}: {size} bytes, {limit} may be")
        found += [
            f"{seen.arn} {record.id}: a limit error is tried again"
            for record in observed.records[seen.arn].values()
            if any(one.delay and _is_serdes(one.error) for one in record.attempts)
        ]
    return found


def _is_serdes(error: ErrorObject | None) -> bool:
    return error is not None and error.error_type == "SerdesError"


def foreseen(observed: Observed) -> list[str]:
    """An execution ends as it must where its program has only one way to go."""
    found = []
    for start in observed.scenario.starts:
        if observed.scenario.programs[start.program].name in observed.changed:
            continue
        is_disturbed = bool(observed.faults or disturbances(observed))
        end = foresee(observed.scenario, start, with_faults=is_disturbed)
        for seen in observed.executions:
            if seen.start != start.name or seen.status is None or not observed.is_calm:
                continue
            if seen.status not in end.statuses:
                found.append(f"{seen.arn}: is {seen.status}, may be {sorted(end.statuses)}")
            elif not end.is_free and not _is_end(seen, seen.status, end.result, end.error):
                found.append(
                    f"{seen.arn}: came to {seen.result or seen.error}, foreseen was"
                    f" {end.result or end.error}"
                )
    return found


def model(observed: Observed) -> list[str]:
    """An execution is what its program makes of what is recorded, to the last byte of its end."""
    found = []
    for arn, followed in observed.followed.items():
        seen = observed.by_arn[arn]
        found += [f"{arn} {text}" for text in followed.problems]
        faults = len(disturbances(observed))
        if followed.interrupted > faults:
            found.append(f"{arn}: {followed.interrupted} attempts were cut off by {faults} faults")
        if seen.status not in _ENDS:
            continue
        if not _is_end(seen, followed.status, followed.result, followed.error):
            found.append(
                f"{arn}: came to {seen.status} {seen.result or seen.error}, the model to"
                f" {followed.status} {followed.result or followed.error} {followed.waits}"
            )
    return found
