"""Requests and replies of those who look after executions: operators, consoles, tests."""

from __future__ import annotations

from durably.wire.base import Timestamp, WireStruct
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import ErrorObject


class DurableConfig(WireStruct, frozen=True):
    """For how long an execution may run, and how long it is kept after its end."""

    execution_timeout: int
    retention_period_in_days: int


class TraceHeader(WireStruct, frozen=True):
    """The trace that an execution belongs to."""

    x_amzn_trace_id: str


class PauseDetails(WireStruct, frozen=True):
    """Since when and why an execution pauses, and whether its time-out stands still."""

    pause_request_timestamp: Timestamp
    execution_timeout_paused: bool
    reason: str | None = None


class GetDurableExecutionResponse(WireStruct, frozen=True):
    """An execution as a whole. Without `execution_data_included` its payloads are left out."""

    durable_execution_arn: str
    durable_execution_name: str
    function_arn: str
    start_timestamp: Timestamp
    status: ExecutionStatus
    version: str
    durable_config: DurableConfig
    execution_data_included: bool
    input_payload: str | None = None
    result: str | None = None
    error: ErrorObject | None = None
    end_timestamp: Timestamp | None = None
    trace_header: TraceHeader | None = None
    pause_details: PauseDetails | None = None
    expected_execution_timeout_timestamp: Timestamp | None = None


class ListedExecution(WireStruct, frozen=True):
    """One line of a listing."""

    durable_execution_arn: str
    durable_execution_name: str
    function_arn: str
    status: ExecutionStatus
    start_timestamp: Timestamp
    end_timestamp: Timestamp | None = None


class ListDurableExecutionsResponse(WireStruct, frozen=True):
    """One page of executions of a function."""

    durable_executions: tuple[ListedExecution, ...]
    next_marker: str | None = None


class StopDurableExecutionResponse(WireStruct, frozen=True):
    """When the execution ended."""

    stop_timestamp: Timestamp


class PauseDurableExecutionRequest(WireStruct, frozen=True):
    """Asks that no further invocation of an execution runs."""

    durable_execution_arn: str
    client_token: str | None = None
    reason: str | None = None
    execution_timeout_paused: bool | None = None


class ResumeDurableExecutionRequest(WireStruct, frozen=True):
    """Asks that invocations run again."""

    durable_execution_arn: str
    client_token: str | None = None
    reason: str | None = None


class DeleteDurableExecutionResponse(WireStruct, frozen=True):
    """When the execution was removed."""

    deletion_request_timestamp: Timestamp


class FunctionConfiguration(WireStruct, frozen=True):
    """A function: what of it is known here. Everything else that Lambda would tell is left out."""

    function_name: str
    function_arn: str
    version: str
    state: str
    last_update_status: str
    runtime: str | None = None
    handler: str | None = None
    description: str | None = None
    timeout: int | None = None
    memory_size: int | None = None
    durable_config: DurableConfig | None = None


class GetFunctionResponse(WireStruct, frozen=True):
    """A function. Its code is not given away."""

    configuration: FunctionConfiguration


class ListFunctionsResponse(WireStruct, frozen=True):
    """One page of functions, by name."""

    functions: tuple[FunctionConfiguration, ...]
    next_marker: str | None = None
