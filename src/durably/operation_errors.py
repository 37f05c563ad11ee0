"""How an operation fails, how that is recorded, and how the record becomes an error again.

An error that a handler sees is always built from the record, on the first run as on a replay, so
the two are equal. The whole tree is drawn in `durably.errors`, and that is where these are
imported from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, cast

from durably.service_errors import DurableError
from durably.wire.operation import ErrorObject

MAX_TYPE_BYTES = 256
MAX_MESSAGE_BYTES = 16 * 1024
MAX_DATA_BYTES = 256 * 1024
MAX_FRAMES = 32
MAX_FRAME_BYTES = 512


class SerdesError(DurableError):
    """A value cannot be written, or a text cannot be read. The text names the place in it."""


class RetryableSerdesError(SerdesError):
    """A serdes cannot do its work now. Raise it to have the whole invocation tried again."""


class StepInterruptedError(DurableError):
    """An attempt of an at-most-once step was cut off, and nobody knows how far it came."""


class StepTimeoutError(DurableError):
    """An attempt of a step ran longer than its `timeout`."""


class RecordedError(DurableError):
    """What is left of an exception that was raised elsewhere: its class name and its message.

    Attributes:
        error_type: the class name of the exception, e.g. `ValueError`.
        message: its text.
        data: what was recorded with it.
        stack_trace: where it was raised.
    """

    def __init__(
        self,
        message: str,
        *,
        error_type: str | None = None,
        data: str | None = None,
        stack_trace: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(f"{error_type}: {message}" if error_type else message)
        self.message = message
        self.error_type = error_type
        self.data = data
        self.stack_trace = stack_trace

    def to_error_object(self) -> ErrorObject:
        """Give the record that this was built from."""
        return _record(self.error_type, self.message, self.data, self.stack_trace)

    def _facts(self) -> tuple[Any, ...]:
        return (self.error_type, self.message, self.data)


class DurableOperationError(DurableError):
    """An operation failed for good. Its text is the recorded message, unchanged.

    `__cause__` is a stand-in, rebuilt from the record. Equal to another of the same class with the
    same operation, error type, message and data.

    Attributes:
        operation: the operation's name, or its id when it has none.
        error_type: the recorded error type, e.g. `ValueError` when the user's code raised that.
        message: the recorded message.
        data: what was recorded with it.
        stack_trace: where it was raised, outermost frame first.
    """

    default_message: ClassVar[str] = "operation failed"

    def __init__(
        self,
        message: str = "",
        *,
        operation: str | None = None,
        error_type: str | None = None,
        data: str | None = None,
        stack_trace: tuple[str, ...] | None = None,
        cause: BaseException | None = None,
    ) -> None:
        self.message = message or self.default_message
        super().__init__(self.message)
        self.operation = operation
        self.error_type = error_type
        self.data = data
        self.stack_trace = stack_trace
        self.__cause__ = cause
        if operation is not None:
            self.add_note(f"operation {operation!r} failed with {error_type or 'no error type'}")

    @classmethod
    def from_wire(cls, operation: str | None, error: ErrorObject | None) -> Self:
        """Build the error that *operation* raises from what was recorded for it."""
        return _rebuilt(cls, operation, error, None if error is None else exception_of(error))

    @property
    def recorded(self) -> ErrorObject:
        """What was recorded for the operation: the user's error, not this one around it."""
        return _record(self.error_type, self.message, self.data, self.stack_trace)

    def to_error_object(self) -> ErrorObject:
        """Give the record of the level that this error escapes: its own class, its own message."""
        return _record(type(self).__name__, self.message, self.data, self.stack_trace)

    def _facts(self) -> tuple[Any, ...]:
        return (self.operation, self.error_type, self.message, self.data)


class StepError(DurableOperationError):
    """A step failed, and its retry strategy gave up."""

    default_message = "step failed"


class InvokeError(DurableOperationError):
    """A function that was invoked failed, timed out or was stopped."""

    default_message = "invoke failed"


class ChildContextError(DurableOperationError):
    """The body of a child context, of a map's item or of a branch raised."""

    default_message = "child context failed"


class WaitForConditionError(DurableOperationError):
    """A check or its strategy raised, or the attempts ran out before the condition was met."""

    default_message = "wait for condition failed"


class CallbackError(DurableOperationError):
    """A callback ended without a result."""

    default_message = "callback failed"


class CallbackExternalError(CallbackError):
    """The outside system reported a failure, or the callback was stopped."""


class CallbackTimeoutError(CallbackError):
    """Nobody answered, or sent a heartbeat, in time."""

    default_message = "callback timed out"


class CallbackSubmitterError(CallbackError):
    """The submitter failed, so that nobody outside knows of the callback."""

    default_message = "callback submitter failed"


class PromiseCombinatorError(DurableOperationError):
    """What `all`, `any`, `race` or `all_settled` combined did not succeed."""

    default_message = "combinator failed"


class BatchCompletionError(DurableOperationError):
    """A completion predicate declared a batch failed in which no item had."""

    default_message = "batch was completed as failed"


OperationErrorT = TypeVar("OperationErrorT", bound=DurableOperationError)

_OPERATION_ERRORS: dict[str, type[DurableOperationError]] = {
    kind.__name__: kind
    for kind in (
        DurableOperationError,
        StepError,
        InvokeError,
        ChildContextError,
        WaitForConditionError,
        CallbackError,
        CallbackExternalError,
        CallbackTimeoutError,
        CallbackSubmitterError,
        PromiseCombinatorError,
        BatchCompletionError,
    )
}
_PLAIN_ERRORS: dict[str, type[DurableError]] = {
    kind.__name__: kind
    for kind in (SerdesError, RetryableSerdesError, StepInterruptedError, StepTimeoutError)
}


def exception_of(error: ErrorObject, *, operation: str | None = None) -> DurableError:
    """Rebuild what was recorded as *error*: one of our classes, or a `RecordedError`.

    Our classes are found by name alone; other SDKs write `module.QualName`, which is read too. No
    other class is ever looked up by a recorded name.
    """
    name = (error.error_type or "").rpartition(".")[2]
    if (kind := _OPERATION_ERRORS.get(name)) is not None:
        return _rebuilt(kind, operation, error, None)
    if (plain := _PLAIN_ERRORS.get(name)) is not None:
        return plain(error.error_message or "")
    return RecordedError(
        error.error_message or "",
        error_type=error.error_type,
        data=error.error_data,
        stack_trace=error.stack_trace,
    )


def error_object(error: BaseException, data: str | None = None) -> ErrorObject:
    """Give the record of *error*: its class name alone, its text, where it was raised.

    Text that cannot be stored is made storable, and what is too long is cut; *data* over 256 KiB
    is left out, because half of it would be another value. Operation errors bring their own data
    and stack trace.
    """
    if isinstance(error, DurableOperationError | RecordedError):
        own = error.to_error_object()
        return own if data is None else _record(own.error_type, own.error_message, data, None)
    return _record(type(error).__name__, _text_of(error), data, _frames(error.__traceback__))


def is_operation_error(error_type: str | None) -> bool:
    """Whether *error_type* is that of an operation's error, which stands around another one."""
    return (error_type or "").rpartition(".")[2] in _OPERATION_ERRORS


def error_beside(error: BaseException, failure: Exception) -> ErrorObject:
    """Give the record of *error*, with what failed while *error* was dealt with."""
    own = error_object(error)
    message = f"{own.error_message}. Besides, {failure}"
    return _record(own.error_type, message, own.error_data, own.stack_trace)


def said_of(error: BaseException) -> str:
    """Give an error's class and text on one line, whatever its text does."""
    return f"{type(error).__name__}: {_text_of(error)}"


def _rebuilt(
    kind: type[OperationErrorT],
    operation: str | None,
    error: ErrorObject | None,
    cause: BaseException | None,
) -> OperationErrorT:
    recorded = error or ErrorObject()
    return kind(
        recorded.error_message or "",
        operation=operation,
        error_type=recorded.error_type,
        data=recorded.error_data,
        stack_trace=recorded.stack_trace,
        cause=cause,
    )


def _record(
    error_type: str | None,
    message: str | None,
    data: str | None,
    stack_trace: Sequence[str] | None,
) -> ErrorObject:
    """Make the record of an error. It never fails, as it is all that is left of the error.

    Users may make these errors themselves, with whatever they like in them.
    """
    kept = None if data is None else _storable(data)
    if kept is not None and len(kept.encode()) > MAX_DATA_BYTES:
        kept = None
    return ErrorObject(
        error_type=None if error_type is None else _storable(error_type, MAX_TYPE_BYTES),
        error_message=_storable(message or "", MAX_MESSAGE_BYTES),
        error_data=kept,
        stack_trace=_lines_of(stack_trace),
    )


def _lines_of(stack_trace: object) -> tuple[str, ...] | None:
    if not isinstance(stack_trace, list | tuple):
        return None
    return tuple([_storable(line) for line in cast("Iterable[object]", stack_trace)])


def _text_of(error: Any) -> str:
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001 - the user's __str__ may raise anything
        return f"<its text cannot be given: {type(failure).__name__}>"


def _storable(value: Any, limit: int | None = None) -> str:
    """Show lone surrogates as text, which no encoding takes, and cut at *limit* bytes."""
    text = value if isinstance(value, str) else _text_of(value)
    raw = str.encode(text, "utf-8", "backslashreplace")
    if limit is None or len(raw) <= limit:
        return raw.decode()
    return raw[: limit - 3].decode("utf-8", "ignore") + "..."


def _frames(traceback: TracebackType | None) -> tuple[str, ...] | None:
    """Say where the error went through, innermost frames kept, without reading source files."""
    frames: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        line = f'File "{code.co_filename}", line {traceback.tb_lineno}, in {code.co_qualname}'
        frames.append(_storable(line, MAX_FRAME_BYTES))
        traceback = traceback.tb_next
    return tuple(frames[-MAX_FRAMES:]) or None
