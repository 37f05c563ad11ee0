"""What a run has cost, and what the managed service would refuse."""

import pytest

from durably import DurableContext, durable_execution
from durably.testing import TestEngine
from durably.testing.collected import Collected
from durably.testing.costs import COLLECT_VARIABLE, COLLECTED, RunCost, cost_lines
from tests.kit.functions import ALL, ship, yearly


def cost(**changes: int) -> RunCost:
    counts = {"invocations": 1, "operations": 2, "checkpoints": 3, "stored_bytes": 4, **changes}
    return RunCost(title="f/x", **counts)


async def test_a_run_counts_what_it_costs() -> None:
    @durable_execution
    async def fulfil(event: None, ctx: DurableContext) -> str:
        await ctx.wait("a", 60)
        return await ctx.step("b", lambda: "x" * 1000)

    async with TestEngine(functions=[fulfil]) as t:
        run = await t.run(fulfil, None)

        assert (run.cost.operations, run.cost.checkpoints, run.cost.invocations) == (2, 4, 2)
        assert 1000 < run.cost.stored_bytes < 10_000
        assert run.cost.over_quota == ()
        assert run.cost.title == run.title


async def test_operations_in_contexts_are_counted_too() -> None:
    async with TestEngine(functions=ALL) as t:
        run = await t.run(ship, ["a", "b"])

        assert run.cost.operations == 9


def test_what_the_service_refuses_is_named() -> None:
    assert cost(operations=3_001).over_quota == ("3,001 operations: the service takes 3,000",)
    assert cost(stored_bytes=104_857_601).over_quota == (
        "104,857,601 bytes: the service takes 104,857,600",
    )


def test_costs_are_shown_with_the_highest_first() -> None:
    lines = list(cost_lines([("a", cost()), ("b", cost(operations=3_001))]))

    assert lines[1:] == [
        "      3,001            3            1            4  b  f/x",
        "             over quota: 3,001 operations: the service takes 3,000",
        "          2            3            1            4  a  f/x",
    ]


def test_costs_are_collected_only_if_somebody_wants_them() -> None:
    collected = Collected[RunCost](COLLECT_VARIABLE)

    collected.add([cost()], {})
    nothing = collected.take()
    collected.add([cost()], {COLLECT_VARIABLE: "1"})

    assert nothing == []
    assert collected.take() == [cost()]
    assert collected.take() == []


async def test_a_run_that_is_gone_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COLLECT_VARIABLE, "1")

    async with TestEngine(functions=ALL) as t:
        gone = await t.run(yearly, "Ada")
        await t.engine.delete(gone.arn)
        kept = await t.run(yearly, "Grace")

    assert [one.title for one in COLLECTED.take()] == [kept.title]
