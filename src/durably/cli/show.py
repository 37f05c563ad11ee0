"""`durably show`: one execution, and its operations."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from durably.app.names import find_arn
from durably.app.operations import kind_of, label_of, origin_among
from durably.cli.list import status_text
from durably.cli.options import json_option, store_option
from durably.cli.outcome import error_text
from durably.cli.printing import (
    clock_time,
    console,
    length,
    print_grid,
    safe,
    short,
    since,
    to_json,
    until,
    without_none,
)
from durably.cli.stores import read
from durably.clock import SystemClock
from durably.engine.reports import places_in
from durably.engine.service import Service
from durably.engine.views import Description
from durably.wire.operation import ErrorObject, Operation, OperationStatus, OperationType

if TYPE_CHECKING:
    from rich.text import Text

_PAYLOAD_WIDTH = 200
_OUTCOME_WIDTH = 60


@click.command(short_help="Print how an execution stands, and its operations.")
@click.argument("execution", metavar="ARN|NAME")
@store_option
@json_option
def show(*, execution: str, url: str, as_json: bool) -> None:
    """Print an execution: how it stands, and what its operations have come to."""

    async def look(service: Service) -> tuple[Description, tuple[Operation, ...]]:
        arn = await find_arn(service.store, execution)
        return await service.get(arn), await service.operations(arn)

    description, operations = read(url, look)
    if as_json:
        sys.stdout.write(to_json(_document(description, operations), indent=True) + "\n")
        return
    error = description.error
    origin = None if error is None else origin_among(operations, error)
    _print_head(description, origin)
    _print_operations(operations)


def _document(found: Description, operations: Sequence[Operation]) -> dict[str, Any]:
    pause = found.pause
    return without_none(
        {
            "DurableExecutionArn": found.arn,
            "DurableExecutionName": found.execution_name,
            "FunctionArn": found.function_arn,
            "FunctionName": found.function_name,
            "Version": found.version,
            "Status": found.status,
            "InputPayload": found.input_payload,
            "Result": found.result,
            "Error": found.error,
            "StartTimestamp": found.started_at,
            "EndTimestamp": found.ended_at,
            "ExpectedExecutionTimeoutTimestamp": found.times_out_at,
            "DurableConfig": {
                "ExecutionTimeout": found.timeout_seconds,
                "RetentionPeriodInDays": found.retention_days,
            },
            "PauseDetails": pause
            and without_none({"PauseRequestTimestamp": pause.requested_at, "Reason": pause.reason}),
            "ParentArn": found.parent_arn,
            "ParkedReason": found.parked_reason,
            "Damage": found.damage,
            "FailedInvocations": found.failures,
            "Operations": operations,
        }
    )


def _print_head(found: Description, origin: str | None) -> None:
    from rich.table import Table  # noqa: PLC0415 - takes a while, and JSON needs none
    from rich.text import Text  # noqa: PLC0415 - loaded only where it is used: it is slow to load

    now = SystemClock().now()
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")  # what is shown here is there to be copied
    for title, value in _facts(found, now, origin):
        table.add_row(Text(title, "dim"), value if isinstance(value, Text) else Text(value))
    print_grid(table)
    for place in places_in(found.error):
        console().print(f"  {safe(place)}", style="dim", soft_wrap=True)


def _facts(found: Description, now: datetime, origin: str | None) -> list[tuple[str, Text | str]]:
    pause, ended = found.pause, None
    if found.ended_at is not None:
        took = length(found.ended_at - found.started_at)
        ended = f"{clock_time(found.ended_at, now)}, after {took}"
    facts: list[tuple[str, Text | str | None]] = [
        ("name", safe(found.execution_name)),
        ("function", safe(found.function_name)),
        ("arn", safe(found.arn)),
        ("invoked by", found.parent_arn and safe(found.parent_arn)),
        ("status", status_text(found.status, found.parked_reason)),
        ("started", since(found.started_at, now)),
        ("ended", ended),
        ("times out", None if found.times_out_at is None else until(found.times_out_at, now)),
        ("parked", found.parked_reason and short(found.parked_reason, _PAYLOAD_WIDTH)),
        ("damaged", None if found.damage is None or found.parked_reason else safe(found.damage)),
        ("paused", None if pause is None else clock_time(pause.requested_at, now)),
        ("input", found.input_payload and short(found.input_payload, _PAYLOAD_WIDTH)),
        ("result", found.result and short(found.result, _PAYLOAD_WIDTH)),
        ("error", short(error_text(found.error, origin), _PAYLOAD_WIDTH) or None),
    ]
    return [(title, value) for title, value in facts if value is not None]


_MARKS: Mapping[OperationStatus, tuple[str, str]] = {
    OperationStatus.SUCCEEDED: ("✓", "green"),
    OperationStatus.FAILED: ("✗", "red"),
    OperationStatus.TIMED_OUT: ("✗", "red"),
    OperationStatus.STOPPED: ("✗", "red"),
    OperationStatus.CANCELLED: ("-", "dim"),
    OperationStatus.STARTED: ("●", "cyan"),
    OperationStatus.READY: ("●", "cyan"),
    OperationStatus.PENDING: ("◷", "blue"),
}


def _print_operations(operations: Sequence[Operation]) -> None:
    from rich.table import Table  # noqa: PLC0415 - takes a while, and JSON needs none
    from rich.text import Text  # noqa: PLC0415 - loaded only where it is used: it is slow to load

    table = Table.grid(padding=(0, 2))
    for depth, operation in _as_tree(operations):
        mark, style = _MARKS[operation.status]
        name = Text.assemble("  " * depth, (mark, style), " ", safe(label_of(operation)))
        begun, ended = operation.start_timestamp, operation.end_timestamp
        table.add_row(
            name,
            Text(safe(kind_of(operation)), "dim"),
            Text(operation.status.value.lower().replace("_", " "), style),
            Text(length(ended - begun) if begun and ended else "", "dim"),
            Text(outcome_of(operation), "dim"),
        )
    if table.row_count:
        console().print()
        print_grid(table)


def _as_tree(operations: Sequence[Operation]) -> list[tuple[int, Operation]]:
    """Put *operations* below the contexts that they are in, and say how deep each one is."""
    inside: dict[str | None, list[Operation]] = {}
    for operation in operations:
        if operation.type is not OperationType.EXECUTION:
            inside.setdefault(operation.parent_id, []).append(operation)
    placed: list[tuple[int, Operation]] = []
    to_place = [(0, operation) for operation in reversed(inside.get(None, []))]
    while to_place:
        depth, operation = to_place.pop()
        placed.append((depth, operation))
        to_place += [(depth + 1, inner) for inner in reversed(inside.get(operation.id, []))]
    return placed


def outcome_of(operation: Operation) -> str:
    """Say in a few words what an operation has come to."""
    words: list[str] = []
    step = operation.step_details
    if step is not None and step.attempt > 1:
        words.append(f"attempt {step.attempt}")
    result, error = _result_and_error(operation)
    said = result if error is None else error_text(error)
    if said:
        words.append(short(said, _OUTCOME_WIDTH))
    callback = operation.callback_details
    if callback is not None and not operation.is_terminal:
        words.append(f"id {callback.callback_id}")
    return ", ".join(words)


def _result_and_error(operation: Operation) -> tuple[str | None, ErrorObject | None]:
    for details in (
        operation.context_details,
        operation.step_details,
        operation.callback_details,
        operation.chained_invoke_details,
    ):
        if details is not None:
            return details.result, details.error
    return None, None
