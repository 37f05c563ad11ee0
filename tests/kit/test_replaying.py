"""Every history that a test has produced is replayed when its block ends, if that is asked for."""

import asyncio
from itertools import count

import pytest

from durably import (
    DurableContext,
    DurableFunction,
    SyncDurableContext,
    durable_execution,
)
from durably.testing import (
    CrashDifferenceError,
    FailedRunError,
    NotReplayableError,
    SyncTestEngine,
    TestEngine,
    UnmetFakeError,
)
from durably.testing.produced import REPLAY_VARIABLE, REPLAYED, Replayed
from tests.kit.functions import ALL, approve, asks_ship, beside, pack, plain, polls, ship, yearly

pytestmark = pytest.mark.usefixtures("nothing_is_left")


def changing(*, after: int = 1) -> DurableFunction:
    """Make a function that does something else after so many calls."""
    calls = count()

    @durable_execution
    async def changes(item: str, ctx: DurableContext) -> str:
        name = "pack" if next(calls) < after else "wrap"
        parcel = await ctx.step(name, pack, item)
        return parcel.item

    return changes


@durable_execution
async def asks_changing(item: str, ctx: DurableContext) -> str:
    packed: str = await ctx.invoke("packing", "changes", item)
    return packed


# What replays


async def test_functions_of_every_kind_replay() -> None:
    async with TestEngine(functions=ALL, replay=True) as t:
        t.fail_step("label", OSError("out of paper"), attempts=[1])
        t.answer_callbacks("approval", "yes", after=3600)
        for function, given in (
            (yearly, "Ada"),
            (ship, ["a", "b"]),
            (asks_ship, ["a"]),
            (approve, "may I?"),
            (beside, 1),
            (plain, "cup"),
            (polls, 3),
        ):
            assert (await t.run(function, given)).is_closed


async def test_a_fake_that_stands_in_for_a_function_is_not_replayed() -> None:
    async with TestEngine(functions=ALL, replay=True) as t:
        t.fake_invoke("ship", returns=["a"])
        assert (await t.run(asks_ship, ["a"])).result == 1


async def test_invocations_that_fail_always_alike_replay() -> None:
    @durable_execution
    async def leaves(event: None, ctx: DurableContext) -> None:
        raise SystemExit(3)

    async with TestEngine(functions=[leaves], replay=True) as t:
        assert (await t.run(leaves, None)).why.parked_reason is not None


async def test_executions_that_have_not_ended_replay_as_far_as_they_are() -> None:
    @durable_execution
    async def stuck(event: None, ctx: DurableContext) -> None:
        await ctx.step("pack", pack, "x")
        await ctx.step("stuck", never)

    is_stuck = asyncio.Event()

    async def never() -> None:
        is_stuck.set()
        await asyncio.Event().wait()

    async with TestEngine(functions=[stuck, *ALL], replay=True) as t:
        await t.start(yearly, "Ada")
        await t.start(approve, "may I?")
        await t.run_until_suspended()
        await t.start(stuck, None)
        await is_stuck.wait()


@pytest.mark.parametrize("function", [ship, plain])
async def test_the_runs_with_a_crash_replay_too(
    function: DurableFunction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REPLAY_VARIABLE, "1")
    given = "cup" if function is plain else ["a", "b"]

    async with TestEngine(functions=ALL) as t:
        report = await t.crash_everywhere(function, given, mode="sample")
    replayed = REPLAYED.take()

    # One that has not crashed, and a store for what is not of these runs.
    assert len(replayed) == len(report.points) + report.orders + 1
    assert sum(one.histories for one in replayed) == len(replayed) - 1
    assert all(one.states > 5 for one in replayed[:-1])


def test_an_engine_that_blocks_replays_too() -> None:
    with SyncTestEngine(functions=ALL, replay=True) as t:
        assert t.run(plain, "cup").result == "label of cup"

    with pytest.raises(NotReplayableError):  # noqa: SIM117 - the inner one raises
        with SyncTestEngine(functions=[changing()], replay=True) as t:
            t.run("changes", "cup")


# What does not


async def test_a_function_that_does_something_else_each_time_fails_the_test() -> None:
    with pytest.raises(NotReplayableError) as failure:
        async with TestEngine(functions=[changing()], replay=True) as t:
            assert (await t.run("changes", "cup", name="cup")).result == "cup"

    said = str(failure.value).splitlines()
    assert said[0].startswith("changes/cup does not replay: after 3 of its 6 facts")
    assert said[1:4] == ["  pack", "    recorded  step 'pack'", "    now       step 'wrap'"]
    assert "test_replaying.py, line " in said[4]
    assert said[4].endswith(".changes: parcel = await ctx.step(name, pack, item)")


async def test_a_plain_function_is_held_to_it_too() -> None:
    called = count()

    @durable_execution
    def changes(event: None, ctx: SyncDurableContext) -> int:
        ctx.wait("a day", 86_400)
        return next(called)

    with pytest.raises(NotReplayableError, match=r"returns 0\n +now +returns 2"):
        async with TestEngine(functions=[changes], replay=True) as t:
            await t.run(changes, None)


async def test_functions_that_others_invoke_are_held_to_it_too() -> None:
    with pytest.raises(NotReplayableError, match=r"^changes/.* does not replay"):
        async with TestEngine(functions=[asks_changing, changing()], replay=True) as t:
            assert (await t.run(asks_changing, "cup")).result == "cup"


async def test_a_difference_after_a_crash_names_the_crash() -> None:
    # It does the same in each run, and in each process that takes over; then it does not.
    function = changing(after=len(("usual", "crashed", "taken over")))

    with pytest.raises(NotReplayableError) as failure:
        async with TestEngine(functions=[function], replay=True) as t:
            await t.crash_everywhere("changes", "cup", only="before pack StepSucceeded")

    assert failure.value.__notes__[-1].startswith("With ")
    assert (
        "to see this one alone: crash_everywhere(changes, …, only=" in (failure.value.__notes__[-1])
    )


# What is told instead, and what is not


async def test_a_crash_that_changes_something_is_told_first() -> None:
    with pytest.raises(CrashDifferenceError):
        async with TestEngine(functions=[changing()], replay=True) as t:
            await t.crash_everywhere("changes", "cup")


async def test_a_block_that_fails_by_itself_is_not_replayed() -> None:
    t = TestEngine(functions=[changing()], replay=True)
    t.fail_step("pack", OSError("no paper"))

    with pytest.raises(FailedRunError):
        async with t:
            assert (await t.run("changes", "cup")).result == "cup"


async def test_a_fake_that_is_misspelt_is_told_first() -> None:
    t = TestEngine(functions=[changing()], replay=True)
    t.fake_step("pakc")

    with pytest.raises(UnmetFakeError):
        async with t:
            await t.run("changes", "cup")


@pytest.mark.parametrize(("asked", "replay"), [("", None), ("1", False)])
async def test_nothing_is_replayed_unless_it_is_asked_for(
    asked: str,
    replay: bool | None,  # noqa: FBT001 - a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(REPLAY_VARIABLE, asked)

    async with TestEngine(functions=[changing()], replay=replay) as t:
        await t.run("changes", "cup")


async def test_a_replay_runs_no_body_and_no_fake() -> None:
    async with TestEngine(functions=ALL, replay=True) as t:
        packed = t.fake_step("pack", returns={"item": "x"})
        await t.run(ship, ["a", "b"])

    assert len(packed.calls) == 2


async def test_handlers_are_replayed_in_the_event_loop_of_the_test() -> None:
    loops: set[asyncio.AbstractEventLoop] = set()

    @durable_execution
    async def notes(event: None, ctx: DurableContext) -> None:
        loops.add(asyncio.get_running_loop())
        await ctx.step("pack", pack, "x")

    async with TestEngine(functions=[notes], replay=True) as t:
        await t.run(notes, None)

    assert loops == {asyncio.get_running_loop()}


async def test_how_much_was_replayed_is_told_to_whoever_wants_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(REPLAY_VARIABLE, "1")

    async with TestEngine(functions=ALL) as t:
        await t.run(yearly, "Ada")
        await t.run(yearly, "Grace")

    assert REPLAYED.take() == [Replayed(histories=2, states=8)]
