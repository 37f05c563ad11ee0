"""The limits of the service's model, as typed refusals that name the field."""

from __future__ import annotations

import re
from typing import Final

from durably.engine.commands import Start
from durably.errors import InvalidParameterValueException
from durably.limits import (
    MAX_CALLBACK_TIMEOUT_SECONDS,
    MAX_DELAY_SECONDS,
    MAX_RETENTION_DAYS,
    TENANT_ID_RULE,
    TRACE_ID_RULE,
    is_tenant_id,
    is_trace_id,
)
from durably.wire.operation import ErrorObject, OperationType
from durably.wire.update import OperationUpdate
from durably.words import in_words

MAX_PAYLOAD_BYTES: Final = 1_048_576
"""What an operation's payload, or that of an execution nobody waits for, may take in UTF-8."""

MAX_SYNCHRONOUS_PAYLOAD_BYTES: Final = 6_291_456
"""What the payload and the result of an execution may take whose starter waits for it."""

MAX_AMOUNT: Final = 100_000
"""How many lists, objects and commas what is read as members may have: 400 for each update that
SDKs send at once, and few enough that reading them takes no longer than receiving so much does."""

MAX_ERROR_BYTES: Final = 1_048_576
MAX_SUB_TYPE: Final = 32
MAX_TARGET: Final = 256
MAX_REASON: Final = 1024

SERVICE_MAX_OPERATIONS: Final = 3_000
"""How many operations the managed service allows one execution; engines here only warn."""

SERVICE_MAX_STORED_BYTES: Final = 100 * 1024 * 1024
"""How much it stores of one execution; likewise."""

MAX_INVOKE_DEPTH: Final = 64
"""How many executions may stand above one another by invoking."""

MAX_RECURSION: Final = 16
"""How often one function may stand among them."""

_is_id = re.compile(r"[a-zA-Z0-9_-]{1,64}").fullmatch
_is_name = re.compile(r"[ -~]{1,256}").fullmatch
_is_token = re.compile(r"[!-~]{1,64}").fullmatch


def check_identity(update: OperationUpdate) -> None:
    """Refuse an update that begins an operation whose id, name, sub type or parent is not legal.

    Raises:
        InvalidParameterValueException: one is not; the text names it.
    """
    if _is_id(update.id) is None:
        raise _refusal("Id", "must be 1 to 64 letters, digits, hyphens or underscores")
    if update.name is not None and _is_name(update.name) is None:
        raise _refusal("Name", "must be 1 to 256 printable ASCII characters")
    check_text(update.sub_type, "SubType", MAX_SUB_TYPE)


def check_content(update: OperationUpdate) -> None:
    """Refuse an update whose payload or error is too large, or has no UTF-8 form.

    Raises:
        InvalidParameterValueException: so it is; the text names it.
    """
    if update.payload is not None:
        check_payload(update.payload, "Payload", _max_payload(update.type))
    if update.error is not None:
        check_error(update.error)


def _max_payload(kind: OperationType) -> int:
    # How an execution was started, and so what its result may take, is judged where that is known.
    is_execution = kind is OperationType.EXECUTION
    return MAX_SYNCHRONOUS_PAYLOAD_BYTES if is_execution else MAX_PAYLOAD_BYTES


def check_payload(payload: str, field: str, max_bytes: int) -> None:
    """Refuse a *payload* that is longer than *max_bytes* in UTF-8, or has no UTF-8 form.

    Raises:
        InvalidParameterValueException: the text names *field*.
    """
    size = len(payload) if payload.isascii() else _utf8_bytes(payload, field)
    if size > max_bytes:
        raise _refusal(field, f"takes {size} bytes; at most {max_bytes} are allowed")


def check_error(error: ErrorObject) -> None:
    """Refuse an *error* whose fields together are too long, or have no UTF-8 form.

    Raises:
        InvalidParameterValueException: the text says which.
    """
    texts = (error.error_type, error.error_message, error.error_data, *(error.stack_trace or ()))
    size = sum(_utf8_bytes(text, "Error") for text in texts if text)
    if size > MAX_ERROR_BYTES:
        raise _refusal("Error", f"takes {size} bytes; at most {MAX_ERROR_BYTES} are allowed")


def check_delay(seconds: int, field: str) -> None:
    """Refuse a delay of a wait or a retry that is not 1 s to 366 days.

    Raises:
        InvalidParameterValueException: the text names *field*.
    """
    if not 1 <= seconds <= MAX_DELAY_SECONDS:
        raise _refusal(field, _up_to(1, MAX_DELAY_SECONDS))


def check_callback_seconds(seconds: int, field: str) -> None:
    """Refuse a callback's deadline that is negative or too far away.

    Raises:
        InvalidParameterValueException: the text names *field*.
    """
    if not 0 <= seconds <= MAX_CALLBACK_TIMEOUT_SECONDS:
        raise _refusal(field, _up_to(0, MAX_CALLBACK_TIMEOUT_SECONDS))


def check_text(text: str | None, field: str, max_length: int) -> None:
    """Refuse an optional *text* that is empty, too long or has no UTF-8 form.

    Raises:
        InvalidParameterValueException: the text names *field*.
    """
    if text is None:
        return
    if not 1 <= len(text) <= max_length:
        raise _refusal(field, f"must be 1 to {max_length} characters")
    _utf8_bytes(text, field)


def check_client_token(token: str | None) -> None:
    """Refuse a client token that is not 1 to 64 printable ASCII characters without space.

    Raises:
        InvalidParameterValueException: it is not.
    """
    if token is not None and _is_token(token) is None:
        raise _refusal("ClientToken", "must be 1 to 64 printable ASCII characters without space")


def check_tenant(tenant_id: str | None) -> None:
    """Refuse what is no tenant's id.

    Raises:
        InvalidParameterValueException: it is none.
    """
    if tenant_id is not None and not is_tenant_id(tenant_id):
        raise _refusal("TenantId", f"must be {TENANT_ID_RULE}")


def check_trace_id(trace_id: str | None) -> None:
    """Refuse a trace's id that no header can carry: functions elsewhere are told it in one.

    Raises:
        InvalidParameterValueException: it is none.
    """
    if trace_id is not None and not is_trace_id(trace_id):
        raise _refusal("XAmznTraceId", f"must be {TRACE_ID_RULE}")


def check_start(command: Start) -> None:
    """Refuse a start whose name, payload, time-out, retention, tenant or trace breaks a limit.

    Raises:
        InvalidParameterValueException: one does; the text names it.
    """
    check_execution_name(command.execution_name)
    if command.input_payload is not None:
        max_bytes = max_execution_bytes(is_synchronous=command.is_synchronous)
        check_payload(command.input_payload, "Payload", max_bytes)
    if not 1 <= command.timeout_seconds <= MAX_DELAY_SECONDS:
        raise _refusal("ExecutionTimeout", _up_to(1, MAX_DELAY_SECONDS))
    if not 1 <= command.retention_days <= MAX_RETENTION_DAYS:
        raise _refusal("RetentionPeriodInDays", f"must be 1 to {MAX_RETENTION_DAYS} days")
    check_tenant(command.tenant_id)
    check_trace_id(command.trace_id)


def check_execution_name(name: str) -> None:
    """Refuse a name that no execution can have.

    Raises:
        InvalidParameterValueException: *name* is one.
    """
    if _is_id(name) is None:
        said = "must be 1 to 64 letters, digits, hyphens or underscores"
        raise _refusal("DurableExecutionName", said)


def max_execution_bytes(*, is_synchronous: bool) -> int:
    """Say what the payload or the result of an execution may take."""
    return MAX_SYNCHRONOUS_PAYLOAD_BYTES if is_synchronous else MAX_PAYLOAD_BYTES


def _up_to(minimum: int, maximum: int) -> str:
    return f"must be {minimum} to {maximum} seconds ({in_words(maximum)})"


def _utf8_bytes(text: str, field: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise _refusal(field, "holds a lone surrogate, which has no UTF-8 form") from error


def _refusal(field: str, text: str) -> InvalidParameterValueException:
    return InvalidParameterValueException(f"{field} {text}.")
