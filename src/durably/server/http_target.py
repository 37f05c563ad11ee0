"""Functions behind an HTTP address that takes the payload of an invocation.

It is what the Lambda runtime interface emulator serves.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import h11

from durably.engine.invokers import Call, FunctionError
from durably.engine.rules import EXIT_ERROR, INVALID_RESPONSE_TYPE
from durably.errors import ValidationError
from durably.server.attached import FunctionSettings
from durably.server.runtime_api import MAX_ANSWER_BYTES
from durably.server.runtimes import lost, timed_out

EMULATOR_PATH = "/2015-03-31/functions/function/invocations"
UNREACHABLE_TYPE = "Runtime.Unreachable"
_READ_BYTES = 65_536
_TURN = 100
"""How many events of one answer are read before others have their turn."""

_OK = 200
_USER = re.compile(r"//.*@", re.DOTALL)
_QUERY = re.compile(r"(//[^?]*)\?.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """A function behind an address.

    Attributes:
        settings: what holds for the function.
        url: its address, `http:` or `https:`. Without a path, that of the emulator is meant.
            Nothing leads to any other address: redirects are not followed.
    """

    settings: FunctionSettings
    url: str

    def __post_init__(self) -> None:
        split_url(self.url)

    @property
    def is_durable(self) -> bool:
        """See `RemoteFunction`."""
        return self.settings.is_durable

    @property
    def capacity(self) -> None:
        """Nobody knows how many calls an address can take."""

    def on_room(self, listener: Callable[[], None], /) -> None:
        """There is nothing to tell."""

    async def call(self, call: Call) -> bytes:
        """Post *call*, and give the answer.

        Raises:
            FunctionError: the function failed or took too long, or is not there.
        """
        payload = call.payload()
        if payload is None:
            raise lost(EXIT_ERROR[1])
        seconds, shown = self.settings.timeout_seconds, shown_address(self.url)
        try:
            async with asyncio.timeout(seconds):
                return await self._post(call, payload)
        except TimeoutError:
            raise timed_out(seconds) from None
        except OSError as error:
            text = f"{shown} cannot be reached: {error.strerror or type(error).__name__}"
            raise FunctionError(text, error_type=UNREACHABLE_TYPE) from error
        except (h11.LocalProtocolError, UnicodeError) as error:
            text = f"{shown} cannot be called: {type(error).__name__}"
            raise FunctionError(text, error_type=UNREACHABLE_TYPE) from error
        except h11.RemoteProtocolError as error:
            text = f"{shown} broke off its answer: {error}"
            raise FunctionError(text, error_type=INVALID_RESPONSE_TYPE) from error

    async def _post(self, call: Call, payload: bytes) -> bytes:
        address = split_url(self.url)
        is_secure = address.scheme == "https"
        reader, writer = await asyncio.open_connection(
            address.hostname, address.port or (443 if is_secure else 80), ssl=is_secure or None
        )
        try:
            connection = h11.Connection(h11.CLIENT)
            for event in _events_of(address, call, payload):
                writer.write(connection.send(event) or b"")
            await writer.drain()
            return await _read(connection, reader)
        finally:
            writer.close()


def shown_address(url: str) -> str:
    """Give *url* as it may be shown: without a user, a password and a query."""
    return _QUERY.sub(r"\1?…", _USER.sub("//…@", url))


def split_url(url: str) -> SplitResult:
    """Read the address of a function, with the emulator's path if it has none.

    Raises:
        ValidationError: it is none that could be called.
    """
    said = f"must be http://HOST:PORT or https://…, without a user, not {shown_address(url)!r}"
    refusal = ValidationError("url", said)
    try:
        split = urlsplit(url)
        is_text = url.isascii() and url.isprintable() and " " not in url
        is_http = split.scheme in ("http", "https") and bool(split.hostname)
        is_legal = is_text and is_http and split.port != 0
    except ValueError as error:
        raise refusal from error
    if not is_legal or split.username is not None:
        raise refusal
    return split if split.path.strip("/") else split._replace(path=EMULATOR_PATH)


def _events_of(address: SplitResult, call: Call, payload: bytes) -> tuple[h11.Event, ...]:
    target = f"{address.path}?{address.query}" if address.query else address.path
    headers = [
        ("Host", address.netloc),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(payload))),
        ("Connection", "close"),
        ("X-Amzn-RequestId", call.request_id),
    ]
    if call.trace_id is not None:
        headers.append(("X-Amzn-Trace-Id", call.trace_id))
    if call.tenant_id is not None:
        headers.append(("X-Amz-Tenant-Id", call.tenant_id))
    request = h11.Request(method="POST", target=target, headers=headers)
    return request, h11.Data(data=payload), h11.EndOfMessage()


async def _read(connection: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    response: h11.Response | None = None
    body = bytearray()
    seen = 0
    while True:
        seen += 1
        if seen % _TURN == 0:
            await asyncio.sleep(0)
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                connection.receive_data(await reader.read(_READ_BYTES))
            case h11.Response():
                response = event
            case h11.Data():
                body += event.data
                if len(body) > MAX_ANSWER_BYTES:
                    text = f"Its answer takes more than {MAX_ANSWER_BYTES} bytes."
                    raise FunctionError(text, error_type="Function.ResponseSizeTooLarge")
            case h11.EndOfMessage() if response is not None:
                return _answer_of(response, bytes(body))
            case _:
                pass  # what announces the answer


def _answer_of(response: h11.Response, body: bytes) -> bytes:
    if response.status_code != _OK:
        text = f"The target answered with HTTP status {response.status_code}."
        raise FunctionError(text, error_type=INVALID_RESPONSE_TYPE)
    headers = {name: value.decode("latin-1") for name, value in response.headers}
    said_type = headers.get(b"x-amz-function-error")
    if said_type is not None:
        raise FunctionError.read(body, said_type)
    return body
