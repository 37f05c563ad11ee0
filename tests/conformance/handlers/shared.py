"""What handlers of several suites and of both flavours need: errors, strategies, serdes, views."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Never

from durably import (
    BatchCompletionReason,
    BatchItem,
    BatchItemStatus,
    BatchResult,
    CompletionConfig,
    JitterStrategy,
    MapConfig,
    ParallelConfig,
    RetryPresets,
    RetryStrategy,
    SerdesContext,
    StepConfig,
    WaitForConditionConfig,
    WaitStrategyConfig,
    create_wait_strategy,
    exponential_backoff,
)

NO_RETRY: StepConfig[Any] = StepConfig(retry_strategy=RetryPresets.none())
LARGE = 300 * 1024  # bytes; a context's result over 256 KiB is not recorded


class TransientError(Exception):
    """An error that may pass."""


class RequirementError(Exception):
    """The error that a requirement asks for."""


def crash() -> Never:
    """End the whole invocation, in the middle of whatever it does."""
    raise SystemExit(1)


def backoff(
    attempts: int,
    *,
    first: int = 1,
    rate: float = 1,
    types: tuple[type[BaseException], ...] = (),
) -> RetryStrategy:
    """Try *attempts* times in all, without jitter."""
    return exponential_backoff(
        max_attempts=attempts,
        initial_delay=first,
        backoff_rate=rate,
        jitter_strategy=JitterStrategy.NONE,
        retryable_error_types=types,
    )


def retrying(attempts: int) -> StepConfig[Any]:
    """Configure a step that is tried *attempts* times in all, one second apart."""
    return StepConfig(retry_strategy=backoff(attempts))


def until(
    is_met: Callable[[Any], bool], start: Any, *, delay: int = 1, attempts: int = 60
) -> WaitForConditionConfig[Any]:
    """Configure a condition that is looked at every *delay* seconds."""
    strategy = create_wait_strategy(
        WaitStrategyConfig[Any](
            should_continue_polling=lambda state: not is_met(state),
            max_attempts=attempts,
            initial_delay=delay,
            backoff_rate=1,
            jitter_strategy=JitterStrategy.NONE,
        )
    )
    return WaitForConditionConfig(wait_strategy=strategy, initial_state=start)


# Batches


def branches_in_order(**limits: Any) -> ParallelConfig:
    """Run one branch after the other, within *limits*."""
    if not limits:
        return ParallelConfig(max_concurrency=1)
    return ParallelConfig(max_concurrency=1, completion_config=CompletionConfig(**limits))


def items_in_order(**limits: Any) -> MapConfig:
    """Run one item after the other, within *limits*."""
    return MapConfig(max_concurrency=1, completion_config=CompletionConfig(**limits))


def verdict(batch: BatchResult[Any], *fields: str) -> dict[str, object]:
    """Say how *batch* went: everything, or only *fields*."""
    whole = {
        "completionReason": batch.completion_reason.value,
        "status": batch.status.value,
        "successCount": batch.success_count,
        "failureCount": batch.failure_count,
        "totalCount": batch.total_count,
    }
    return {field: whole[field] for field in fields or whole}


# Serdes


class Loud:
    """Text is written in capitals, without quotes."""

    def serialize(self, value: str, _context: SerdesContext, /) -> str:
        return value.upper()

    def deserialize(self, text: str, _context: SerdesContext, /) -> str:
        return text


class LoudJson:
    """JSON in capitals; read as the text that it is."""

    def serialize(self, value: object, _context: SerdesContext, /) -> str:
        return json.dumps(value).upper()

    def deserialize(self, text: str, _context: SerdesContext, /) -> str:
        return text.upper()


class Base64:
    """Text, encoded."""

    def serialize(self, value: str, _context: SerdesContext, /) -> str:
        return base64.b64encode(value.encode()).decode()

    def deserialize(self, text: str, _context: SerdesContext, /) -> str:
        return base64.b64decode(text).decode()


class Prefixed:
    """`wrapped:` and the text."""

    def serialize(self, value: str, _context: SerdesContext, /) -> str:
        return f"wrapped:{value}"

    def deserialize(self, text: str, _context: SerdesContext, /) -> str:
        return text.removeprefix("wrapped:")


class Wrapped:
    """An object around the value."""

    def serialize(self, value: object, _context: SerdesContext, /) -> str:
        return json.dumps({"wrapped": value})

    def deserialize(self, text: str, _context: SerdesContext, /) -> Any:
        return json.loads(text)["wrapped"]


class JoinedResults:
    """The results of a whole batch, joined by commas. Only of a batch without failures."""

    def serialize(self, value: BatchResult[str], _context: SerdesContext, /) -> str:
        return "OPSERDE:" + ",".join(value.results())

    def deserialize(self, text: str, _context: SerdesContext, /) -> BatchResult[str]:
        results = text.removeprefix("OPSERDE:").split(",")
        items = [
            BatchItem(index, BatchItemStatus.SUCCEEDED, result)
            for index, result in enumerate(results)
        ]
        return BatchResult(tuple(items), BatchCompletionReason.ALL_COMPLETED)


class Message:
    """An object whose timestamp is read as seconds since the epoch."""

    def serialize(self, value: object, _context: SerdesContext, /) -> str:
        return json.dumps(value)

    def deserialize(self, text: str, _context: SerdesContext, /) -> dict[str, object]:
        message = json.loads(text)
        at = datetime.fromisoformat(message["timestamp"])
        return {**message, "timestamp": int(at.timestamp())}


class Number:
    """A number."""

    def serialize(self, value: int, _context: SerdesContext, /) -> str:
        return str(value)

    def deserialize(self, text: str, _context: SerdesContext, /) -> int:
        return int(text)
