"""Operations, as people name them; and the one that an execution failed of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durably.core.journal import error_of as recorded_error_of
from durably.core.operations.callback import CALLBACK_SUFFIX
from durably.errors import is_operation_error
from durably.wire.operation import ErrorObject, Operation, OperationType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from durably.engine.service import Service
    from durably.engine.views import Description


async def origin_of(service: Service, found: Description) -> str | None:
    """Say which operation the error of a failed execution is of; `None` when it is of none.

    The record does not say it: an operation's error keeps its text as it goes up through contexts
    and the handler, and loses its name. Where two operations failed alike, neither is named.
    """
    if found.error is None:
        return None
    return origin_among(await service.operations(found.arn), found.error)


def origin_among(operations: Iterable[Operation], error: ErrorObject) -> str | None:
    """Name the operation that *error* came from, and the type of the error that it had itself."""
    if not is_operation_error(error.error_type):
        return None
    alike = [operation for operation in operations if _failed_like(operation, error)]
    around = {operation.parent_id for operation in alike}
    inner = [operation for operation in alike if operation.id not in around]
    own = [operation for operation in inner if not is_operation_error(_type_of(operation))]
    named = {_named(operation) for operation in own or inner}
    return named.pop() if len(named) == 1 else None


def _failed_like(operation: Operation, error: ErrorObject) -> bool:
    own = recorded_error_of(operation)
    if own is None or not operation.is_terminal or own.stack_trace != error.stack_trace:
        return False
    return not own.error_message or own.error_message == error.error_message


def _named(operation: Operation) -> str:
    name, error_type = f"{kind_of(operation)} {label_of(operation)!r}", _type_of(operation)
    return f"{name}: {error_type}" if error_type else name


def _type_of(operation: Operation) -> str | None:
    own = recorded_error_of(operation)
    return None if own is None else own.error_type


def label_of(operation: Operation) -> str:
    """Name *operation*: its name, or else what it is, with the beginning of its id.

    The callback inside a `wait_for_callback` is called like that.
    """
    name = operation.name or f"{kind_of(operation)} {operation.id[:6]}"
    is_callback = operation.type is OperationType.CALLBACK
    return name.removesuffix(CALLBACK_SUFFIX) if is_callback else name


def find_operations(operations: Iterable[Operation], text: str) -> list[Operation]:
    """Give the operations that *text* may mean: an id, the path to one, a name, or part of an id.

    A path has the names of the contexts that an operation is in, with `>` or `/` between.
    """
    by_id = {operation.id: operation for operation in operations}
    wanted = _steps_of(text)
    ways: tuple[Callable[[Operation], bool], ...] = (
        lambda one: one.id == text,
        lambda one: _steps_of(path_of(one, by_id)) == wanted,
        lambda one: label_of(one) == text,
        lambda one: len(text) >= _MIN_ID and one.id.startswith(text),
    )
    own = [one for one in by_id.values() if one.type is not OperationType.EXECUTION]
    found = ([one for one in own if is_meant(one)] for is_meant in ways)
    nothing: list[Operation] = []
    return next((some for some in found if some), nothing)


def _steps_of(path: str) -> list[str]:
    return [step.strip() for step in path.replace(">", "/").split("/")]


def path_of(operation: Operation, by_id: Mapping[str, Operation]) -> str:
    """Name *operation* after the contexts that it is in, outermost first."""
    names: list[str] = []
    place: Operation | None = operation
    while place is not None:
        name = label_of(place)
        if names[:1] != [name]:
            names.insert(0, name)
        place = None if place.parent_id is None else by_id.get(place.parent_id)
    return " > ".join(names)


_MIN_ID = 4
_KINDS = {
    "Step": "step",
    "Wait": "wait",
    "Callback": "callback",
    "RunInChildContext": "child context",
    "Map": "map",
    "MapIteration": "item",
    "Parallel": "parallel",
    "ParallelBranch": "branch",
    "WaitForCallback": "callback",
    "WaitForCondition": "condition",
    "ChainedInvoke": "invoke",
}


def kind_of(operation: Operation) -> str:
    """Say which operation of the library it is, or which the user calls it."""
    if operation.sub_type is None:
        return operation.type.value.lower().replace("_", " ")
    return _KINDS.get(operation.sub_type, operation.sub_type)
