"""What is handed in to the PostgreSQL writer, and how it goes to the database."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import crc32

import msgspec

from durably.engine.store import Change, KeepClaim, Line, WakeAt, WakeUnlessClaimed
from durably.errors import StoreError
from durably.stores.instants import to_us
from durably.stores.postgres_errors import store_error

_MAX_JOINED_FACTS = 1_000
_MAX_JOINED_BYTES = 256 * 1024

_DOUBT = (
    "The answer of the database was lost, so it may have been written. Look, or do the same again: "
    "under the same name nothing is done twice."
)

_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


class StepTransaction(Protocol):
    """A transaction that the code of a step has written in."""

    async def commit(self, parameters: Mapping[str, object]) -> bool:
        """Append what *parameters* say and commit; `False`: it was not, or nobody knows."""
        ...

    def release(self) -> None:
        """Undo what was not committed, and leave the connection to others."""
        ...


@dataclass(slots=True, eq=False)
class Call:
    """Changes that are to be taken together, in the order in which they were handed in.

    Attributes:
        number: how many were handed in before it.
        arns: the executions concerned; none when it is only to be seen that all before is written.
        future: who waits for it; nobody does if it is only to be written soon.
        transaction: in which the code of a step has written what goes with them, if any.
        is_alone: it is written in no group, since the one that it was in came to nothing.
    """

    number: int
    changes: tuple[Change, ...]
    arns: frozenset[str]
    future: asyncio.Future[None] | None
    transaction: StepTransaction | None = None
    is_alone: bool = False

    @property
    def is_apart(self) -> bool:
        """Whether it is written beside the groups."""
        return self.is_alone or self.transaction is not None

    def answer(self, error: Exception | None) -> None:
        """Tell who waits."""
        if self.future is None or self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class Bundle:
    """What the database takes whole or refuses whole: a call, or several of one execution.

    Calls of one execution that follow upon each other are taken or refused alike: where the first
    comes too late, so do the others. As one change they cost what one costs.

    Attributes:
        calls: in their order.
        doubtful: it may have been written by a transaction whose answer was lost.
    """

    calls: list[Call]
    doubtful: bool = False
    _facts: int = 0
    _bytes: int = 0

    def __post_init__(self) -> None:
        self._weigh(self.calls[0])

    def join(self, call: Call) -> bool:
        """Take in a call of a single change, if it follows upon what is here and is not too much.

        Nothing may be waiting for what is here to be done before it: it has left the claim alone.
        """
        [last], [change] = self.calls[-1].changes, call.changes
        if (
            type(last.wake) is not KeepClaim
            or change.expected_version != last.expected_version + len(last.facts)
            or change.claim_epoch != last.claim_epoch
            or change.line is not last.line
            or self._facts >= _MAX_JOINED_FACTS
            or self._bytes >= _MAX_JOINED_BYTES
        ):
            return False
        self.calls.append(call)
        self._weigh(call)
        return True

    def _weigh(self, call: Call) -> None:
        for change in call.changes:
            self._facts += len(change.facts)
            self._bytes += sum(map(len, change.facts))

    @property
    def changes(self) -> tuple[Change, ...]:
        """What is wanted of the database."""
        if len(self.calls) == 1:
            return self.calls[0].changes
        changes = [change for call in self.calls for change in call.changes]
        last = changes[-1]
        joined = Change(
            arn=last.arn,
            expected_version=changes[0].expected_version,
            facts=tuple([fact for change in changes for fact in change.facts]),
            summary=last.summary,
            wake=last.wake,
            claim_epoch=last.claim_epoch,
            callback_ids=tuple([one for change in changes for one in change.callback_ids]),
            line=last.line,
        )
        return (joined,)

    def refuse(self, error: Exception) -> Exception:
        """Give *error* as it is for these calls: whether it was written may not be known."""
        told = store_error(error)
        if self.doubtful and isinstance(told, StoreError):
            return type(told)(str(told), remedy=_DOUBT)
        return told


def bundled(calls: Sequence[Call]) -> list[Bundle]:
    """Put calls together that can go as one; the others, and each execution's, stay in order."""
    bundles: list[Bundle] = []
    latest: dict[str, Bundle] = {}
    for call in calls:
        arn = call.changes[0].arn if len(call.changes) == 1 else None
        found = None if arn is None else latest.get(arn)
        if found is not None and found.join(call):
            continue
        bundle = Bundle([call])
        bundles.append(bundle)
        for concerned in call.arns:
            latest.pop(concerned, None)
        if arn is not None:
            latest[arn] = bundle
    return bundles


def parameters_of(bundles: Sequence[Bundle], namespace_id: int) -> dict[str, object]:
    """Give what the statements that append take."""
    lines: dict[Line | None, int] = {}  # each gets a number
    bodies: list[bytes] = []
    changes: list[dict[str, object]] = []
    for number, bundle in enumerate(bundles):
        wanted = bundle.changes
        is_soon = all(call.future is None for call in bundle.calls)
        for change in wanted:
            body = _pack(change.facts)
            bodies.append(body)
            line = change.line and lines.setdefault(change.line, len(lines))
            said = {"call": number, "size": len(wanted), "is_soon": is_soon, "line": line}
            changes.append(said | _change_as_json(change, body))
    return {
        "space": namespace_id,
        "arns": sorted({change.arn for bundle in bundles for change in bundle.calls[0].changes}),
        "changes": _json(changes).decode(),
        "bodies": bodies,
    }


def sought(bundle: Bundle, namespace_id: int) -> dict[str, Any]:
    """Give what the statement takes that looks whether the facts of *bundle* are stored."""
    changes = [change for change in bundle.changes if change.facts]
    return {
        "space": namespace_id,
        "arns": [change.arn for change in changes],
        "positions": [change.expected_version for change in changes],
        "bodies": [_pack(change.facts) for change in changes],
    }


def _change_as_json(change: Change, body: bytes) -> dict[str, object]:
    summary, wake = change.summary, change.wake
    reason = summary.parked_reason
    return {
        "arn": change.arn,
        "version": change.expected_version,
        "epoch": change.claim_epoch,
        "amount": len(change.facts),
        "checksum": crc32(body),
        "wake": _WAKES[type(wake)],
        "wake_at": None if isinstance(wake, KeepClaim) or wake.at is None else to_us(wake.at),
        "function": summary.function_name,
        "of_version": summary.version,
        "name": summary.execution_name,
        "parent": summary.parent_arn,
        "status": summary.status,
        "parked": None if reason is None else reason.replace("\x00", "\ufffd"),
        "started_at": to_us(summary.started_at),
        "ended_at": None if summary.ended_at is None else to_us(summary.ended_at),
        "delete_at": None if summary.delete_at is None else to_us(summary.delete_at),
        "callbacks": change.callback_ids or None,
    }


_WAKES: dict[type, str] = {KeepClaim: "keep", WakeAt: "at", WakeUnlessClaimed: "unless claimed"}
