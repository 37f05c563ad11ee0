"""User values on their way into a record and out of it again."""

from __future__ import annotations

from typing import Any, TypeVar

from durably.core.journal import Journal
from durably.core.op import Op
from durably.errors import (
    RetryableSerdesError,
    SerdesError,
    TerminationReason,
    UnrecoverableError,
    UnrecoverableExecutionError,
    UnrecoverableInvocationError,
)
from durably.serdes import Serdes, SerdesContext, storable

T = TypeVar("T")

SUMMARY_MAKER = "a summary_generator"
MAX_PAYLOAD_BYTES = 1024 * 1024
"""What an update may carry for anything but a whole execution."""


def seal(serdes: Serdes[T], value: T, op: Op, journal: Journal) -> tuple[str, T]:
    """Write *value*, read it back, and give both: what is recorded and what the caller gets.

    Raises:
        SerdesError: it cannot be written, or what was written cannot be read.
        UnrecoverableInvocationError: the serdes asked for the invocation to be tried again.
    """
    context = SerdesContext(op.step_id, journal.arn)
    try:
        text = storable(serdes.serialize(value, context))
        return text, serdes.deserialize(text, context)
    except RetryableSerdesError as error:
        raise _again(op, error) from error
    except (SerdesError, UnrecoverableError):
        raise
    except Exception as error:
        text = f"the value of {op} cannot be recorded: {type(error).__name__}: {error}"
        raise SerdesError(text) from error


def within_limit(text: str, op: Op) -> str:
    """Give *text*, which is going to be recorded for *op*, unless it is too large to be.

    Raises:
        SerdesError: it takes more than the service allows a payload: 1 MiB.
    """
    if len(text) * 4 > MAX_PAYLOAD_BYTES:  # no character takes more than four bytes
        size = len(text.encode())
        if size > MAX_PAYLOAD_BYTES:
            said = f"what {op} records takes {size} bytes; {MAX_PAYLOAD_BYTES} are allowed"
            raise SerdesError(said)
    return text


def unseal(serdes: Serdes[T], text: str | None, op: Op, journal: Journal) -> T:
    """Read what was recorded for *op*; nothing recorded reads as `None`.

    Raises:
        UnrecoverableExecutionError: it cannot be read, now or ever.
        UnrecoverableInvocationError: the serdes asked for the invocation to be tried again.
    """
    if text is None:
        return None  # type: ignore[return-value]  # an absent result is None, whatever was declared
    try:
        return serdes.deserialize(text, SerdesContext(op.step_id, journal.arn))
    except RetryableSerdesError as error:
        raise _again(op, error) from error
    except UnrecoverableError:
        raise
    except Exception as error:
        said = f"the record of {op} cannot be read: {type(error).__name__}: {error}"
        raise UnrecoverableExecutionError(TerminationReason.SERDES_FAILED, said, error) from error


def write(serdes: Serdes[Any], value: object, op: Op, journal: Journal) -> str:
    """Write what is sent out and never read back here, such as the payload of an invoke."""
    context = SerdesContext(op.step_id, journal.arn)
    try:
        return within_limit(storable(serdes.serialize(value, context)), op)
    except RetryableSerdesError as error:
        raise _again(op, error) from error
    except (SerdesError, UnrecoverableError):
        raise
    except Exception as error:
        text = f"the payload of {op} cannot be written: {type(error).__name__}: {error}"
        raise SerdesError(text) from error


def _again(op: Op, error: Exception) -> UnrecoverableInvocationError:
    return UnrecoverableInvocationError(
        TerminationReason.SERDES_FAILED, f"the serdes of {op} asks to be tried again", error
    )
