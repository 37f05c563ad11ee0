"""What the managed service would not allow: an engine here says so once, and goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from durably.engine.limits import SERVICE_MAX_OPERATIONS, SERVICE_MAX_STORED_BYTES
from durably.engine.sessions import Session
from durably.wire.arns import title_of
from durably.wire.operation import OperationType
from durably.wire.update import OperationAction, OperationUpdate
from tests.unit.drivers.support import Messages
from tests.unit.engine.shell import LEASE, Bench, run

A_MEGABYTE = "x" * 1_000_000


def started(number: int) -> OperationUpdate:
    return OperationUpdate(
        id=f"s{number}", type=OperationType.STEP, action=OperationAction.START, sub_type="Step"
    )


def finished(number: int, payload: str) -> OperationUpdate:
    return OperationUpdate(
        id=f"s{number}", type=OperationType.STEP, action=OperationAction.SUCCEED, payload=payload
    )


async def grow(session: Session, first: int, last: int) -> None:
    await session.checkpoint(tuple(started(number) for number in range(first, last)))


async def store_megabytes(session: Session, first: int, last: int) -> None:
    for number in range(first, last):
        await session.checkpoint((started(number), finished(number, A_MEGABYTE)))


@pytest.fixture
def messages() -> Iterator[Messages]:
    with Messages.of("durably.engine") as messages:
        yield messages


def test_an_execution_that_passes_the_quota_of_operations_is_named_once(
    messages: Messages,
) -> None:
    async def main() -> str:
        async with Bench() as bench:
            arn, session = await bench.running()
            await grow(session, 0, SERVICE_MAX_OPERATIONS)
            assert messages.records == []
            await grow(session, SERVICE_MAX_OPERATIONS, SERVICE_MAX_OPERATIONS + 1)
            await grow(session, SERVICE_MAX_OPERATIONS + 1, SERVICE_MAX_OPERATIONS + 10)
            assert len(await bench.service.operations(arn)) == SERVICE_MAX_OPERATIONS + 11
            return arn

    arn = run(main)

    (record,) = messages.records
    assert record.levelname == "WARNING"
    assert record.message == (
        f"{title_of(arn)} has more than 3,000 operations: AWS allows an execution no more, "
        "and here it goes on"
    )
    fields = vars(record)
    assert (fields["executionArn"], fields["quota"], fields["limit"]) == (arn, "operations", 3000)


def test_what_was_stored_before_the_execution_was_loaded_counts_too(messages: Messages) -> None:
    async def main() -> None:
        async with Bench() as bench:
            _, session = await bench.running()
            await store_megabytes(session, 0, 60)
            assert messages.records == []
            async with Bench(store=bench.store) as another:  # the first process has died
                await asyncio.sleep(LEASE.total_seconds() + 1)
                session = await another.begin()
                await store_megabytes(session, 60, 110)

    run(main)

    (record,) = messages.records
    fields = vars(record)
    assert (fields["quota"], fields["limit"]) == ("stored_bytes", SERVICE_MAX_STORED_BYTES)
    assert "has more than 100 MiB stored: AWS" in record.message
