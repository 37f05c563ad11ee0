"""What each of the small examples that there are in one flavour shows."""

import logging
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from durably import ValidationError
from durably.testing import SyncTestEngine, TestEngine
from examples import (
    agent,
    api_client,
    archive,
    booking,
    compressed,
    consumer,
    credit,
    escalation,
    invoice,
    nightly_report,
    payment,
    scatter_gather,
    signatures,
    subscription,
    thumbnails,
    transcode,
    watched,
)


async def test_a_payment_is_made_once_wherever_it_crashes() -> None:
    def transfer(order: str) -> str:
        assert not t.effects["paid"]
        t.effect("paid", key=order)
        return "receipt"

    async with TestEngine([payment.pay]) as t:
        t.fake_step("transfer", transfer)
        t.fake_step("find", lambda _: "receipt" if t.effects["paid"] else None)
        await t.crash_everywhere(payment.pay, "order 7", mode="all")

        assert t.effects == {"paid": 1}


async def test_a_payment_that_is_refused_is_not_looked_for() -> None:
    async with TestEngine([payment.pay]) as t:
        t.fail_step("transfer", PermissionError("no money"))
        run = await t.run(payment.pay, "order 7")

        assert run.error is not None
        assert run.error.error_message == "no money"
        assert len(run.operations) == 1


@pytest.mark.parametrize(
    ("answers", "expected", "days"),
    [
        ({"Ada": True}, "approved by Ada", 0),
        ({"Bob": False}, "refused by Bob", 1),
        ({}, "nobody answered", 2),
    ],
)
async def test_an_approval_goes_up_the_ladder(
    answers: dict[str, bool], expected: str, days: int
) -> None:
    async with TestEngine([escalation.approve]) as t:
        begun_at = t.clock.now()
        for person, answer in answers.items():
            t.answer_callbacks(person, answer)
        run = await t.run(escalation.approve, {"what": "a press", "ladder": ["Ada", "Bob"]})

        assert run.result == expected
        assert t.clock.now() - begun_at == timedelta(days=days)


async def test_two_offers_are_enough() -> None:
    async with TestEngine([scatter_gather.cheapest]) as t:
        begun_at = t.clock.now()
        run = await t.run(scatter_gather.cheapest, "bolts")

        assert run.result == scatter_gather.Offer("North", 501)
        assert t.clock.now() - begun_at == timedelta(seconds=2)
        assert run.operation("offers/West/think").status == "STARTED"


async def test_an_agent_uses_its_tools_before_it_answers() -> None:
    async with TestEngine([agent.answer]) as t:
        tool = t.fake_step("temperature", lambda city: f"{city}: {len(city) * 10 - ord(city[0])}")
        run = await t.run(agent.answer, "Which one is warmer?")

        assert run.result == "Oslo: -39"
        assert tool.calls == [("Oslo",), ("Rome",)]


async def test_an_agent_that_only_asks_is_ended() -> None:
    async with TestEngine([agent.answer]) as t:
        t.fake_step("think", returns=agent.Turn(text="", cities=["Oslo"]))
        run = await t.run(agent.answer, "Which one is warmer?")

        assert run.error is not None
        assert run.error.error_message == "the model does not come to an end"


async def test_a_subscription_runs_for_a_year() -> None:
    async with TestEngine([subscription.subscribe]) as t:
        begun_at = t.clock.now()
        run = await t.run(subscription.subscribe, {"customer": "Ada"})

        assert run.result == "12 months paid"
        assert t.clock.now() - begun_at == timedelta(days=360)


async def test_a_subscription_ends_with_a_month_that_nobody_pays() -> None:
    async with TestEngine([subscription.subscribe]) as t:
        t.fail_step("charge", PermissionError("no money"))
        run = await t.run(subscription.subscribe, {"customer": "Ada"})

        assert run.result == "ended in month 1"
        assert run.step("charge").attempts == 5


async def test_a_machine_may_take_hours_while_it_gives_signs_of_life() -> None:
    async with TestEngine([transcode.transcode]) as t:
        t.answer_callbacks("blue", "holiday.mp4", after=7200, heartbeat_interval=20)

        assert (await t.run(transcode.transcode, "holiday.mov")).result == "holiday.mp4"


async def test_a_machine_that_is_silent_loses_its_job() -> None:
    async with TestEngine([transcode.transcode]) as t:
        t.answer_callbacks("blue", "too late", after=7200)
        t.answer_callbacks("green", "holiday.mp4")

        assert (await t.run(transcode.transcode, "holiday.mov")).result == "holiday.mp4"


async def test_a_job_that_no_machine_does_fails() -> None:
    async with TestEngine([transcode.transcode]) as t:
        run = await t.run(transcode.transcode, "holiday.mov")

        assert run.error is not None
        assert run.error.error_message == "no machine has transcoded holiday.mov"


async def test_a_chapter_that_fails_takes_no_other_along() -> None:
    async with TestEngine([nightly_report.report]) as t:
        run = await t.run(nightly_report.report, ["Atlantis", "Rome"])

        assert run.result == [
            "left out: no orders of Atlantis",
            "Rome: 24 orders in 24 visits",
        ]
        # The virtual context has left its operations and no record.
        assert [one.name for one in run.operation("Rome").children] == ["orders", "visits"]


@pytest.mark.parametrize(
    ("customer", "expected"),
    [("Ada Lovelace", "900 at 7.50 %: 67.50 a year"), ("Ada", "refused")],
)
async def test_a_loan_asks_other_functions(customer: str, expected: str) -> None:
    async with TestEngine([credit.apply, credit.score, credit.rate]) as t:
        run = await t.run(credit.apply, {"customer": customer, "amount": 900})

        assert run.result == expected


async def test_what_a_function_invokes_can_be_faked() -> None:
    async with TestEngine([credit.apply]) as t:
        t.fake_invoke("score", returns=9)
        rate = t.fake_invoke("rate", returns="1.5")
        run = await t.run(credit.apply, credit.Loan("Ada", 100))

        assert run.result == "100 at 1.5 %: 1.5 a year"
        assert rate.calls == [(9,)]


@pytest.mark.parametrize(
    ("second_after", "expected"), [(60, "signed by Ada L. and Bob M."), (900_000, "too late")]
)
async def test_a_contract_is_signed_by_all_or_it_is_too_late(
    second_after: float, expected: str
) -> None:
    async with TestEngine([signatures.sign]) as t:
        t.answer_callbacks("Ada", "Ada L.")
        t.answer_callbacks("Bob", "Bob M.", after=second_after)
        run = await t.run(signatures.sign, {"paper": "lease", "signers": ["Ada", "Bob"]})

        assert run.result == expected


def test_what_is_archived_is_in_a_file_and_a_preview_in_the_record(tmp_path: Path) -> None:
    with SyncTestEngine([archive.archive]) as t:
        run = t.run(archive.archive, {"customer": "Ada", "folder": str(tmp_path)})

        [file] = tmp_path.rglob("*.json")
        assert run.result == 3_000_000 < file.stat().st_size
        assert run.step("load").result["preview"] == {"customer": "Ada", "iban": "***"}
        assert "NO93" not in str(run.step("load").payload)


async def test_an_invoice_is_of_the_models_in_every_replay() -> None:
    lines = [{"item": "tea", "net": "4.50"}, {"item": "cups", "net": "10"}]

    async with TestEngine([invoice.bill]) as t:
        run = await t.run(invoice.bill, {"to": "Ada", "lines": lines})

        due = t.clock.now().date() + timedelta(days=14)
        assert run.result == invoice.Invoice(to="Ada", gross=Decimal("18.125"), due=due)


async def test_an_order_that_breaks_a_rule_starts_nothing() -> None:
    async with TestEngine([invoice.bill]) as t:
        with pytest.raises(ValidationError, match="greater than 0"):
            await t.start(invoice.bill, {"to": "Ada", "lines": [{"item": "tea", "net": -1}]})


async def test_calls_are_made_again_when_the_api_says_so() -> None:
    async with TestEngine([api_client.locate]) as t:
        begun_at = t.clock.now()
        run = await t.run(api_client.locate, ["Oslo", "Rome", "Bern"])

        assert run.result == {"Oslo": [4, 79], "Rome": [4, 82], "Bern": [4, 66]}
        # Two at once: the third one comes when one of them has had its second attempt.
        assert t.clock.now() - begun_at == timedelta(seconds=2)


async def test_a_call_that_is_no_use_is_not_repeated() -> None:
    async with TestEngine([api_client.locate]) as t:
        t.fail_step("look up", KeyError("no such city"))
        run = await t.run(api_client.locate, ["Atlantis"])

        assert run.operation("cities/0/look up").attempts == 1


async def test_a_block_finds_another_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(booking, "taken", {"1A": "Bob"})

    async with TestEngine([booking.book]) as t:
        run = await t.run(booking.book, "Ada")

        assert run.result == "1B"
        assert booking.taken == {"1A": "Bob", "1B": "Ada"}
        assert run.operation("pick/pick-backoff-1").duration == timedelta(seconds=1)


async def test_a_message_that_is_delivered_twice_is_handled_once() -> None:
    messages = [consumer.Message(f"m-{number}", "hello") for number in (1, 2, 1)]

    async with TestEngine([consumer.handle]) as t:
        stored = t.fake_step("store", lambda message: message.text)
        first, second, again = await consumer.consume(t.engine, messages)
        await t.run_until_suspended()

        assert first.arn == again.arn != second.arn
        assert [message.id for (message,) in stored.calls] == ["m-1", "m-2"]
        assert await again.result() == "hello"


async def test_a_plugin_tells_of_attempts_that_fail(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async with TestEngine([watched.fetch]) as t:
        run = await t.run(watched.fetch, "page")

    said = [(one.name, one.getMessage()) for one in caplog.records if "durably" not in one.name]
    assert run.step("load").attempts == 2
    assert said == [
        ("examples.watched", "fetching page"),  # once, though the handler ran twice
        ("watched", "load failed: ConnectionError: no route"),
    ]


async def test_results_are_compressed_and_those_of_the_execution_are_not() -> None:
    async with TestEngine([compressed.digest]) as t:
        run = await t.run(compressed.digest, "a long text ")

        assert run.result == 119_999
        assert len(run.step("repeat").payload or "") < 1000


def test_thumbnails_have_sub_types_of_their_own() -> None:
    with SyncTestEngine([thumbnails.gallery]) as t:
        run = t.run(thumbnails.gallery, ["cat.png"])

        assert run.result == [["cat.png at 64", "cat.png at 640"]]
        sub_types = {one.name: one.record.sub_type for one in run.operations}
        assert sub_types == {
            "gallery": "Gallery",
            "cat.png": "Picture",
            "to 64": "Resize",
            "to 640": "Resize",
        }
