"""Commands of other processes to the one that holds the store, over a socket beside it.

A request is one line of JSON, and so is its reply; a connection may carry many, one after the
other. Whoever may open the database file may give them: the socket has its owner's mode 0600.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import socket
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias
from weakref import WeakSet

import msgspec

from durably.engine.service import Service
from durably.errors import (
    ApiError,
    CallbackTimeoutException,
    DurableError,
    DurableExecutionAlreadyStartedException,
    InvalidParameterValueException,
    InvalidStateError,
    ResourceConflictException,
    ResourceNotFoundException,
    ServiceException,
    StoreCorruptedError,
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreReadOnlyError,
    StoreReplacedError,
    StoreTooNewError,
    StoreUnavailableError,
    TooManyRequestsException,
    ValidationError,
)
from durably.wire.operation import ErrorObject

log = logging.getLogger("durably.engine")

MAX_LINE_BYTES = 64 * 1024 * 1024
"""The longest request: the largest payload, every byte of it escaped."""

_MAX_ADDRESS_BYTES = 100  # Linux takes 107, macOS 103


class Request(msgspec.Struct, frozen=True, tag_field="command"):
    """Something to be done. The reply says when it is durable."""


class StartRequest(Request, frozen=True, tag="start"):
    """Start an execution. The answer is its arn."""

    function_name: str
    input_payload: str | None = None
    name: str | None = None


class StopRequest(Request, frozen=True, tag="stop"):
    """End an execution. The answer is when it ended."""

    arn: str
    error: ErrorObject | None = None


class PauseRequest(Request, frozen=True, tag="pause"):
    """Let no invocation of an execution run."""

    arn: str
    reason: str | None = None


class ResumeRequest(Request, frozen=True, tag="resume"):
    """Let invocations run again."""

    arn: str
    reason: str | None = None


class DeleteRequest(Request, frozen=True, tag="delete"):
    """Remove a closed execution. The answer is when."""

    arn: str


class CallbackSucceedRequest(Request, frozen=True, tag="callback succeed"):
    """Answer a callback."""

    callback_id: str
    result: str | None = None


class CallbackFailRequest(Request, frozen=True, tag="callback fail"):
    """Report a failure to a callback."""

    callback_id: str
    error: ErrorObject


class CallbackHeartbeatRequest(Request, frozen=True, tag="callback heartbeat"):
    """Say that the outside system is alive."""

    callback_id: str


class RotateKeyRequest(Request, frozen=True, tag="rotate key"):
    """Make callback ids and tokens with a new key."""


class FunctionsRequest(Request, frozen=True, tag="functions"):
    """Name the functions of the process that holds the store. The answer is a list in JSON."""


AnyRequest: TypeAlias = (
    StartRequest
    | StopRequest
    | PauseRequest
    | ResumeRequest
    | DeleteRequest
    | CallbackSucceedRequest
    | CallbackFailRequest
    | CallbackHeartbeatRequest
    | RotateKeyRequest
)


class Refusal(msgspec.Struct, frozen=True):
    """An error, as it crosses the socket: its class, its text, and what it is about."""

    error: str
    message: str
    field: str = ""


class Reply(msgspec.Struct, frozen=True):
    """What came of a request."""

    answer: str | None = None
    refusal: Refusal | None = None


encode_line: Callable[[Request | Reply], bytes] = msgspec.json.Encoder().encode
decode_request: Callable[[bytes], AnyRequest | FunctionsRequest] = msgspec.json.Decoder(
    AnyRequest | FunctionsRequest
).decode
decode_reply: Callable[[bytes], Reply] = msgspec.json.Decoder(Reply).decode


async def carry_out(service: Service, request: AnyRequest) -> str | None:
    """Do what *request* asks of *service*, and give the answer.

    Raises:
        ApiError: it was refused. Nothing was recorded.
        StoreError: it could not be written.
    """
    match request:
        case StartRequest(function_name, payload, name):
            return await service.start(function_name, payload, name=name)
        case StopRequest(arn, error):
            return (await service.stop(arn, error)).isoformat()
        case PauseRequest(arn, reason):
            await service.pause(arn, reason=reason)
        case ResumeRequest(arn, reason):
            await service.resume(arn, reason=reason)
        case DeleteRequest(arn):
            return (await service.delete(arn)).isoformat()
        case RotateKeyRequest():
            await service.rotate_key()
        case _:
            await _tell_callback(service, request)
    return None


async def _tell_callback(
    service: Service,
    request: CallbackSucceedRequest | CallbackFailRequest | CallbackHeartbeatRequest,
) -> None:
    match request:
        case CallbackSucceedRequest(callback_id, result):
            await service.succeed_callback(callback_id, result)
        case CallbackFailRequest(callback_id, error):
            await service.fail_callback(callback_id, error)
        case CallbackHeartbeatRequest(callback_id):
            await service.heartbeat_callback(callback_id)


class ControlSocket:
    """Carries out requests of other processes, while this one holds the store.

    Args:
        service: what they are about.
        database: the file beside which the socket lies.
        check_start: refuses the name of no function, and what a function cannot be started with.
        functions: names those that this process has.
    """

    def __init__(
        self,
        service: Service,
        database: Path,
        check_start: Callable[[str, str | None], None] = lambda _name, _payload: None,
        functions: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._service = service
        self._check_start = check_start
        self._functions = functions
        self.database = database
        self._path = socket_path(database)
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._idle: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None]] = set()
        self._is_closing = False

    async def open(self) -> None:
        """Listen. Where the file system has no sockets this is logged, and nobody can call."""
        try:
            listening = self._bind()
        except OSError as error:
            said = "other processes cannot give commands to this one: %s: %s"
            log.warning(said, self._path, error)
            return
        self._server = await asyncio.start_unix_server(
            self._converse, sock=listening, limit=MAX_LINE_BYTES
        )

    def _bind(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Whoever holds the store's lock is the only one: what lies there is of a dead process.
            self._path.unlink(missing_ok=True)
            with short_address(self._path) as address:
                listening.bind(address)
            # Nobody can connect before it listens, so nobody can connect before this.
            self._path.chmod(0o600)
            self._inode = self._path.stat().st_ino
            _listening.add(listening)
            listening.setblocking(False)  # noqa: FBT003 - the standard library's signature
        except BaseException:
            listening.close()
            raise
        return listening

    async def close(self) -> None:
        """Answer what was asked, and listen no more."""
        if self._server is None:
            return
        self._server.close()
        with suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:  # or it is that of whoever came after
                self._path.unlink()
        self._is_closing = True
        for task in self._idle:
            task.cancel()
        await asyncio.gather(*self._idle, *self._busy, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "asyncio.streams makes a task of every conversation"
        try:
            while line := await self._next_line(reader, task):
                self._busy.add(task)
                writer.write(encode_line(await self._reply(line)) + b"\n")
                await writer.drain()
                self._busy.discard(task)
                if self._is_closing:
                    break
        except (ConnectionError, ValueError) as error:  # it went away, or its line has no end
            log.info("a caller was cut off", extra={"error": str(error)})
        except asyncio.CancelledError:
            pass  # closed while it had nothing to ask; whoever cancels it waits for it
        finally:
            self._busy.discard(task)
            writer.close()

    async def _next_line(self, reader: asyncio.StreamReader, task: asyncio.Task[None]) -> bytes:
        self._idle.add(task)
        try:
            return await reader.readline()
        finally:
            self._idle.discard(task)

    async def _reply(self, line: bytes) -> Reply:
        try:
            request = decode_request(line)
            if isinstance(request, FunctionsRequest):
                return Reply(answer=msgspec.json.encode(self._functions()).decode())
            if isinstance(request, StartRequest):
                self._check_start(request.function_name, request.input_payload)
            return Reply(answer=await carry_out(self._service, request))
        except msgspec.DecodeError as error:
            return Reply(refusal=refusal_of(ValidationError("request", str(error))))
        except DurableError as error:
            return Reply(refusal=refusal_of(error))
        except Exception as error:  # the last line: the caller must get an answer
            log.exception("a command broke")
            return Reply(refusal=refusal_of(ServiceException(f"{type(error).__name__}: {error}")))


_listening: WeakSet[socket.socket] = WeakSet()


def _hang_up_in_child() -> None:
    """Close a child process's copies: with them, callers would wait for a parent that is dead."""
    for listening in list(_listening):
        listening.close()
    _listening.clear()


os.register_at_fork(after_in_child=_hang_up_in_child)


def refusal_of(error: DurableError) -> Refusal:
    """Say *error* so that `error_of` can build it again."""
    name, text = type(error).__name__, str(error)
    match error:
        case ValidationError():
            return Refusal(name, error.message, error.field)
        case ApiError():
            return Refusal(name, error.message)
        case StoreError():
            return Refusal(name, text.removesuffix(f". {error.remedy}"))
        case _:
            return Refusal(name, text)


_BY_NAME: dict[str, type[ApiError | StoreError | InvalidStateError]] = {
    kind.__name__: kind
    for kind in (
        CallbackTimeoutException,
        DurableExecutionAlreadyStartedException,
        InvalidParameterValueException,
        InvalidStateError,
        ResourceConflictException,
        ResourceNotFoundException,
        ServiceException,
        StoreCorruptedError,
        StoreError,
        StoreFullError,
        StoreLockedError,
        StoreReadOnlyError,
        StoreReplacedError,
        StoreTooNewError,
        StoreUnavailableError,
        TooManyRequestsException,
    )
}


def error_of(refusal: Refusal) -> DurableError:
    """Build the error that the other process raised."""
    if refusal.error == ValidationError.__name__:
        return ValidationError(refusal.field, refusal.message)
    make: Callable[[str], DurableError] = partial(ServiceException)
    if (kind := _BY_NAME.get(refusal.error)) is not None:
        make = partial(kind)
    return make(refusal.message)


def socket_path(database: Path) -> Path:
    """Say where the socket of the process that holds *database* lies.

    It is beside it, under the same name if an address can be that long.
    """
    path = Path(f"{database}.sock")
    if len(os.fsencode(path)) <= _MAX_ADDRESS_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(database.name)).hexdigest()
    return database.with_name(f"{digest[:16]}.sock")


@contextmanager
def short_address(path: Path) -> Generator[str]:
    """Give an address for *path* that a socket can have: the path, or one through a link to it."""
    if len(os.fsencode(path)) <= _MAX_ADDRESS_BYTES:
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="durably-") as folder:
        link = Path(folder, "d")
        link.symlink_to(path.parent)
        yield str(link / path.name)
