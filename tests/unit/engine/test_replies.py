"""What a reply holds: everything that its checkpoint touched, with the end of what has ended.

`ctx.now()` rests on it: the end of an operation that has been awaited must be known on its first
run, as it is on every replay.
"""

from __future__ import annotations

import asyncio

import pytest

from durably.clients.embedded import EmbeddedClient
from durably.clients.in_memory import ARN, InMemoryClient
from durably.wire.operation import Operation
from durably.wire.update import OperationAction, OperationUpdate
from tests.unit.engine.shell import Bench, run, send
from tests.unit.engine.support import ERROR, callback, context, request, retry, step, wait

SUCCEED, FAIL = OperationAction.SUCCEED, OperationAction.FAIL
TOGETHER = (
    step("s"),
    step("s", SUCCEED, payload="1"),
    step("t"),
    retry("t", error=ERROR),
    context("c"),
    step("in", parent_id="c"),
    step("in", FAIL, error=ERROR, parent_id="c"),
    context("c", FAIL, error=ERROR),
    context("r"),
    context("r", SUCCEED, replay_children=True),
    wait("w"),
    callback("cb"),
)
LATER = (step("u"), step("u", FAIL, error=ERROR))


def check(operations: tuple[Operation, ...], updates: tuple[OperationUpdate, ...]) -> None:
    told = {one.id: one for one in operations}
    for update in updates:
        assert told[update.id].start_timestamp is not None
        if told[update.id].is_terminal:
            assert told[update.id].end_timestamp is not None


def test_the_client_in_memory_tells_of_everything() -> None:
    client = InMemoryClient()

    for updates in (TOGETHER, LATER):
        reply = client.checkpoint(request(ARN, "", *updates))
        check(reply.new_execution_state.operations, updates)


def test_a_service_in_this_process_tells_of_everything_unless_it_was_pushed() -> None:
    async def main() -> None:
        async with Bench() as bench:
            _, session = await bench.running()
            client = EmbeddedClient(session)

            check(await send(client, *TOGETHER), TOGETHER)
            both = [
                asyncio.ensure_future(send(client, step("a"), step("a", SUCCEED, payload="1"))),
                asyncio.ensure_future(send(client, *LATER)),
            ]
            first, second = await asyncio.gather(*both)
            check(first, (step("a"),))
            check(second, LATER)

    run(main)


@pytest.mark.parametrize("updates", [TOGETHER, TOGETHER + LATER])
def test_a_service_elsewhere_tells_of_everything(updates: tuple[OperationUpdate, ...]) -> None:
    async def main() -> None:
        async with Bench() as bench:
            arn, session = await bench.running()

            reply = await bench.service.checkpoint(request(arn, session.token, *updates))

            assert reply.new_execution_state.next_marker is None
            check(reply.new_execution_state.operations, updates)

    run(main)
