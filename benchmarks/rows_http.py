"""What the way over HTTP costs: checkpoints, callbacks, and the start of a function elsewhere."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter
from urllib.parse import quote

from benchmarks.databases import folder
from benchmarks.measure import MICRO, MILLI, Options, Peer, in_turns, progress
from benchmarks.report import Beside, Line
from benchmarks.servers import (
    HOST,
    NAME,
    PENDING,
    SUCCEEDED,
    Client,
    Function,
    Server,
    Steps,
    official_server,
    our_server,
)
from durably.clients.embedded import EmbeddedClient
from durably.clock import SystemClock
from durably.engine.arns import LATEST
from durably.engine.commands import Target
from durably.engine.service import Service
from durably.seams import RandomIds
from durably.stores.memory import MemoryStore
from durably.wire.api import CheckpointRequest
from durably.wire.operation import OperationType
from durably.wire.update import OperationAction, OperationUpdate

_MANY = 16
_MANY_OF_RUNNER = 4  # it has not enough threads to invoke as many functions at once
_RUNNER = "local runner"

_COLD = """
import sys
from durably import durable_execution, DurableContext
from durably.clients.aws_lambda import AwsDurableExecutionClient
from durably.wire.api import CheckpointRequest
arn, token = sys.argv[1:]
client = AwsDurableExecutionClient.default()
client.checkpoint(CheckpointRequest(durable_execution_arn=arn, checkpoint_token=token))
"""
_OFFICIAL_COLD = """
import sys
from aws_durable_execution_sdk_python import durable_execution, DurableContext
from aws_durable_execution_sdk_python.lambda_service import LambdaClient
arn, token = sys.argv[1:]
client = LambdaClient.initialize_client()
client.checkpoint(arn, token, [], None)
"""
_BOTOCORE = """
import sys
import botocore.session
arn, token = sys.argv[1:]
client = botocore.session.get_session().create_client("lambda")
client.checkpoint_durable_execution(DurableExecutionArn=arn, CheckpointToken=token, Updates=[])
"""

_numbers = count()


@contextmanager
def _both(options: Options, database: Path | None) -> Generator[tuple[Server, Server | None]]:
    """Run our server and the official one, each with a function of its own, in this process."""
    with ExitStack() as stack:
        servers: list[Server | None] = []
        for run, suffix in ((our_server, ""), (official_server, ".peer")):
            is_peer = bool(suffix)
            if is_peer and not options.has_peers:
                servers.append(None)
                continue
            function = stack.enter_context(Function().served())
            path = None if database is None else Path(f"{database}{suffix}")
            servers.append(stack.enter_context(run(function, path)))
        ours, peer = servers
        assert ours is not None, "it is always run"
        yield ours, peer


def checkpoints(options: Options) -> list[Line]:
    """Checkpoints over HTTP: of one client, of many, and beside the client in the process."""
    lines = []
    for kind in ("memory", "SQLite"):
        with folder() as inside:
            database = None if kind == "memory" else inside / "http.db"
            with _both(options, database) as (ours, peer):
                lines += [_rate(options, kind, clients, ours, peer) for clients in (1, _MANY)]
                if kind == "memory":
                    lines.append(_overhead(options, ours, peer))
    return lines


def _rate(options: Options, kind: str, clients: int, ours: Server, peer: Server | None) -> Line:
    each = options.pick(300, 60) if clients == 1 else options.pick(100, 20)
    progress(f"checkpoints over HTTP, {kind}, {clients} at once")
    peers = []
    if peer is not None:
        few = min(clients, _MANY_OF_RUNNER)
        name = _RUNNER if few == clients else f"{_RUNNER}, {few} clients"
        peers = [Peer(name, lambda: _a_second(peer, few, each))]
    found = in_turns({"ours": lambda: _a_second(ours, clients, each)}, options.pick(5, 2), peers)
    note = "HTTP: one update a checkpoint, by a client that is not an SDK, from another process."
    return Line(
        what=f"checkpoints over HTTP, {kind}, {clients} client{'s' * (clients > 1)}",
        value=found["ours"],
        unit="/s",
        is_at_least=True,
        peers=tuple(one.beside() for one in peers),
        note=note,
    )


def _a_second(server: Server, clients: int, each: int) -> float:
    """Give how many checkpoints are made in a second by *clients* at once, *each* so many."""
    calls = [server.start(f"e{next(_numbers)}") for _ in range(clients)]
    connections = [Client(server.port) for _ in calls]
    chains = [Steps(client, call) for client, call in zip(connections, calls, strict=True)]
    try:
        with ThreadPoolExecutor(clients) as threads:
            list(threads.map(lambda chain: chain.make(1), chains))
            began = perf_counter()
            list(threads.map(lambda chain: chain.make(each), chains))
            return clients * each / (perf_counter() - began)
    finally:
        for client, call in zip(connections, calls, strict=True):
            client.close()
            call.answer(SUCCEEDED)


def _overhead(options: Options, ours: Server, peer: Server | None) -> Line:
    """Compare one checkpoint over HTTP with one of the client in the engine's own process."""
    each = options.pick(300, 60)
    progress("checkpoints of the embedded client")
    works: dict[str, Callable[[], float]] = {
        "http": lambda: 1 / _a_second(ours, 1, each),
        "embedded": lambda: asyncio.run(_embedded_seconds(each)),
        "refused": lambda: _refused_seconds(ours, each),
    }
    peers = [] if peer is None else [Peer(_RUNNER, lambda: 1 / _a_second(peer, 1, each))]
    found = in_turns(works, options.pick(5, 2), peers)
    return Line(
        what="a checkpoint over HTTP, memory",
        value=found["http"] * MICRO,
        unit="µs",
        floors=(
            Beside(name="embedded client", value=found["embedded"] * MICRO),
            Beside(name="a request for nothing", value=found["refused"] * MICRO),
        ),
        peers=tuple(one.beside(MICRO) for one in peers),
    )


async def _embedded_seconds(each: int) -> float:
    clock = SystemClock()
    service = Service(MemoryStore(), clock, RandomIds(), lambda name: Target(name, LATEST))
    await service.open()
    arn = await service.start(NAME, "1")
    [claim] = await service.store.claim("here", [NAME], clock.now(), timedelta(hours=1), 1)
    session = await service.begin(claim)
    assert session is not None, "it has just been claimed"
    client = EmbeddedClient(session)
    began = perf_counter()
    for number in range(each):
        update = OperationUpdate(
            id=f"{number:016x}",
            type=OperationType.STEP,
            sub_type="Step",
            action=OperationAction.SUCCEED,
            name="add",
            payload=str(number),
        )
        request = CheckpointRequest(
            durable_execution_arn=arn, checkpoint_token=session.token, updates=(update,)
        )
        await client.checkpoint(request)
    taken = (perf_counter() - began) / each
    await service.close()
    return taken


def _refused_seconds(server: Server, each: int) -> float:
    """Give the seconds for one request that our server has next to nothing to do for."""
    client = Client(server.port)
    began = perf_counter()
    for _ in range(each):
        client.post("/2015-03-31/functions/bench/invocations", 1, **_DRY)
    taken = (perf_counter() - began) / each
    client.close()
    return taken


_DRY = {"X-Amz-Invocation-Type": "DryRun"}


def callbacks(options: Options) -> list[Line]:
    """How long it takes from an answer over HTTP until the function elsewhere is invoked again."""
    times = options.pick(100, 15)
    progress(f"{times} callbacks over HTTP")
    with folder() as inside, _both(options, inside / "callbacks.db") as (ours, peer):
        few = max(times // 10, 5)
        peers = [] if peer is None else [Peer(_RUNNER, lambda: _callback_seconds(peer, few))]
        value = _callback_seconds(ours, times)
        for one in peers:
            one.run()
    return [
        Line(
            what="callback sent over HTTP until the function is invoked again, SQLite, p50",
            value=value * MILLI,
            unit="ms",
            peers=tuple(one.beside(MILLI) for one in peers),
        )
    ]


def _callback_seconds(server: Server, times: int) -> float:
    client = Client(server.port)
    taken = []
    for _ in range(times):
        call = server.start(f"c{next(_numbers)}")
        update = {"Id": "c", "Type": "CALLBACK", "SubType": "Callback", "Action": "START"}
        changed = Steps(client, call).send({**update, "Name": "answer"})
        [callback_id] = [
            one["CallbackDetails"]["CallbackId"] for one in changed if "CallbackDetails" in one
        ]
        call.answer(PENDING)
        _settle(client, call.arn)
        path = f"/2025-12-01/durable-execution-callbacks/{quote(callback_id, safe='')}/succeed"
        began = perf_counter()
        client.post(path, b'"yes"')
        again = server.function.next()
        taken.append(again.came_at - began)
        again.answer(SUCCEEDED)
    client.close()
    return median(taken)


def _settle(client: Client, arn: str) -> None:
    """Wait until the end of an invocation is in the history."""
    path = f"/2025-12-01/durable-executions/{quote(arn, safe='')}/history"
    while not any(
        event["EventType"] == "InvocationCompleted" for event in client.get(path)["Events"]
    ):
        pass


def cold_start(options: Options) -> list[Line]:
    """A fresh interpreter until its first checkpoint is answered."""
    progress("cold starts until the first checkpoint, in fresh interpreters")
    with ExitStack() as stack:
        function = stack.enter_context(Function().served())
        server = stack.enter_context(our_server(function, None))
        works = {
            "bare": lambda: _cold_seconds(server, "pass"),
            "ours": lambda: _cold_seconds(server, _COLD),
            "botocore": lambda: _cold_seconds(server, _BOTOCORE),
        }
        for work in works.values():
            work()  # so that every .pyc is there
        peers = []
        if options.has_peers:
            peers = [Peer("", lambda: _cold_seconds(server, _OFFICIAL_COLD))]
        found = in_turns(works, options.pick(9, 3), peers)
    return [
        Line(
            what="cold start: import, a client, a first checkpoint over HTTP",
            value=(found["ours"] - found["bare"]) * MILLI,
            unit="ms",
            floors=(
                Beside(
                    name="the same by botocore alone",
                    value=(found["botocore"] - found["bare"]) * MILLI,
                ),
            ),
            peers=tuple(one.beside(MILLI, less=found["bare"]) for one in peers),
            note="All cold starts checkpoint with our server: what differs is the SDK.",
        )
    ]


def _cold_seconds(server: Server, program: str) -> float:
    """Time a program that is given an execution and a token."""
    call = server.start(f"s{next(_numbers)}")
    known = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_ENDPOINT_URL_LAMBDA": f"http://{HOST}:{server.port}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    began = perf_counter()
    subprocess.run(  # noqa: S603 - a program of ours
        [sys.executable, "-c", program, call.arn, call.token],
        env={**os.environ, **known},
        check=True,
        timeout=60,
    )
    taken = perf_counter() - began
    call.answer(SUCCEEDED)
    return taken
