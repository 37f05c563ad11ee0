"""Which of the service model's patterns our replies match, by the region that arns name.

boto3 checks no pattern, so that a reply does not match shows nowhere else. `check_reply` holds
every reply that other tests get to the patterns; here it is written down which there are.
"""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from durably import Engine
from durably.engine.views import Standing
from durably.server.listening import bound_socket, listening, port_of
from tests.app.functions import ASKED, GATES, Gate, reach
from tests.server.served import boto_client, engine_app, leaves_of, matches

SERVICE_FORM = "us-east-1"
DEFAULT = "local"

MATCHED = {
    "CallbackId",
    "CheckpointToken",
    "DurableExecutionArn",
    "DurableExecutionName",
    "Handler",
    "NamespacedFunctionName",
    "OperationId",
    "OperationName",
    "OperationSubType",
    "Version",
    "VersionWithLatestPublished",
}
"""The shapes with a pattern that our replies have, and match whatever the region is called."""

WITH_A_REGION = {"NameSpacedFunctionArn"}
"""The one exception: it asks for a region of AWS's form, which `local` does not have."""


async def replies(region: str) -> list[tuple[str, dict[str, Any]]]:
    """Call the operations that give more than an acknowledgement, and give what they reply."""
    async with engine_app(region=region, max_concurrency=1) as (engine, app):
        bound = bound_socket()
        async with listening(app, [bound]):
            client = boto_client(f"http://127.0.0.1:{port_of(bound)}")
            try:
                arn = await _asking(engine, region)
                found = await asyncio.to_thread(_look, client, arn)
                arn, token = await _begun(engine, region)
                return [*found, *await asyncio.to_thread(_checkpoint, client, arn, token)]
            finally:
                client.close()


async def _asking(engine: Engine, key: str) -> str:
    """Give the arn of an execution that waits for a callback."""
    asked = ASKED[key] = asyncio.get_running_loop().create_future()
    arn = (await engine.start("ask", key, name="an-execution")).arn
    await asked
    await reach(engine, arn, Standing.WAITING)
    return arn


def _look(client: Any, arn: str) -> list[tuple[str, dict[str, Any]]]:
    by_arn = {"DurableExecutionArn": arn}
    by_name = {"FunctionName": "ask"}
    return [
        ("GetDurableExecution", client.get_durable_execution(**by_arn)),
        ("GetDurableExecutionHistory", client.get_durable_execution_history(**by_arn)),
        ("ListDurableExecutionsByFunction", client.list_durable_executions_by_function(**by_name)),
        ("ListFunctions", client.list_functions()),
        ("GetFunction", client.get_function(**by_name)),
        ("GetFunctionConfiguration", client.get_function_configuration(**by_name)),
        ("Invoke", client.invoke(FunctionName="echo", Payload=b"1")),
    ]


async def _begun(engine: Engine, key: str) -> tuple[str, str]:
    """Begin an invocation as a worker elsewhere does; give its execution and its token."""
    gate = GATES[key] = Gate()
    await engine.start("gated", key)
    await gate.reached.wait()  # the engine's one worker is busy from now on
    service = engine.service
    arn = await service.start("echo", "1")
    lease = timedelta(seconds=60)
    (claim,) = await service.store.claim("elsewhere", ["echo"], service.clock.now(), lease, 1)
    session = await service.begin(claim)
    assert session is not None
    return arn, session.token


def _checkpoint(client: Any, arn: str, token: str) -> list[tuple[str, dict[str, Any]]]:
    options = {"FunctionName": "echo"}
    update = {"Id": "c", "Type": "CHAINED_INVOKE", "SubType": "ChainedInvoke", "Action": "START"}
    reply = client.checkpoint_durable_execution(
        DurableExecutionArn=arn,
        CheckpointToken=token,
        Updates=[{**update, "Name": "call", "ChainedInvokeOptions": options}],
    )
    history = client.get_durable_execution_history(DurableExecutionArn=arn)
    return [("CheckpointDurableExecution", reply), ("GetDurableExecutionHistory", history)]


async def patterns(region: str) -> tuple[set[str], set[str]]:
    """Give the shapes with a pattern in all replies: those matched always, and the others."""
    found: dict[str, bool] = {}
    for operation, reply in await replies(region):
        for shape, value, _ in leaves_of(operation, reply):
            if "pattern" in shape.metadata:
                found[shape.name] = found.get(shape.name, True) and matches(shape, value)
    return {name for name in found if found[name]}, {name for name in found if not found[name]}


@pytest.mark.parametrize(
    ("region", "exceptions"), [(SERVICE_FORM, set()), (DEFAULT, WITH_A_REGION)]
)
async def test_replies_match_the_patterns_of_the_model(region: str, exceptions: set[str]) -> None:
    matched, others = await patterns(region)

    assert others == exceptions
    assert matched | others == MATCHED | WITH_A_REGION
