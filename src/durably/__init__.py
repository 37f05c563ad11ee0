"""Durable execution for Python: functions that survive crashes and can sleep for a year."""

from durably.batch_result import BatchCompletionReason, BatchItem, BatchItemStatus, BatchResult
from durably.completion import (
    CompletionConfig,
    CompletionDecision,
    CompletionItemStatus,
    CompletionOutcome,
    CompletionStatus,
    complete_batch,
    continue_batch,
)
from durably.config import (
    CallbackConfig,
    ChildConfig,
    ConcurrencyConfig,
    Duration,
    InvokeConfig,
    MapConfig,
    NamedParallelBranch,
    NestingType,
    ParallelConfig,
    StepConfig,
    StepSemantics,
    WaitForCallbackConfig,
    WaitForConditionConfig,
    WithRetryConfig,
)
from durably.context import DurableContext
from durably.core.active import ActiveOperation, StepContext, current_step, get_active_operation
from durably.core.ids import hash_id
from durably.core.scope import DurableExecutionMode
from durably.drivers.callbacks import Callback, SyncCallback
from durably.drivers.client import AsyncDurableExecutionClient, DurableExecutionClient
from durably.drivers.futures import DurableFuture
from durably.drivers.logs import DurableLogger
from durably.handler import DurableFunction, durable_execution
from durably.sync_context import SyncDurableContext

__all__ = [
    "ActiveOperation",
    "AsyncDurableExecutionClient",
    "BatchCompletionReason",
    "BatchItem",
    "BatchItemStatus",
    "BatchResult",
    "Callback",
    "CallbackConfig",
    "ChildConfig",
    "CompletionConfig",
    "CompletionDecision",
    "CompletionItemStatus",
    "CompletionOutcome",
    "CompletionStatus",
    "ConcurrencyConfig",
    "Duration",
    "DurableContext",
    "DurableExecutionClient",
    "DurableExecutionMode",
    "DurableFunction",
    "DurableFuture",
    "DurableLogger",
    "InvokeConfig",
    "MapConfig",
    "NamedParallelBranch",
    "NestingType",
    "ParallelConfig",
    "StepConfig",
    "StepContext",
    "StepSemantics",
    "SyncCallback",
    "SyncDurableContext",
    "WaitForCallbackConfig",
    "WaitForConditionConfig",
    "WithRetryConfig",
    "complete_batch",
    "continue_batch",
    "current_step",
    "durable_execution",
    "get_active_operation",
    "hash_id",
]
