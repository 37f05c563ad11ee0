"""How each operation is told to behave: frozen values, checked when they are made.

A configuration that cannot work raises `ValidationError` where it is written; in a handler that
ends the execution FAILED before the operation has left any record.

The generic ones have no slots: with them, Python 3.11 cannot make a `StepConfig[int]()`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Never

from durably.batch_result import BatchResult
from durably.checks import (
    check_flag,
    check_function,
    check_kind,
    check_optional_function,
    check_retry_strategy,
    check_serdes,
    check_wait_strategy,
    member_of,
)
from durably.completion import (
    CompletionConfig,
    CompletionDecision,
    CompletionItemStatus,
    CompletionOutcome,
    CompletionStatus,
    complete_batch,
    continue_batch,
)
from durably.errors import ChildContextError, ValidationError
from durably.limits import (
    MAX_CALLBACK_TIMEOUT_SECONDS,
    Duration,
    as_count,
    as_name,
    as_sub_type,
    as_tenant_id,
    as_timedelta,
    duration_seconds,
)
from durably.retries import RetryPresets, RetryStrategy, WaitStrategy, create_retry_strategy
from durably.serdes import Serdes

if TYPE_CHECKING:
    # The defaults say what a configuration without a serdes means for the type of a result:
    # nothing beside a body, the text of a callback's answer, anything that JSON can say.
    from typing_extensions import TypeVar

    ResultT_co = TypeVar("ResultT_co", default=Never, covariant=True)
    AnswerT_co = TypeVar("AnswerT_co", default=str, covariant=True)
    ReplyT_co = TypeVar("ReplyT_co", default=Any, covariant=True)
else:
    from typing import TypeVar

    ResultT_co = TypeVar("ResultT_co", covariant=True)
    AnswerT_co = TypeVar("AnswerT_co", covariant=True)
    ReplyT_co = TypeVar("ReplyT_co", covariant=True)

T = TypeVar("T")

__all__ = [
    "CallbackConfig",
    "ChildConfig",
    "CompletionConfig",
    "CompletionDecision",
    "CompletionItemStatus",
    "CompletionOutcome",
    "CompletionStatus",
    "ConcurrencyConfig",
    "Duration",
    "FanOutConfig",
    "InvokeConfig",
    "MapConfig",
    "NamedParallelBranch",
    "NestingType",
    "ParallelConfig",
    "StepConfig",
    "StepSemantics",
    "WaitForCallbackConfig",
    "WaitForConditionConfig",
    "WithRetryConfig",
    "complete_batch",
    "continue_batch",
]


_DEFAULT_STRATEGY = RetryPresets.default()
_ROUNDS_STRATEGY = create_retry_strategy()
_FAIL_FAST = CompletionConfig()
_ALL_SUCCESSFUL = CompletionConfig.all_successful()


class StepSemantics(StrEnum):
    """What happens to an attempt of a step that was cut off. It holds for each attempt.

    AT_LEAST_ONCE_PER_RETRY: the attempt is made again. For bodies that may be repeated.
    AT_MOST_ONCE_PER_RETRY: the attempt counts as failed with `StepInterruptedError`, and the retry
    strategy is asked. A step that must never run twice needs `RetryPresets.none()` besides.
    """

    AT_LEAST_ONCE_PER_RETRY = "AT_LEAST_ONCE_PER_RETRY"
    AT_MOST_ONCE_PER_RETRY = "AT_MOST_ONCE_PER_RETRY"


class NestingType(StrEnum):
    """Whether each item of a batch has a record of its own. FLAT costs less and shows less."""

    NESTED = "NESTED"
    FLAT = "FLAT"


@dataclass(frozen=True, kw_only=True)
class StepConfig(Generic[ResultT_co]):
    """How a step behaves.

    Attributes:
        retry_strategy: asked after each failed attempt.
        serdes: how the result is written; without one, by the body's return annotation.
        timeout: how long one attempt may run, up to 366 days; longer is a failed attempt.
        sub_type: a name for a kind of steps, compared on replay.
    """

    retry_strategy: RetryStrategy = _DEFAULT_STRATEGY
    semantics: StepSemantics = StepSemantics.AT_LEAST_ONCE_PER_RETRY
    serdes: Serdes[ResultT_co] | None = None
    timeout: timedelta | float | None = None
    sub_type: str | None = None

    def __post_init__(self) -> None:
        check_retry_strategy(self.retry_strategy)
        _set(self, "semantics", member_of(StepSemantics, self.semantics, "semantics"))
        check_serdes(self.serdes)
        _set(self, "sub_type", as_sub_type(self.sub_type))
        if self.timeout is not None and not duration_seconds(self.timeout, "timeout"):
            raise ValidationError("timeout", "must be longer than nothing")

    @property
    def timeout_seconds(self) -> float | None:
        """The timeout as a number."""
        return None if self.timeout is None else as_timedelta(self.timeout, "").total_seconds()


@dataclass(frozen=True, kw_only=True)
class InvokeConfig(Generic[ReplyT_co]):
    """How another function is called.

    Attributes:
        payload_serdes: how the payload is written; without one, as plain JSON.
        result_serdes: how the result is read; without one, as plain JSON.
        tenant_id: for which tenant, if the function isolates tenants: 1 to 256 letters, digits, any
            of `._:/=+-@`, and spaces between them.
    """

    payload_serdes: Serdes[Any] | None = None
    result_serdes: Serdes[ReplyT_co] | None = None
    tenant_id: str | None = None

    def __post_init__(self) -> None:
        check_serdes(self.payload_serdes, "payload_serdes")
        check_serdes(self.result_serdes, "result_serdes")
        if self.tenant_id is not None:
            _set(self, "tenant_id", as_tenant_id(self.tenant_id, "tenant_id"))


@dataclass(frozen=True, kw_only=True)
class CallbackConfig(Generic[AnswerT_co]):
    """How long an outside system may take to answer, and how its answer is read.

    Attributes:
        timeout: the longest time to the answer; `None` or 0 for ever.
        heartbeat_timeout: the longest silence; `None` or 0 for any.
        serdes: how the answer is read; without one it stays the text that was sent.
        sub_type: a name for a kind of callbacks, compared on replay.
    """

    timeout: timedelta | float | None = None
    heartbeat_timeout: timedelta | float | None = None
    serdes: Serdes[AnswerT_co] | None = None
    sub_type: str | None = None

    def __post_init__(self) -> None:
        check_serdes(self.serdes)
        _set(self, "sub_type", as_sub_type(self.sub_type))
        _callback_seconds(self.timeout, "timeout")
        _callback_seconds(self.heartbeat_timeout, "heartbeat_timeout")

    @property
    def timeout_seconds(self) -> int:
        """The timeout as it is recorded; 0 is none."""
        return _callback_seconds(self.timeout, "timeout")

    @property
    def heartbeat_timeout_seconds(self) -> int:
        """The longest silence as it is recorded; 0 is none."""
        return _callback_seconds(self.heartbeat_timeout, "heartbeat_timeout")


@dataclass(frozen=True, kw_only=True)
class WaitForCallbackConfig(Generic[AnswerT_co]):
    """As `CallbackConfig`, and how often the submitter is tried.

    Attributes:
        retry_strategy: for the submitter.
    """

    timeout: timedelta | float | None = None
    heartbeat_timeout: timedelta | float | None = None
    retry_strategy: RetryStrategy = _DEFAULT_STRATEGY
    serdes: Serdes[AnswerT_co] | None = None

    def __post_init__(self) -> None:
        check_retry_strategy(self.retry_strategy)
        check_serdes(self.serdes)
        _callback_seconds(self.timeout, "timeout")
        _callback_seconds(self.heartbeat_timeout, "heartbeat_timeout")

    @property
    def callback(self) -> CallbackConfig[AnswerT_co]:
        """The configuration of the callback inside."""
        return CallbackConfig(
            timeout=self.timeout, heartbeat_timeout=self.heartbeat_timeout, serdes=self.serdes
        )


@dataclass(frozen=True, kw_only=True)
class WaitForConditionConfig(Generic[T]):
    """How a condition is waited for.

    Attributes:
        wait_strategy: decides after each check; `create_wait_strategy` makes one.
        initial_state: what the first check is called with.
        serdes: how the state is written; without one, by the check's return annotation.
    """

    wait_strategy: WaitStrategy[T]
    initial_state: T
    serdes: Serdes[T] | None = None

    def __post_init__(self) -> None:
        check_wait_strategy(self.wait_strategy)
        check_serdes(self.serdes)


@dataclass(frozen=True, kw_only=True)
class ChildConfig(Generic[ResultT_co]):
    """How a child context behaves.

    Attributes:
        serdes: how the result is written; without one, by the body's return annotation.
        sub_type: a name for a kind of contexts, compared on replay.
        summary_generator: what to record of a result that is too large to be recorded whole.
        error_mapper: makes the error that is raised out of the one that would be.
        is_virtual: leaves no record of its own; its operations belong to the context around it.
    """

    serdes: Serdes[ResultT_co] | None = None
    sub_type: str | None = None
    summary_generator: Callable[[Any], str] | None = None
    error_mapper: Callable[[ChildContextError], Exception] | None = None
    is_virtual: bool = False

    def __post_init__(self) -> None:
        check_serdes(self.serdes)
        check_optional_function(self.summary_generator, "summary_generator")
        check_optional_function(self.error_mapper, "error_mapper")
        check_flag(self.is_virtual, "is_virtual")
        _set(self, "sub_type", as_sub_type(self.sub_type))


@dataclass(frozen=True, slots=True, kw_only=True)
class FanOutConfig:
    """What every kind of batch can be told.

    Attributes:
        max_concurrency: how many items are under way at once; `None` for all. An item that sleeps
            keeps its place.
        completion_config: when the batch stops early.
        serdes: how the whole result is written.
        item_serdes: how each item's result is written.
        summary_generator: what to add to the summary of a batch too large to be recorded whole.
    """

    max_concurrency: int | None = None
    completion_config: CompletionConfig = _FAIL_FAST
    serdes: Serdes[Any] | None = None
    item_serdes: Serdes[Any] | None = None
    summary_generator: Callable[[BatchResult[Any]], str] | None = None
    nesting_type: NestingType = NestingType.NESTED

    def __post_init__(self) -> None:
        if self.max_concurrency is not None:
            as_count(self.max_concurrency, "max_concurrency", minimum=1)
        completion = "a CompletionConfig, such as CompletionConfig.all_completed()"
        check_kind(self.completion_config, "completion_config", CompletionConfig, completion)
        check_serdes(self.serdes)
        check_serdes(self.item_serdes, "item_serdes")
        check_optional_function(self.summary_generator, "summary_generator")
        _set(self, "nesting_type", member_of(NestingType, self.nesting_type, "nesting_type"))


@dataclass(frozen=True, slots=True, kw_only=True)
class MapConfig(FanOutConfig):
    """How a map behaves. Unless `completion_config` says otherwise, the first failure stops it.

    Attributes:
        item_namer: names an item from itself and its index; the same in every replay. Without
            one, items are named `map-item-INDEX`.
    """

    item_namer: Callable[[Any, int], str] | None = None

    def __post_init__(self) -> None:
        FanOutConfig.__post_init__(self)
        check_optional_function(self.item_namer, "item_namer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelConfig(FanOutConfig):
    """How a parallel behaves. Its first failure stops it, unless `completion_config` differs."""

    completion_config: CompletionConfig = _ALL_SUCCESSFUL


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyConfig(MapConfig):
    """How `execute_concurrently` behaves.

    Attributes:
        top_level_sub_type: the sub type of the batch's record.
        iteration_sub_type: the sub type of each item's record.
    """

    top_level_sub_type: str | None = None
    iteration_sub_type: str | None = None

    def __post_init__(self) -> None:
        MapConfig.__post_init__(self)
        for field in ("top_level_sub_type", "iteration_sub_type"):
            _set(self, field, as_sub_type(getattr(self, field), field))


@dataclass(frozen=True)
class NamedParallelBranch(Generic[T]):
    """A branch of a parallel, under a name."""

    name: str
    func: Callable[..., T]

    def __post_init__(self) -> None:
        _set(self, "name", as_name(self.name))
        check_function(self.func, "func", "a function that gets a context")


@dataclass(frozen=True, slots=True, kw_only=True)
class WithRetryConfig:
    """How `with_retry` behaves.

    Attributes:
        retry_strategy: asked after each failed round.
        wrap_with_run_in_child_context: run the rounds in a child context of their own.
        child_context_config: for that child context.
    """

    retry_strategy: RetryStrategy = _ROUNDS_STRATEGY
    wrap_with_run_in_child_context: bool = True
    child_context_config: ChildConfig[Any] | None = None

    def __post_init__(self) -> None:
        check_retry_strategy(self.retry_strategy)
        check_flag(self.wrap_with_run_in_child_context, "wrap_with_run_in_child_context")
        if self.child_context_config is not None:
            given = self.child_context_config
            check_kind(given, "child_context_config", ChildConfig, "a ChildConfig")


_set = object.__setattr__  # the way to set a member of a frozen value, where it is made


def _callback_seconds(value: timedelta | float | None, field: str) -> int:
    if value is None:
        return 0
    return duration_seconds(value, field, maximum=MAX_CALLBACK_TIMEOUT_SECONDS)
