"""What the outside answers: a backend's refusals, a store's troubles, how an execution ended.

The whole tree is drawn in `durably.errors`, and that is where these are imported from.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from durably.wire.arns import title_of
from durably.wire.operation import ErrorObject
from durably.words import did_you_mean


class DurableError(Exception):
    """The root of every error of this library. Two of one class and one text are equal."""

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._facts() == other._facts()

    def __hash__(self) -> int:
        return hash((type(self), self._facts()))

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are copied by calling their class with `args`, which ours do not take.
        return _copy_of, (type(self), self.args, self.__dict__)

    def _facts(self) -> tuple[Any, ...]:
        """Give what tells two errors of one class apart."""
        return (str(self),)


def _copy_of(
    kind: type[DurableError], args: tuple[Any, ...], members: dict[str, Any]
) -> DurableError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(members)
    return error


class ApiError(DurableError):
    """A backend refused a request. Nothing was recorded.

    Attributes:
        status_code: the HTTP status of the refusal.
        code: the service's name for it, e.g. `ResourceNotFoundException`.
        message: the service's text, unchanged.
    """

    def __init__(self, status_code: int, code: str, message: str) -> None:
        super().__init__(f"{code} ({status_code}): {message}")
        self.status_code = status_code
        self.code = code
        self.message = message


class _NamedApiError(ApiError):
    """A refusal whose class says its code and its status."""

    status: ClassVar[int]

    def __init__(self, message: str) -> None:
        super().__init__(self.status, type(self).__name__, message)


class InvalidParameterValueException(_NamedApiError):  # noqa: N818 - the service's name
    """The request is not a legal one, or its checkpoint token is not the current one."""

    status = 400


class CallbackTimeoutException(_NamedApiError):  # noqa: N818 - the service's name
    """The callback has expired, or somebody has completed it before."""

    status = 400


class ResourceNotFoundException(_NamedApiError):  # noqa: N818 - the service's name
    """There is no such function, execution or callback, or it is not yours to see."""

    status = 404


class DurableExecutionAlreadyStartedException(_NamedApiError):  # noqa: N818 - the service's name
    """An execution of this name was started with another input."""

    status = 409


class ResourceConflictException(_NamedApiError):  # noqa: N818 - the service's name
    """The execution is in a state in which this cannot be done."""

    status = 409


class TooManyRequestsException(_NamedApiError):  # noqa: N818 - the service's name
    """The backend is asked too much at once. Ask again later."""

    status = 429


class ServiceException(_NamedApiError):  # noqa: N818 - the service's name
    """The backend failed. Whether anything was recorded is not known."""

    status = 500


class DurableExecutionClientError(DurableError):
    """A client says itself whom its failure concerns; believed before any inspection.

    Attributes:
        scope: `invocation` has the invocation tried again, `execution` ends the execution FAILED.
    """

    def __init__(self, message: str, *, scope: Literal["invocation", "execution"]) -> None:
        super().__init__(message)
        self.scope = scope


class ExecutionError(DurableError):
    """An execution has no result. Raised where its result is awaited.

    Attributes:
        arn: the execution.
        error: what it recorded as the reason, if anything.
        origin: the operation that this is the error of, and the type of what was raised there, as
            in `step 'charge': ConnectionError`; `None` when it is of none.
    """

    outcome: ClassVar[str] = "has no result"

    def __init__(
        self, arn: str, error: ErrorObject | None = None, origin: str | None = None
    ) -> None:
        said = (
            [] if error is None else [in_operation(error.error_type, origin), error.error_message]
        )
        super().__init__(
            ": ".join([f"{title_of(arn)} {self.outcome}", *(text for text in said if text)])
        )
        self.arn = arn
        self.error = error
        self.origin = origin


def in_operation(error_type: str | None, origin: str | None) -> str | None:
    """Give the type of an execution's error, and the operation that it is of."""
    return error_type if origin is None else f"{error_type} in {origin}"


class ExecutionFailedError(ExecutionError):
    """Its handler raised, or it can no longer be replayed."""

    outcome = "failed"


class ExecutionTimedOutError(ExecutionError):
    """It ran past its execution time-out."""

    outcome = "timed out"


class ExecutionStoppedError(ExecutionError):
    """Somebody stopped it."""

    outcome = "was stopped"


class ExecutionParkedError(ExecutionError):
    """Too many of its invocations failed in a row. It stays where it is until it is resumed."""

    outcome = "is parked until it is resumed"


class StoreError(DurableError):
    """The store cannot do its work. The text says what happened and what to do next."""

    remedy: str = "See the store's log."

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        if remedy is not None:
            self.remedy = remedy
        super().__init__(f"{message.rstrip('.')}. {self.remedy}")


class StoreLockedError(StoreError):
    """Another process holds the store, or another engine of this one."""

    remedy = (
        "Only one process can have it open: end that one, give it the executions with "
        "`durably start`, or use another file."
    )


class StoreReadOnlyError(StoreError):
    """The store was opened for reading, or its files may not be written."""

    remedy = "Check who owns the database file and its directory, and that both may be written."


class StoreFullError(StoreError):
    """There is no room left."""

    remedy = "Make room on the disk. What was acknowledged is safe."


class StoreCorruptedError(StoreError):
    """What is stored is not what was written."""

    remedy = "Do not write to it any more. Restore a backup, or export what can still be read."


class StoreReplacedError(StoreError):
    """A file of the store was deleted, moved or replaced while the store was open."""

    remedy = (
        "Nothing is recorded until it is back: put it there, or end this process and start it "
        "again with what is there now."
    )


class StoreTooNewError(StoreError):
    """A newer version of this library wrote the store."""

    remedy = "Install that version or a later one."


class StoreUnavailableError(StoreError):
    """The store cannot be reached."""

    remedy = "Check that the database runs and that its address is right. Trying again is safe."


class FunctionNotFoundError(DurableError):
    """No function of this name is registered.

    Attributes:
        name: the name that was asked for.
    """

    def __init__(self, name: str, known: tuple[str, ...] = ()) -> None:
        registered = ", ".join(sorted(known)) or "none"
        said = f"no function {name!r}; registered are: {registered}"
        hint = did_you_mean(name, known)
        super().__init__(f"{said}.{hint}" if hint else said)
        self.name = name


class PluginLoadError(DurableError):
    """A plugin was asked for that cannot be loaded."""
