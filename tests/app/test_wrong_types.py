"""Whatever is given for whatever parameter: it is taken, or refused by a typed error that names it.

No `TypeError`, `AttributeError` or `OverflowError` of ours, and no broken engine.
"""

import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

import durably
from durably import (
    ApiError,
    BatchResultSerdes,
    CallbackConfig,
    ChildConfig,
    CompletionConfig,
    CompletionDecision,
    ConcurrencyConfig,
    Engine,
    FunctionNotFoundError,
    InvokeConfig,
    LinearRetryStrategyConfig,
    MapConfig,
    NamedParallelBranch,
    ParallelConfig,
    Query,
    RetryDecision,
    RetryPresets,
    RetryStrategyConfig,
    StepConfig,
    SyncEngine,
    ValidationError,
    WaitForCallbackConfig,
    WaitForConditionConfig,
    WaitForConditionDecision,
    WaitStrategyConfig,
    WithRetryConfig,
    complete_batch,
    create_linear_retry_strategy,
    create_retry_strategy,
    create_wait_strategy,
    durable_execution,
    exponential_backoff,
    json_serdes,
    typed_serdes,
)
from durably.app.execution import Execution
from durably.app.sync_engine import SyncExecution
from tests.app.functions import echo


class Hostile:
    """Cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")


WRONG: dict[str, Any] = {
    "None": None,
    "0": 0,
    "5": 5,
    "-1": -1,
    "True": True,
    "1.5": 1.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "2**63": 2**63,
    "5001 digits": 10**5000,
    "text": "x",
    "no text": "",
    "a surrogate": "\ud800",
    "a zero byte": "a\0b",
    "bytes": b"x",
    "no list": [],
    "a list": [1],
    "a dict": {},
    "an object": object(),
    "timedelta.max": timedelta.max,
    "timedelta.min": timedelta.min,
    "a function": lambda: None,
    "a class": int,
    "a hostile object": Hostile(),
}

ALSO_NAMED = {"url": "store_url", "max_delay": "initial_delay"}
"""By which other name a refusal may call a parameter: that of the setting, or what it bounds."""


def stop_polling(_state: object, _checks: int) -> WaitForConditionDecision:
    return WaitForConditionDecision.stop_polling()


def is_open(_state: object) -> bool:
    return False


def handler(event: object, ctx: object) -> None: ...


_POLLING = WaitStrategyConfig[Any](should_continue_polling=is_open)

MAKERS: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    (StepConfig, {}),
    (InvokeConfig, {}),
    (CallbackConfig, {}),
    (WaitForCallbackConfig, {}),
    (WaitForConditionConfig, {"wait_strategy": stop_polling, "initial_state": 1}),
    (ChildConfig, {}),
    (MapConfig, {}),
    (ParallelConfig, {}),
    (ConcurrencyConfig, {}),
    (WithRetryConfig, {}),
    (CompletionConfig, {}),
    (CompletionDecision, {}),
    (complete_batch, {}),
    (NamedParallelBranch, {"name": "a", "func": print}),
    (RetryStrategyConfig, {}),
    (LinearRetryStrategyConfig, {}),
    (WaitStrategyConfig, {"should_continue_polling": is_open}),
    (create_retry_strategy, {}),
    (create_linear_retry_strategy, {}),
    (create_wait_strategy, {"config": _POLLING}),
    (exponential_backoff, {}),
    (RetryPresets.fixed, {}),
    (RetryDecision, {"should_retry": True}),
    (RetryDecision.retry, {}),
    (WaitForConditionDecision, {"should_continue": True}),
    (WaitForConditionDecision.continue_waiting, {}),
    (Query, {}),
    (Engine, {}),
    (SyncEngine, {}),
    (durable_execution, {"handler": handler}),
    (json_serdes, {}),
    (typed_serdes, {}),
    (BatchResultSerdes, {}),
]


def parameters_of(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


@contextmanager
def taken_or_named(name: str, wrong: str, *answers: type[Exception]) -> Generator[None]:
    """See that a value is taken, or refused by the *name* of its parameter, or answered."""
    try:
        yield
    except ValidationError as refused:
        if refused.field not in {name, ALSO_NAMED.get(name)}:
            raise
    except answers:
        pass
    except Exception as error:
        error.add_note(f"{name} was {wrong}")
        raise


@pytest.mark.parametrize(
    ("make", "usual", "name"),
    [
        pytest.param(make, usual, name, id=f"{make.__qualname__}-{name}")
        for make, usual in MAKERS
        for name in parameters_of(make)
    ],
)
def test_what_is_made_takes_a_value_or_names_it(
    make: Callable[..., Any], usual: dict[str, Any], name: str
) -> None:
    for wrong, value in WRONG.items():
        with taken_or_named(name, wrong):
            make(**usual | {name: value})


def test_every_configuration_and_maker_of_strategies_is_tried() -> None:
    tried = {make.__name__ for make, _ in MAKERS}
    for name in durably.__all__:
        is_meant = name.endswith(("Config", "Engine", "Decision", "_strategy", "_backoff"))
        assert not is_meant or name in tried


ENGINE_CALLS: dict[str, dict[str, Any]] = {
    "start": {"function": echo, "input": 1},
    "get": {"execution": "done"},
    "list": {},
    "describe": {"execution": "done"},
    "history": {"execution": "done"},
    "export": {"execution": "done"},
    "why": {"execution": "done"},
    "stop": {"execution": "done"},
    "pause": {"execution": "done"},
    "resume": {"execution": "done"},
    "delete": {"execution": "nobody"},
    "callback_succeed": {"callback_id": "nobody"},
    "callback_fail": {"callback_id": "nobody", "error": "x"},
    "callback_heartbeat": {"callback_id": "nobody"},
}
EXECUTION_CALLS: dict[str, dict[str, Any]] = {"result": {}, "stop": {}}


def calls(kind: type, usual_of: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    return [(call, name) for call in usual_of for name in parameters_of(getattr(kind, call))]


@pytest.fixture(scope="module")
async def run() -> AsyncIterator[tuple[Engine, Execution]]:
    async with Engine("memory:", [echo], grace=0) as engine:
        execution = await engine.start(echo, 1, name="done")
        assert await execution.result(5) == 1
        yield engine, execution


@pytest.fixture(scope="module")
def run_sync() -> Iterator[tuple[SyncEngine, SyncExecution]]:
    with SyncEngine("memory:", [echo], grace=0) as engine:
        execution = engine.start(echo, 1, name="done")
        assert execution.result(5) == 1
        yield engine, execution


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(("call", "name"), calls(Engine, ENGINE_CALLS))
async def test_an_engine_takes_a_value_or_names_it(
    run: tuple[Engine, Execution], call: str, name: str
) -> None:
    engine, execution = run
    for wrong, value in WRONG.items():
        with taken_or_named(name, wrong, ApiError, FunctionNotFoundError):
            await getattr(engine, call)(**ENGINE_CALLS[call] | {name: value})
    assert await execution.result(5) == 1


@pytest.mark.parametrize(("call", "name"), calls(SyncEngine, ENGINE_CALLS))
def test_a_sync_engine_takes_a_value_or_names_it(
    run_sync: tuple[SyncEngine, SyncExecution], call: str, name: str
) -> None:
    engine, execution = run_sync
    for wrong, value in WRONG.items():
        with taken_or_named(name, wrong, ApiError, FunctionNotFoundError):
            getattr(engine, call)(**ENGINE_CALLS[call] | {name: value})
    assert execution.result(5) == 1


@pytest.mark.parametrize(("call", "name"), calls(Execution, EXECUTION_CALLS))
async def test_an_execution_takes_a_value_or_names_it(
    run: tuple[Engine, Execution], call: str, name: str
) -> None:
    for wrong, value in WRONG.items():
        with taken_or_named(name, wrong):
            await getattr(run[1], call)(**{name: value})


@pytest.mark.parametrize(("call", "name"), calls(SyncExecution, EXECUTION_CALLS))
def test_a_sync_execution_takes_a_value_or_names_it(
    run_sync: tuple[SyncEngine, SyncExecution], call: str, name: str
) -> None:
    for wrong, value in WRONG.items():
        with taken_or_named(name, wrong):
            getattr(run_sync[1], call)(**{name: value})


@pytest.mark.parametrize(
    ("kind", "tried"),
    [
        (Engine, ENGINE_CALLS),
        (SyncEngine, ENGINE_CALLS),
        (Execution, EXECUTION_CALLS),
        (SyncExecution, EXECUTION_CALLS),
    ],
)
def test_every_method_with_a_parameter_is_tried(kind: type, tried: dict[str, Any]) -> None:
    methods = inspect.getmembers(kind, inspect.isfunction)
    public = {
        name for name, method in methods if not name.startswith("_") and parameters_of(method)
    }

    assert public == set(tried)
