"""What a test says of the world is what a function meets: fakes, failures and answers."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

import durably.testing as kit
from durably import (
    CallbackConfig,
    DurableContext,
    ErrorObject,
    ExecutionStatus,
    StepContext,
    SyncDurableContext,
    ValidationError,
    current_step,
    durable_execution,
)
from durably.testing import (
    FailedRunError,
    SyncTestEngine,
    TestEngine,
    UnfinishedRunError,
    UnmetFakeError,
)
from durably.testing.clock import EPOCH
from tests.kit.functions import ALL, RETRIED, Parcel, approve, asks_ship, pack, plain, polls, ship


def test_importing_the_package_loads_nothing_of_it() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = kit.nothing
    assert [getattr(kit, name).__name__ for name in kit.__all__] == kit.__all__


# Steps


async def test_a_faked_step_returns_what_it_is_told_and_notes_its_arguments() -> None:
    async with TestEngine(functions=ALL) as t:
        pack = t.fake_step("pack", returns=Parcel("brick", 5))
        run = await t.run(ship, ["a", "b"])

        assert run.result == ["label of brick", "label of brick"]
        assert pack.calls == [("a",), ("b",)]
        assert pack.calls[0].keywords == {}
        assert repr(pack) == "<Fake of 'pack', called 2 times>"


async def test_a_fake_may_be_a_function_of_either_kind() -> None:
    async def wrapped(item: str) -> Parcel:
        await asyncio.sleep(0)
        return Parcel(f"wrapped {item}")

    async with TestEngine(functions=ALL) as t:
        t.fake_step("pack", wrapped)
        t.fake_step("label", lambda parcel: f"{parcel.item}!")
        run = await t.run(ship, ["a"])

        assert run.result == ["wrapped a!"]


async def test_a_fake_knows_its_step() -> None:
    contexts: list[StepContext] = []

    def packed(item: str) -> Parcel:
        contexts.append(current_step())
        return Parcel(item)

    def labelled(parcel: Parcel) -> str:
        contexts.append(current_step())
        return "x"

    async with TestEngine(functions=ALL) as t:
        t.fake_step("pack", packed)
        t.fake_step("label", labelled)
        await t.run(ship, ["a"])

        assert [(one.name, one.attempt) for one in contexts] == [("pack", 1), ("label", 1)]


@pytest.mark.parametrize("returned", ["a value", "a coroutine"])
def test_the_steps_of_a_plain_function_are_faked_too(returned: str) -> None:
    async def labelled(parcel: Parcel) -> str:
        return f"faked {parcel.item}"

    with SyncTestEngine(functions=ALL) as t:
        fake = t.fake_step(
            "label", labelled if returned == "a coroutine" else lambda _: "faked cup"
        )
        run = t.run(plain, "cup")

        assert run.result == "faked cup"
        assert fake.calls == [(Parcel("cup"),), (Parcel("cup"),)]


async def test_checks_and_submitters_are_faked_by_the_names_of_their_operations() -> None:
    async with TestEngine(functions=ALL) as t:
        t.fake_step("ready", lambda seen: seen + 10)
        asked = t.fake_step("approval")
        t.answer_callbacks("approval", "yes")
        looked = await t.run(polls, 20)
        approved = await t.run(approve, "may I?")

        assert looked.operation("ready").attempts == 2
        assert asked.calls == [(approved.callback_id("approval"),)]


async def test_a_fake_that_nothing_asks_for_fails_the_test() -> None:
    async def misspell() -> None:
        async with TestEngine(functions=ALL) as t:
            t.fake_step("pakc", returns=1)
            t.fail_step("lable", ValueError)
            t.fake_invoke("shipp", returns=1)
            t.answer_callbacks("aproval", "yes")
            await t.run(ship, ["a"])

    with pytest.raises(UnmetFakeError) as failure:
        await misspell()

    assert str(failure.value).splitlines() == [
        "fake_step('pakc'): no such step ran. Steps that ran: 'pack', 'label'",
        "fail_step('lable'): no such attempt ran. Steps that ran: 'pack', 'label'",
        "fake_invoke('shipp'): no such function was invoked. Functions that were: none",
        "answer_callbacks('aproval'): no such callback was waited for. Callbacks that were: none",
    ]


async def test_what_was_invoked_and_waited_for_is_listed_beside_a_fake_of_another_name() -> None:
    @durable_execution
    async def both(event: None, ctx: DurableContext) -> None:
        await ctx.wait_for_callback("approval", pack)
        await ctx.invoke("shipping", "ship", [])

    async def misspell() -> None:
        async with TestEngine(functions=[both, ship]) as t:
            t.fake_invoke("shipp", returns=1)
            t.answer_callbacks("aproval", "yes")
            run = await t.start(both, None)
            await t.run_until_suspended()
            await t.callback_succeed(run.callback_id("approval"))
            await t.finish(run)

    with pytest.raises(UnmetFakeError) as failure:
        await misspell()

    said = str(failure.value)
    assert "'shipp'): no such function was invoked. Functions that were: 'ship'" in said
    assert "'aproval'): no such callback was waited for. Callbacks that were: 'approval'" in said


async def test_an_answer_of_another_name_is_told_of_where_one_is_missing() -> None:
    async with TestEngine(functions=ALL) as t:
        t.answer_callbacks("aproval", "yes")
        with pytest.raises(UnfinishedRunError) as failure:
            await t.run("approve", "may I?")
        assert str(failure.value).endswith(
            "\nanswer_callbacks('aproval'): no such callback was waited for. "
            "Callbacks that were: 'approval'"
        )
        t.answer_callbacks("approval", "yes")
        t.fakes.answers.pop("aproval")
        await t.run("approve", "may I?")


async def test_an_error_that_is_raised_again_has_no_frames_of_before() -> None:
    @durable_execution
    async def tries(event: None, ctx: DurableContext) -> None:
        await ctx.step("pack", pack, "x", config=RETRIED)

    refusal = OSError("no")
    async with TestEngine(functions=[tries]) as t:
        t.fail_step("pack", refusal)
        run = await t.run(tries, None)

    details = [one.step_failed_details for one in run.history if one.step_failed_details]
    traces = [one.error.payload.stack_trace for one in details if one.error.payload]
    assert len(traces) == 3
    assert len({len(trace or ()) for trace in traces}) == 1


async def test_an_unmet_fake_hides_no_other_failure() -> None:
    async def break_down() -> None:
        async with TestEngine(functions=ALL) as t:
            t.fake_step("pakc", returns=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_down()


async def test_a_fake_that_is_two_things_is_refused() -> None:
    t = TestEngine(functions=ALL)

    with pytest.raises(ValidationError, match="returns: is what the function does"):
        t.fake_step("pack", lambda item: item, returns=1)
    with pytest.raises(ValidationError, match="raises: leaves nothing to return"):
        t.fake_invoke("ship", returns=1, raises=ValueError)
    with pytest.raises(ValidationError, match="'no name' is no name"):
        t.fake_invoke("no name")


# Failures


@durable_execution
async def sends(item: str, ctx: DurableContext) -> str:
    async def send(what: str) -> str:
        return f"sent {what}"

    return await ctx.step("send", send, item, config=RETRIED)


@durable_execution
def sends_plainly(item: str, ctx: SyncDurableContext) -> str:
    def send(what: str) -> str:
        return f"sent {what}"

    return ctx.step("send", send, item, config=RETRIED)


@pytest.mark.parametrize("function", [sends, sends_plainly])
async def test_the_attempts_that_are_to_fail_do_and_the_next_one_is_real(function: Any) -> None:
    async with TestEngine(functions=[function]) as t:
        t.fail_step("send", ConnectionError("no"), attempts=2)
        run = await t.run(function, "it")

        assert run.result == "sent it"
        assert run.step("send").attempts == 3
        assert t.clock.now() == EPOCH + timedelta(minutes=2)


async def test_a_step_that_always_fails_fails_for_good() -> None:
    async with TestEngine(functions=[sends]) as t:
        t.fail_step("send", ConnectionError("no"))
        run = await t.run(sends, "it")

        assert run.step("send").attempts == 3
        with pytest.raises(FailedRunError, match="StepError in step 'send': ConnectionError: no"):
            _ = run.result


async def test_attempts_fail_by_their_numbers_and_the_others_meet_the_fake() -> None:
    async with TestEngine(functions=[sends]) as t:
        fake = t.fake_step("send", returns="faked")
        t.fail_step("send", ConnectionError, attempts={1})
        run = await t.run(sends, "it")

        assert (run.result, run.step("send").attempts) == ("faked", 2)
        assert fake.calls == [("it",)]


# Invokes


async def test_a_faked_function_answers_in_the_place_of_one_there_is_not() -> None:
    @durable_execution
    async def rates(amount: int, ctx: DurableContext) -> float:
        score: float = await ctx.invoke("score", "fraud-score", {"amount": amount})
        return score

    async with TestEngine(functions=[rates]) as t:
        score = t.fake_invoke("fraud-score", returns=0.25)
        run = await t.run(rates, 7)

        assert run.result == 0.25
        assert score.calls == [({"amount": 7},)]
        assert run.operation("score").kind == "invoke"


async def test_a_faked_function_stands_in_for_one_there_is() -> None:
    async def labels(items: list[str]) -> list[str]:
        return [item.upper() for item in items]

    async with TestEngine(functions=ALL) as t:
        t.fake_invoke("ship", labels)
        run = await t.run(asks_ship, ["a", "b"])

        assert run.result == 2
        assert run.operation("shipping").result == ["A", "B"]


async def test_a_faked_function_may_fail() -> None:
    async with TestEngine(functions=ALL) as t:
        t.fake_invoke("ship", raises=TimeoutError("too slow"))
        run = await t.run(asks_ship, ["a"])

        assert run.operation("shipping").error == ErrorObject(
            error_type="TimeoutError", error_message="too slow"
        )


# Answers


async def test_a_callback_is_answered_when_and_as_it_was_said() -> None:
    async with TestEngine(functions=ALL) as t:
        t.answer_callbacks("approval", {"ok": True}, after=timedelta(days=2))
        run = await t.run(approve, "may I?")

        assert run.result == '{"ok":true}'
        assert t.clock.now() == EPOCH + timedelta(days=2)


async def test_a_callback_is_failed_as_it_was_said() -> None:
    async with TestEngine(functions=ALL) as t:
        t.answer_callbacks("approval", error=ValueError("no"))
        run = await t.run(approve, "may I?")

        assert run.error == ErrorObject(error_type="CallbackExternalError", error_message="no")


@durable_execution
async def listens(event: None, ctx: DurableContext) -> str:
    config: CallbackConfig[str] = CallbackConfig(heartbeat_timeout=3600)
    callback = await ctx.create_callback("answer", config)
    answer: str = await callback.result()
    return answer


@pytest.mark.parametrize(
    ("interval", "status"),
    [(None, ExecutionStatus.FAILED), (1800, ExecutionStatus.SUCCEEDED)],
)
async def test_heartbeats_keep_a_callback_open(
    interval: int | None, status: ExecutionStatus
) -> None:
    async with TestEngine(functions=[listens]) as t:
        t.answer_callbacks(
            "answer", "at last", after=timedelta(hours=10), heartbeat_interval=interval
        )
        run = await t.run(listens, None)
        await t.advance(timedelta(hours=10))  # whoever is late is not heard, and breaks nothing

        assert run.status is status


async def test_what_a_test_answers_itself_is_not_answered_again() -> None:
    async with TestEngine(functions=ALL) as t:
        t.answer_callbacks("approval", "late", after=60)
        run = await t.start(approve, "may I?")
        await t.run_until_suspended()
        await t.callback_succeed(run.callback_id("approval"), "early")
        await t.advance(60)

        assert run.result == "early"


async def test_callbacks_of_another_name_are_left_alone() -> None:
    async with TestEngine(functions=[*ALL, listens]) as t:
        t.answer_callbacks("approval", "yes")
        run = await t.start(listens, None)
        approved = await t.run(approve, "may I?")

        assert approved.result == "yes"
        assert run.status is ExecutionStatus.RUNNING
