"""Commands of other processes, over the socket beside the database."""

import asyncio
import os
import socket
import stat
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from durably import (
    CallbackTimeoutException,
    DurableError,
    DurableExecutionAlreadyStartedException,
    Engine,
    ExecutionStoppedError,
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceException,
    StoreFullError,
    StoreUnavailableError,
    ValidationError,
)
from durably.clients.control import ControlClient, NobodyListens
from durably.engine.control import (
    CallbackFailRequest,
    CallbackHeartbeatRequest,
    CallbackSucceedRequest,
    DeleteRequest,
    PauseRequest,
    Refusal,
    Request,
    ResumeRequest,
    RotateKeyRequest,
    StartRequest,
    StopRequest,
    decode_reply,
    error_of,
    refusal_of,
    short_address,
    socket_path,
)
from durably.wire.execution import ExecutionStatus
from durably.wire.operation import ErrorObject
from tests.app.functions import ALL, ASKED


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "durably.db"


@pytest.fixture
async def engine(database: Path) -> AsyncIterator[Engine]:
    async with Engine(f"sqlite:{database}", ALL, grace=0) as engine:
        yield engine


async def told(database: Path, request: Request) -> str | None:
    return await asyncio.to_thread(ControlClient(database).ask, request)


# What can be asked


async def test_an_execution_is_started_once(engine: Engine, database: Path) -> None:
    arn = await told(database, StartRequest("echo", '{"a":1}', "order-7"))
    again = await told(database, StartRequest("echo", '{"a":1}', "order-7"))

    assert arn == again
    assert await (await engine.get("order-7")).result() == {"a": 1}


async def test_an_execution_is_stopped_and_deleted(engine: Engine, database: Path) -> None:
    run = await engine.start("long_sleep", "x", name="bear")

    at = await told(database, StopRequest(run.arn, ErrorObject(error_message="spring")))

    assert at is not None
    assert datetime.fromisoformat(at) == (await engine.describe(run)).ended_at
    with pytest.raises(ExecutionStoppedError, match="spring"):
        await run.result()
    assert await told(database, DeleteRequest(run.arn)) is not None
    assert (await engine.list()).executions == ()


async def test_an_execution_is_paused_and_resumed(engine: Engine, database: Path) -> None:
    run = await engine.start("long_sleep", "x")

    await told(database, PauseRequest(run.arn, "holidays"))
    paused = await engine.describe(run)
    await told(database, ResumeRequest(run.arn))

    assert paused.status in (ExecutionStatus.PAUSING, ExecutionStatus.PAUSED)
    assert paused.pause is not None
    assert paused.pause.reason == "holidays"
    assert await run.status() is ExecutionStatus.RUNNING


async def test_callbacks_are_answered(engine: Engine, database: Path) -> None:
    asked = ASKED["well"] = asyncio.get_running_loop().create_future()
    refused = ASKED["badly"] = asyncio.get_running_loop().create_future()
    well, badly = await engine.start("ask", "well"), await engine.start("ask", "badly")

    await told(database, CallbackHeartbeatRequest(await asked))
    await told(database, RotateKeyRequest())
    await told(database, CallbackSucceedRequest(await asked, '"yes"'))
    await told(database, CallbackFailRequest(await refused, ErrorObject(error_message="no")))

    assert await well.result() == "yes"
    with pytest.raises(DurableError, match="no"):
        await badly.result()
    with pytest.raises(CallbackTimeoutException):
        await told(database, CallbackSucceedRequest(await asked, "1"))
    await told(database, RotateKeyRequest())
    with pytest.raises(ResourceNotFoundException):
        await told(database, CallbackSucceedRequest(await asked, "1"))


# Errors


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (StartRequest("refund", "{}"), ResourceNotFoundException),
        (StartRequest("echo", "{}", "not a name"), InvalidParameterValueException),
        (StartRequest("echo", "2", "taken"), DurableExecutionAlreadyStartedException),
        (StopRequest("arn:nonsense"), ResourceNotFoundException),
        (CallbackHeartbeatRequest("0" * 64), ResourceNotFoundException),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_refusal_is_the_same_error_on_both_sides(
    engine: Engine, database: Path, request_: Request, kind: type[DurableError]
) -> None:
    await engine.start("echo", 1, name="taken")

    with pytest.raises(kind) as refused:
        await told(database, request_)

    assert refused.type is kind


@pytest.mark.parametrize(
    "error",
    [
        ValidationError("name", "must be text"),
        ResourceConflictException("It is not closed."),
        StoreFullError("durably.db: no room"),
        StoreUnavailableError("durably.db: gone. Really."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_the_socket(error: DurableError) -> None:
    assert error_of(refusal_of(error)) == error


def test_an_error_of_a_class_that_is_not_known_is_the_service_s() -> None:
    assert error_of(Refusal("StrangeError", "why not")) == ServiceException("why not")


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b"[]",
        b'{"command":"format"}',
        b'{"command":"stop","arn":7}',
        b"\xff",
        b" ",
        b"GET /2015-03-31/functions HTTP/1.1",
    ],
)
async def test_nonsense_is_refused_and_the_conversation_goes_on(
    engine: Engine, database: Path, line: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(socket_path(database)))
    writer.write(line + b"\n" + b'{"command":"start","function_name":"echo"}\n')

    refused = decode_reply(await reader.readline())
    answered = decode_reply(await reader.readline())
    writer.close()

    assert refused.refusal is not None
    assert refused.refusal.error == "ValidationError"
    assert answered.answer is not None


async def test_a_defect_is_told_as_such_and_logged(
    engine: Engine, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = await engine.start("long_sleep", "x")
    assert engine._assembly is not None
    engine._assembly.service.stop = None  # type: ignore[assignment,method-assign]

    with pytest.raises(ServiceException, match="TypeError"):
        await told(database, StopRequest(run.arn))

    assert "a command broke" in caplog.text


# The socket


async def test_the_socket_is_for_its_owner_alone_and_goes_with_the_engine(database: Path) -> None:
    mask = os.umask(0)
    try:
        async with Engine(f"sqlite:{database}", ALL):
            mode = stat.S_IMODE(socket_path(database).stat().st_mode)
    finally:
        os.umask(mask)

    assert mode == 0o600
    assert not socket_path(database).exists()
    with pytest.raises(NobodyListens):
        await told(database, StartRequest("echo"))


async def test_what_a_dead_process_left_is_in_nobody_s_way(database: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path(database)))
    assert not ControlClient(database).is_answered()

    async with Engine(f"sqlite:{database}", ALL):
        assert ControlClient(database).is_answered()
        assert await told(database, StartRequest("echo")) is not None


async def test_a_path_too_long_for_an_address_will_do(tmp_path: Path) -> None:
    folder = tmp_path / ("long " * 20) / ("longer " * 10)
    folder.mkdir(parents=True)
    database = folder / f"{'o' * 50}.db"

    async with Engine(f"sqlite:{database}", ALL) as engine:
        assert socket_path(database).parent == folder
        assert await told(database, StartRequest("echo", name="far")) is not None
        assert await (await engine.get("far")).result() == {}

    assert [path.name for path in folder.iterdir() if path.suffix == ".sock"] == []


def test_a_short_path_is_its_own_address(database: Path) -> None:
    with short_address(Path("durably.db.sock")) as address:
        assert address == "durably.db.sock"


async def test_where_no_socket_can_be_the_engine_works_without(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (socket_path(database) / "taken").mkdir(parents=True)

    async with Engine(f"sqlite:{database}", ALL) as engine:
        assert await (await engine.start("echo", 1)).result() == 1
        with pytest.raises(NobodyListens):
            await told(database, StartRequest("echo"))

    assert "other processes cannot give commands" in caplog.text


async def test_a_caller_that_says_nothing_does_not_keep_the_engine_open(database: Path) -> None:
    async with Engine(f"sqlite:{database}", ALL):
        _, silent = await asyncio.open_unix_connection(str(socket_path(database)))
        _, gone = await asyncio.open_unix_connection(str(socket_path(database)))
        gone.transport.abort()
        await told(database, StartRequest("echo"))
    silent.close()


def test_an_owner_that_dies_before_it_answers_leaves_the_question_open(database: Path) -> None:
    with socket.socket(socket.AF_UNIX) as owner:
        owner.bind(str(socket_path(database)))
        owner.listen()

        def die() -> None:
            connection, _ = owner.accept()
            connection.recv(1)
            connection.close()

        thread = threading.Thread(target=die)
        thread.start()
        with pytest.raises(StoreUnavailableError, match="whether it was done, or will be, is open"):
            ControlClient(database).ask(StartRequest("echo"))
        thread.join()


def test_an_owner_that_does_not_answer_is_not_waited_for_for_ever(database: Path) -> None:
    with socket.socket(socket.AF_UNIX) as owner:
        owner.bind(str(socket_path(database)))
        owner.listen()  # the system takes the connection and the request; nobody reads them

        with pytest.raises(StoreUnavailableError, match=r"has not answered .* or will be, is"):
            ControlClient(database, patience_seconds=0.05).ask(StartRequest("echo"))
