"""The engine for programs without an event loop: the same, blocking."""

import inspect
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from durably import (
    CallbackError,
    DurableContext,
    Engine,
    Execution,
    ExecutionFailedError,
    FunctionNotFoundError,
    InvalidStateError,
    SyncEngine,
    durable_execution,
)
from durably.app.sync_engine import SyncExecution
from durably.engine.views import Standing
from durably.wire.execution import ExecutionStatus
from tests.app.functions import ALL, Order, Receipt, fulfil


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[SyncEngine]:
    with SyncEngine(f"sqlite:{tmp_path}/durably.db", ALL, grace=0) as engine:
        yield engine


def test_a_script_runs_an_execution_to_its_end(engine: SyncEngine) -> None:
    run = engine.start(fulfil, Order("o-1"), name="order-7")

    assert run.result(timeout=5) == Receipt(Order("o-1"), 2.0)
    assert (run.name, run.function_name) == ("order-7", "fulfil")
    assert run.status() is ExecutionStatus.SUCCEEDED
    assert run.describe().event_count >= len(run.history())
    assert engine.get("order-7").arn == run.arn
    assert engine.describe(run).arn == run.arn
    assert engine.history(run, max_items=1).events == run.history()[:1]
    assert len(engine.list().executions) == 1


def test_errors_come_through(engine: SyncEngine) -> None:
    with pytest.raises(FunctionNotFoundError):
        engine.start("refund")

    with pytest.raises(ExecutionFailedError, match="no money"):
        engine.start("fail", "no money").result()


def test_executions_are_stopped_paused_resumed_and_deleted(engine: SyncEngine) -> None:
    engine.start("long_sleep", "x", name="bear")
    engine.pause("bear", "holidays")
    engine.resume("bear")
    run = engine.get("bear")
    engine.why(run)
    at = engine.stop(run)

    assert run.stop() == at
    assert engine.why(run).standing is Standing.CLOSED
    engine.delete(run)
    assert engine.list().executions == ()


def test_callbacks_are_answered(engine: SyncEngine) -> None:
    told: list[str] = []
    is_told = threading.Event()

    @durable_execution
    async def approval(event: Any, ctx: DurableContext) -> list[Any]:
        def tell(callback_id: str) -> None:
            told.append(callback_id)
            is_told.set()

        first = await ctx.wait_for_callback("first", tell)
        try:
            await ctx.wait_for_callback("second", tell)
        except CallbackError as error:
            return [first, str(error)]
        return []

    with SyncEngine("memory:", [approval]) as other:
        run = other.start(approval, {})
        assert is_told.wait(5)
        is_told.clear()
        other.callback_heartbeat(told[0])
        other.callback_succeed(told[0], "yes")
        assert is_told.wait(5)
        other.callback_fail(told[1], "no")
        assert run.result(timeout=5) == ["yes", "no"]


def test_an_engine_that_is_not_open_says_so(tmp_path: Path) -> None:
    engine = SyncEngine(f"sqlite:{tmp_path}/durably.db", ALL)

    with pytest.raises(InvalidStateError, match="with engine"):
        engine.start(fulfil, Order("o-1"))

    with engine:
        with pytest.raises(InvalidStateError, match="open already"):
            engine.__enter__()
        with pytest.raises(InvalidStateError, match="open already"):
            engine.run_forever()
    engine.__exit__(None, None, None)


def test_an_engine_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()

    with pytest.raises(Exception, match="directory"), SyncEngine(f"sqlite:{tmp_path}/no/x.db"):
        pass

    assert threading.active_count() == before


def test_a_coroutine_function_cannot_wait_for_its_own_engine() -> None:
    engines: list[SyncEngine] = []

    @durable_execution
    async def selfish(event: Any, ctx: DurableContext) -> str:
        try:
            engines[0].list()
        except InvalidStateError as error:
            return str(error)
        return ""

    with SyncEngine("memory:", [selfish]) as engine:
        engines.append(engine)
        assert "wait for itself" in engine.start(selfish, {}).result(timeout=5)


@pytest.mark.parametrize(
    ("twin", "original"), [(SyncEngine, Engine), (SyncExecution, Execution)], ids=["engine", "run"]
)
def test_the_twins_have_the_same_methods_with_the_same_parameters(
    twin: type, original: type
) -> None:
    def signatures(kind: type) -> dict[str, list[tuple[str, Any]]]:
        return {
            name: [
                (parameter.name, parameter.default)
                for parameter in inspect.signature(function).parameters.values()
            ]
            for name, function in vars(kind).items()
            if not name.startswith("_") and inspect.isfunction(function)
        }

    assert signatures(twin) == signatures(original)
