"""Facts without what they carry: nothing of the original is left but what a replay needs.

Names, ids and types stay, because operations are found and compared by them. So do the shape and
the type of each value, `true`, `false`, `null`, nothing and zero, and the names of members as far
as they look like such names. Everything else is replaced: the same value by the same one
throughout an execution, another value by another one, so that what is looked up by a value is
found again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from msgspec.structs import replace

from durably.batch_result import BatchCompletionReason, BatchItemStatus
from durably.engine.facts import ContextSucceeded, Fact, OperationStarted
from durably.engine.masks import Masks
from durably.errors import SerdesError
from durably.serdes_json import class_of, read_json, write_json
from durably.serdes_tagged import is_envelope, is_tag
from durably.wire.operation import ErrorObject


def mask_facts(facts: Sequence[Fact]) -> list[Fact]:
    """Give *facts*, which are one execution's from its start on, without what they carry."""
    siblings = _siblings_of(facts)
    masks = Masks()
    return [fact if _is_a_winner(fact, siblings) else _fact(fact, masks) for fact in facts]


def _siblings_of(facts: Iterable[Fact]) -> Mapping[str, int]:
    """Count for each operation that has none inside how many there are beside it."""
    parents = {fact.id: fact.parent_id for fact in facts if isinstance(fact, OperationStarted)}
    inside = Counter(parents.values())
    return {inner: inside[parent] for inner, parent in parents.items() if not inside[inner]}


def _is_a_winner(fact: Fact, siblings: Mapping[str, int]) -> bool:
    """Whether *fact* can say which of several futures a combinator has chosen.

    That is a number, recorded for a context that has no operations: the futures are beside it.
    """
    if not isinstance(fact, ContextSucceeded) or fact.result is None:
        return False
    is_number = fact.result.isdecimal() and len(fact.result) <= len(str(len(siblings)))
    return is_number and int(fact.result) < siblings.get(fact.id, 0)


def _fact(fact: Fact, masks: Masks) -> Fact:
    changes: dict[str, Any] = {}
    for name in fact.__struct_fields__:
        value = getattr(fact, name)
        if value is None:
            continue
        if name in ("input_payload", "result"):
            changes[name] = _payload(value, masks)
        elif name == "error":
            changes[name] = _error(value, masks)
        elif name == "reason":
            changes[name] = masks.text(value)
        elif name in ("client_token", "tenant_id", "trace_id"):
            changes[name] = None
    if isinstance(fact, OperationStarted) and hasattr(fact, "callback_id"):
        changes["callback_id"] = fact.id  # whoever knows the true one can answer
    return replace(fact, **changes) if changes else fact


def _error(error: ErrorObject, masks: Masks) -> ErrorObject:
    message, data = error.error_message, error.error_data
    return ErrorObject(
        error_type=error.error_type,
        error_message=None if message is None else masks.text(message),
        error_data=None if data is None else _payload(data, masks),
    )


def _payload(text: str, masks: Masks) -> str:
    try:
        return write_json(_value(read_json(text), masks))
    except SerdesError:
        return masks.text(text)  # not everything that is recorded is JSON


def _value(value: Any, masks: Masks) -> Any:
    kind = class_of(value)
    if kind is dict:
        return _members(value, masks)
    if kind is list:
        return [_value(item, masks) for item in value]
    if kind is str:
        return masks.text(value)
    return value if value is None or kind is bool else masks.number(value)


def _members(members: dict[str, Any], masks: Masks) -> dict[str, Any]:
    """Mask what an object carries; what the library has written into it for itself stays."""
    if is_envelope(members) and is_tag(members["t"]):
        return {"t": members["t"], "v": _value(members["v"], masks)}
    if _is_one_of(members.get("completionReason"), BatchCompletionReason):
        if members.keys() == _BATCH and class_of(members["all"]) is list:
            return {**members, "all": [_item(item, masks) for item in members["all"]]}
        if members.keys() >= _SUMMARY:
            return _only(members, _SUMMARY, masks)
    return {masks.member(name): _value(value, masks) for name, value in members.items()}


def _item(item: Any, masks: Masks) -> Any:
    """Mask one item of a batch: its result, and the text of its error."""
    if class_of(item) is not dict or not _is_one_of(item.get("status"), BatchItemStatus):
        return _value(item, masks)
    masked = _only(item, _ITEM, masks)
    error = item.get("error")
    if class_of(error) is dict:
        error = {name: one for name, one in error.items() if name != "StackTrace"}
        masked["error"] = _only(error, frozenset({"ErrorType"}), masks)
    return masked


def _is_one_of(value: Any, known: type[StrEnum]) -> bool:
    return class_of(value) is str and value in known.__members__.values()


def _only(members: dict[str, Any], kept: frozenset[str], masks: Masks) -> dict[str, Any]:
    return {
        name: value if name in kept else _value(value, masks) for name, value in members.items()
    }


_BATCH = frozenset({"all", "completionReason"})
_ITEM = frozenset({"index", "status", "name"})
_SUMMARY = frozenset(
    {
        "type",
        "totalCount",
        "successCount",
        "failureCount",
        "startedCount",
        "completionReason",
        "status",
        "itemStatuses",
    }
)
