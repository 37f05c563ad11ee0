"""Updates on their way: in order, in batches, one request at a time."""

import pytest

from durably.core.batch import MAX_ITEMS_IN_BATCH, MAX_PAYLOAD_SIZE
from durably.drivers.outbox import Batch, Outbox
from durably.seams import RandomIds
from durably.wire.api import CheckpointResponse
from durably.wire.operation import OperationType
from durably.wire.update import OperationAction, OperationUpdate

NEXT = "next"


class Wire:
    """Takes batches, and answers when it is told to."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.outbox = Outbox("arn", "first", RandomIds(), self.batches.append)
        self.accepted: list[str] = []

    def add(self, *names: str, payload: str | None = None) -> None:
        for name in names:
            update = OperationUpdate(
                id=name, type=OperationType.STEP, action=OperationAction.SUCCEED, payload=payload
            )
            self.outbox.add(update, lambda name=name: self.accepted.append(name))  # type: ignore[misc]

    def answer(self, token: str | None = NEXT) -> None:
        batch = self.outbox.accept(CheckpointResponse(checkpoint_token=token))
        for accepted in batch.accepted:
            accepted()
        self.outbox.send()

    @property
    def sent(self) -> list[str]:
        return ["".join(update.id for update in batch.updates) for batch in self.batches]


def test_an_update_goes_out_at_once_when_nothing_is_in_flight() -> None:
    wire = Wire()

    wire.add("a")

    assert wire.sent == ["a"]
    assert not wire.outbox.is_empty


def test_what_gathers_behind_a_request_goes_out_together_and_in_order() -> None:
    wire = Wire()
    wire.add("a", "b", "c")
    assert wire.sent == ["a"]

    wire.answer()

    assert wire.sent == ["a", "bc"]
    assert wire.accepted == ["a"]
    wire.answer()
    assert wire.accepted == ["a", "b", "c"]
    assert wire.outbox.is_empty


def test_each_request_carries_the_token_of_the_reply_before_and_one_of_its_own() -> None:
    wire = Wire()
    wire.add("a", "b")
    wire.answer("second")

    tokens = [batch.request.checkpoint_token for batch in wire.batches]
    client_tokens = [batch.request.client_token for batch in wire.batches]

    assert tokens == ["first", "second"]
    assert len(set(client_tokens)) == 2
    assert {len(token or "") for token in client_tokens} == {32}


def test_a_batch_has_at_most_250_updates() -> None:
    wire = Wire()
    wire.add(*("x" * 1 for _ in range(MAX_ITEMS_IN_BATCH + 2)))
    wire.answer()
    wire.answer()

    assert [len(batch.updates) for batch in wire.batches] == [1, 250, 1]


def test_a_batch_has_at_most_750_kib_but_is_never_empty() -> None:
    wire = Wire()
    wire.add("a")
    wire.add("b", "c", payload="x" * (MAX_PAYLOAD_SIZE // 2))
    wire.add("d", payload="x" * MAX_PAYLOAD_SIZE)
    for _ in range(4):
        wire.answer()

    assert wire.sent == ["a", "b", "c", "d"]


def test_a_forced_round_trip_carries_nothing_and_is_shared() -> None:
    wire = Wire()
    wire.outbox.force()
    wire.outbox.force()
    wire.outbox.force()
    assert wire.sent == [""]

    wire.answer()

    assert wire.sent == ["", ""]
    wire.answer()
    assert wire.outbox.is_empty


def test_a_forced_round_trip_goes_along_with_what_is_queued() -> None:
    wire = Wire()
    wire.add("a", "b")
    wire.outbox.force()
    wire.answer()
    wire.answer()

    assert wire.sent == ["a", "b"]
    assert wire.outbox.is_empty


def test_a_forced_round_trip_waits_until_all_that_is_queued_has_gone() -> None:
    wire = Wire()
    wire.add("a", *("x" for _ in range(MAX_ITEMS_IN_BATCH + 1)))
    wire.outbox.force()

    wire.answer()
    assert not wire.outbox.is_empty
    wire.answer()
    wire.answer()

    assert [len(batch.updates) for batch in wire.batches] == [1, 250, 1]
    assert wire.outbox.is_empty


def test_after_a_reply_without_a_token_nothing_is_sent() -> None:
    wire = Wire()
    wire.add("a", "b")

    wire.answer(None)
    wire.add("c")
    wire.outbox.force()

    assert wire.sent == ["a"]
    assert wire.outbox.is_closed
    assert wire.outbox.is_empty


@pytest.mark.parametrize(
    ("type_", "closes"), [(OperationType.EXECUTION, True), (OperationType.STEP, False)]
)
def test_a_batch_knows_whether_it_closes_the_execution(
    type_: OperationType, *, closes: bool
) -> None:
    wire = Wire()

    wire.outbox.add(OperationUpdate(id="e", type=type_, action=OperationAction.SUCCEED))

    assert wire.batches[0].closes_execution is closes
    assert wire.batches[0].accepted == ()
