"""The way of a function to AWS Lambda: real boto3, over HTTP, to our own service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from durably.app.assembly import Assembly
from durably.app.settings import EngineSettings
from durably.clients.aws_lambda import AwsDurableExecutionClient
from durably.engine.arns import Home
from durably.errors import (
    CheckpointUnrecoverableExecutionError,
    CheckpointUnrecoverableInvocationError,
    classify_checkpoint_error,
)
from durably.server.app import make_app
from durably.server.attached import Attached, FunctionSettings
from durably.server.listening import bound_socket, listening, port_of
from durably.stores.memory import MemoryStore
from durably.wire.api import CheckpointRequest, GetExecutionStateRequest
from durably.wire.operation import OperationStatus
from durably.wire.update import OperationAction
from tests.server.served import boto_client
from tests.server.support import runtimes
from tests.unit.engine.support import closing, request, step, wait


@asynccontextmanager
async def function_at_work() -> AsyncIterator[tuple[AwsDurableExecutionClient, str, str]]:
    """Give the client of a function that has just been invoked, its execution and its token."""
    async with runtimes(FunctionSettings(name="f")) as [(runtime, client)]:
        settings = EngineSettings(store_url="memory:")
        attached = Attached({}, [runtime], Home(settings.region, settings.account))
        assembly = Assembly(MemoryStore(), {}, settings, elsewhere=attached.elsewhere)
        await assembly.open()
        bound = bound_socket()
        async with listening(make_app(assembly, functions=attached), [bound]):
            arn = await assembly.service.start("f", "1")
            token = (await client.next()).json()["CheckpointToken"]
            address = f"http://127.0.0.1:{port_of(bound)}"
            yield AwsDurableExecutionClient(boto_client(address)), arn, token
        await assembly.close(timedelta(0))


async def test_checkpoints_go_through_and_tell_what_has_changed() -> None:
    async with function_at_work() as (client, arn, token):
        first = await asyncio.to_thread(client.checkpoint, request(arn, token, wait("w", 60)))
        assert first.checkpoint_token is not None
        [one] = first.new_execution_state.operations
        assert one.wait_details is not None
        assert one.wait_details.scheduled_end_timestamp is not None

        last = request(arn, first.checkpoint_token, closing(OperationAction.SUCCEED, payload="1"))
        closed = await asyncio.to_thread(client.checkpoint, last)

        assert closed.checkpoint_token is None


async def test_a_large_state_is_read_page_by_page() -> None:
    async with function_at_work() as (client, arn, first_token):
        token = first_token
        ids = [f"s{place}" for place in range(60)]
        for start in (0, 20, 40):
            updates = [
                step(one, OperationAction.SUCCEED, payload="x" * 100_000)
                for one in ids[start : start + 20]
            ]
            reply = await asyncio.to_thread(client.checkpoint, request(arn, token, *updates))
            assert reply.checkpoint_token is not None
            token = reply.checkpoint_token

        found, marker, pages = [], None, 0
        while pages == 0 or marker:
            asked = GetExecutionStateRequest(
                durable_execution_arn=arn, checkpoint_token=token, marker=marker
            )
            page = await asyncio.to_thread(client.get_execution_state, asked)
            found += [one.id for one in page.operations if one.status is OperationStatus.SUCCEEDED]
            marker, pages = page.next_marker, pages + 1

        assert found == ids
        assert pages > 1


async def test_a_lost_token_has_the_invocation_made_again() -> None:
    async with function_at_work() as (client, arn, token):
        await asyncio.to_thread(client.checkpoint, request(arn, token))

        with pytest.raises(ClientError) as refusal:
            await asyncio.to_thread(client.checkpoint, request(arn, token))

        error = classify_checkpoint_error(refusal.value)
        assert isinstance(error, CheckpointUnrecoverableInvocationError)


async def test_an_illegal_update_ends_the_execution() -> None:
    async with function_at_work() as (client, arn, token):
        illegal = request(arn, token, wait("w", 60), wait("w", 60))

        with pytest.raises(ClientError) as refusal:
            await asyncio.to_thread(client.checkpoint, illegal)

        error = classify_checkpoint_error(refusal.value)
        assert isinstance(error, CheckpointUnrecoverableExecutionError)


async def test_a_service_that_is_not_there_has_the_invocation_made_again() -> None:
    with bound_socket() as nobody:
        client = AwsDurableExecutionClient(boto_client(f"http://127.0.0.1:{port_of(nobody)}"))
        asked = CheckpointRequest(durable_execution_arn="arn:aws:x", checkpoint_token="t")

        with pytest.raises(EndpointConnectionError) as failure:
            await asyncio.to_thread(client.checkpoint, asked)

    error = classify_checkpoint_error(failure.value)
    assert isinstance(error, CheckpointUnrecoverableInvocationError)
