"""The official Python SDK, and its local runner, doing what ours does."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any

from aws_durable_execution_sdk_python import DurableContext, StepContext, durable_execution
from aws_durable_execution_sdk_python.config import Duration
from aws_durable_execution_sdk_python.execution import (
    DurableExecutionInvocationInput,
    DurableExecutionInvocationInputWithClient,
)
from aws_durable_execution_sdk_python.lambda_service import (
    CheckpointOutput,
    CheckpointUpdatedExecutionState,
    Operation,
    OperationAction,
    OperationStatus,
    OperationType,
    OperationUpdate,
    StateOutput,
    StepDetails,
)
from aws_durable_execution_sdk_python_testing.invoker import create_test_lambda_context
from aws_durable_execution_sdk_python_testing.runner import DurableFunctionTestRunner
from aws_durable_execution_sdk_python_testing.stores.sqlite import SQLiteExecutionStore

from benchmarks.recorded import TOKEN

logging.getLogger("aws_durable_execution_sdk_python").setLevel(logging.CRITICAL)
logging.getLogger("aws_durable_execution_sdk_python_testing").setLevel(logging.CRITICAL)

_LONG = 600
woken_at: dict[str, float] = {}


def _seconds() -> float:
    """Read the clock by which these functions measure themselves, within one invocation."""
    return perf_counter()  # durably: allow[clock] no replay sees what is measured


def _plus_one(number: int, _ctx: StepContext) -> int:
    return number + 1


@durable_execution
def steps(count: int, ctx: DurableContext) -> float:
    """Make *count* steps, one after the other; give the seconds for one."""
    began = _seconds()
    for number in range(count):
        ctx.step(partial(_plus_one, number), name="add")
    return (_seconds() - began) / max(count, 1)


@durable_execution
def three_steps(number: int, ctx: DurableContext) -> int:
    """Make three steps, one after the other."""
    for _ in range(3):
        number = ctx.step(partial(_plus_one, number), name="add")
    return number


@durable_execution
def mapped(count: int, ctx: DurableContext) -> float:
    """Map over *count* items; give the seconds for one."""
    began = _seconds()
    batch: Any = ctx.map(list(range(count)), _item, name="items")
    taken = _seconds() - began
    assert batch.success_count == count
    return taken / count


def _item(_ctx: DurableContext, item: int, _index: int, _items: Sequence[int]) -> int:
    return item + 1


@durable_execution
def sleeper(seconds: int, ctx: DurableContext) -> None:
    """Sleep."""
    ctx.wait(Duration.from_seconds(seconds), name="sleep")


@durable_execution
def sleeps(count: int, ctx: DurableContext) -> int:
    """Sleep for *count* days, one after the other."""
    for _ in range(count):
        ctx.wait(Duration.from_days(1), name="sleep")
    return count


@durable_execution
def answered(key: str, ctx: DurableContext) -> None:
    """Wait for a callback, and note when it goes on."""
    ctx.create_callback(name="answer").result()
    woken_at[key] = _seconds()  # durably: allow[global-state] only the benchmark reads it


@contextmanager
def local_runner(handler: Any, database: Path | None = None) -> Iterator[DurableFunctionTestRunner]:
    """Run *handler* by the official local runner, in memory or on its SQLite store."""
    store = None if database is None else SQLiteExecutionStore.create_and_initialize(database)
    runner = DurableFunctionTestRunner(handler, poll_interval=0.005, store=store)
    with runner:
        yield runner


def let_settle() -> None:
    """Give an invocation the time to end; nothing tells that it has."""
    Event().wait(0.25)


def result_of(runner: DurableFunctionTestRunner, payload: object, name: str = "bench") -> float:
    """Run one execution to its end, and give its result as a number."""
    done = runner.run(input=str(payload), execution_timeout=_LONG, execution_name=name)
    assert done.result is not None, done.error
    return float(done.result)


def read_event(event: dict[str, Any]) -> DurableExecutionInvocationInput:
    """Read the event of an invocation."""
    return DurableExecutionInvocationInput.from_json_dict(event)


class _AnswersAtOnce:
    """A backend for steps that costs next to nothing."""

    def checkpoint(
        self,
        durable_execution_arn: str,  # noqa: ARG002 - the client's interface
        checkpoint_token: str,  # noqa: ARG002 - the client's interface
        updates: list[OperationUpdate],
        client_token: str | None,  # noqa: ARG002 - the client's interface
    ) -> CheckpointOutput:
        changed: dict[str, Operation] = {}
        for update in updates:
            if update.operation_type is OperationType.STEP:
                is_start = update.action is OperationAction.START
                changed[update.operation_id] = Operation(
                    operation_id=update.operation_id,
                    operation_type=update.operation_type,
                    status=OperationStatus.STARTED if is_start else OperationStatus.SUCCEEDED,
                    name=update.name,
                    sub_type=update.sub_type,
                    step_details=StepDetails(attempt=int(not is_start), result=update.payload),
                )
        state = CheckpointUpdatedExecutionState(list(changed.values()))
        return CheckpointOutput(TOKEN, state)

    def get_execution_state(
        self,
        durable_execution_arn: str,  # noqa: ARG002 - the client's interface
        checkpoint_token: str,  # noqa: ARG002 - the client's interface
        next_marker: str,  # noqa: ARG002 - the client's interface
        max_items: int = 1000,  # noqa: ARG002 - the client's interface
    ) -> StateOutput:
        return StateOutput()


class Invocations:
    """Invocations of `steps`, against a backend that answers at once."""

    def __init__(self) -> None:
        self._client = _AnswersAtOnce()
        self._context = create_test_lambda_context()

    def run(self, event: dict[str, Any]) -> dict[str, Any]:
        """Run one invocation from its event, and give the answer."""
        given = DurableExecutionInvocationInputWithClient.from_durable_execution_invocation_input(
            read_event(event), self._client
        )
        output: dict[str, Any] = steps(given, self._context)
        return output
