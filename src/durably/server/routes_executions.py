"""Executions: look at them, list, stop, pause, resume and delete them."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

from msgspec.structs import replace
from starlette.responses import Response

from durably.engine.arns import LATEST, parse_execution_arn, split_function_name
from durably.engine.limits import check_execution_name
from durably.engine.store import Listed, Page, Query
from durably.engine.views import Description
from durably.errors import ResourceNotFoundException
from durably.server.calls import Call, empty, refuse, reply
from durably.wire.base import Timestamp
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import ErrorObject
from durably.wire.operators import (
    DeleteDurableExecutionResponse,
    DurableConfig,
    GetDurableExecutionResponse,
    ListDurableExecutionsResponse,
    ListedExecution,
    PauseDetails,
    PauseDurableExecutionRequest,
    ResumeDurableExecutionRequest,
    StopDurableExecutionResponse,
    TraceHeader,
)

_ARN = "DurableExecutionArn"
_DEFAULT_PAGE = 100
_MAX_STATUSES = 10
_ACCEPTED = 202
_MARK_DIGITS = 16

_is_qualifier = re.compile(r"\$LATEST\.PUBLISHED|[a-zA-Z0-9_$-]{1,128}").fullmatch


async def get(call: Call) -> Response:
    """Describe an execution."""
    is_included = call.is_with_data()
    found = await call.service.get(call.label(_ARN))
    if is_included:
        call.record("payloads read", found.arn)
    return reply(_described(found, is_included=is_included))


def _described(found: Description, *, is_included: bool) -> GetDurableExecutionResponse:
    pause = found.pause
    details = None
    if pause is not None:
        details = PauseDetails(
            pause_request_timestamp=Timestamp.of(pause.requested_at),
            execution_timeout_paused=pause.is_timeout_paused,
            reason=pause.reason,
        )
    trace = None if found.trace_id is None else TraceHeader(x_amzn_trace_id=found.trace_id)
    ended_at, times_out_at = found.ended_at, found.times_out_at
    return GetDurableExecutionResponse(
        durable_execution_arn=found.arn,
        durable_execution_name=found.execution_name,
        function_arn=found.function_arn,
        start_timestamp=Timestamp.of(found.started_at),
        status=found.status,
        version=found.version,
        durable_config=DurableConfig(
            execution_timeout=found.timeout_seconds,
            retention_period_in_days=found.retention_days,
        ),
        execution_data_included=is_included,
        input_payload=found.input_payload if is_included else None,
        result=found.result if is_included else None,
        error=found.error if is_included else None,
        end_timestamp=None if ended_at is None else Timestamp.of(ended_at),
        trace_header=trace,
        pause_details=details,
        expected_execution_timeout_timestamp=(
            None if times_out_at is None else Timestamp.of(times_out_at)
        ),
    )


async def history(call: Call) -> Response:
    """Tell what has happened to an execution."""
    arn = call.label(_ARN)
    is_included = call.is_with_data()
    page = await call.service.history(
        arn,
        max_items=call.query.count(),
        marker=call.query.marker(),
        oldest_first=not call.query.flag("ReverseOrder", default=False),
        include_data=is_included,
    )
    if is_included:
        call.record("payloads read", arn)
    return reply(page)


async def list_by_function(call: Call) -> Response:
    """List the executions of a function, newest first."""
    name, qualifier = qualified(call)
    execution_name = call.query.text("DurableExecutionName")
    if execution_name is not None:
        check_execution_name(execution_name)
    query = Query(
        function_name=name,
        execution_name=execution_name,
        statuses=call.query.choices("Statuses", ExecutionStatus, _MAX_STATUSES),
        started_after=call.query.instant("StartedAfter"),
        started_before=call.query.instant("StartedBefore"),
        oldest_first=call.query.flag("ReverseOrder", default=False),
        limit=call.query.count() or _DEFAULT_PAGE,
    )
    page = await _page(call, query, qualifier)
    if not page.executions and call.functions.find(name, None) is None:
        await _check_known(call, name)
    listed = tuple(_listed(one) for one in page.executions)
    return reply(
        ListDurableExecutionsResponse(durable_executions=listed, next_marker=page.next_marker)
    )


async def _page(call: Call, query: Query, qualifier: str | None) -> Page:
    """Give a page whose marker is good for the next one of *query*, and of no other."""
    keys, asked = call.service.keys, call.query.marker()
    place, _, mark = (asked or "").rpartition(".")

    async def check(keys: Sequence[bytes]) -> None:
        if mark not in {_mark_of(key, query, place) for key in keys}:
            raise refuse("Marker", "is not one that this listing has given")

    if asked is not None:
        await keys.trying(check)
    if qualifier not in (None, LATEST):
        return Page((), None)  # there is one version, and every execution is of it
    page = await call.service.list(replace(query, after=place or None))
    following = page.next_marker
    if following is None:
        return page
    return replace(page, next_marker=f"{following}.{_mark_of(keys.current[0], query, following)}")


def _mark_of(key: bytes, query: Query, place: str) -> str:
    what = f"listing {place} {replace(query, limit=1)!r}"
    return hmac.digest(key, what.encode(), "sha256").hex()[:_MARK_DIGITS]


async def _check_known(call: Call, name: str) -> None:
    """Refuse a function that is not known and has left no executions."""
    page = await call.service.list(Query(function_name=name, limit=1))
    if not page.executions:
        raise ResourceNotFoundException(f"There is no function {name!r}.")


def _listed(one: Listed) -> ListedExecution:
    summary = one.summary
    ended_at = summary.ended_at
    return ListedExecution(
        durable_execution_arn=one.arn,
        durable_execution_name=summary.execution_name,
        function_arn=parse_execution_arn(one.arn).function_arn,
        status=ExecutionStatus(summary.status),
        start_timestamp=Timestamp.of(summary.started_at),
        end_timestamp=None if ended_at is None else Timestamp.of(ended_at),
    )


async def stop(call: Call) -> Response:
    """End an execution, whatever it does."""
    error = call.read(ErrorObject)
    said = None if error == ErrorObject() else error
    arn = call.label(_ARN)
    stopped_at = await call.service.stop(arn, said)
    call.record("a stop was asked for", arn)
    return reply(StopDurableExecutionResponse(stop_timestamp=Timestamp.of(stopped_at)))


async def pause(call: Call) -> Response:
    """Let no further invocation of an execution run."""
    arn = call.label(_ARN)
    asked = call.read(PauseDurableExecutionRequest, DurableExecutionArn=arn)
    await call.service.pause(
        arn,
        reason=asked.reason or None,
        is_timeout_paused=asked.execution_timeout_paused is not False,
        client_token=asked.client_token,
    )
    return empty(_ACCEPTED)


async def resume(call: Call) -> Response:
    """Let invocations of an execution run again."""
    arn = call.label(_ARN)
    asked = call.read(ResumeDurableExecutionRequest, DurableExecutionArn=arn)
    await call.service.resume(arn, reason=asked.reason or None, client_token=asked.client_token)
    return empty(_ACCEPTED)


async def delete(call: Call) -> Response:
    """Remove a closed execution."""
    arn = call.label(_ARN)
    deleted_at = await call.service.delete(arn)
    call.record("deleted", arn)
    at = Timestamp.of(deleted_at)
    return reply(DeleteDurableExecutionResponse(deletion_request_timestamp=at), _ACCEPTED)


def qualified(call: Call) -> tuple[str, str | None]:
    """Give name and qualifier of the function in the path; either may be in the name, or apart.

    Raises:
        InvalidParameterValueException: it is no function's name, or has two qualifiers.
    """
    name, inside = split_function_name(call.label("FunctionName"))
    beside = call.query.text("Qualifier")
    if beside is not None and _is_qualifier(beside) is None:
        raise refuse("Qualifier", "must be a version, an alias or $LATEST")
    if inside is not None and beside is not None and inside != beside:
        raise refuse("Qualifier", "is not the one that the function's name has")
    return name, beside if inside is None else inside
