"""Connections of a server: how many there may be, and how long one may keep the server waiting.

uvicorn ends a connection on which nothing comes after a reply, and no other: it waits for ever for
the rest of a request's head, and for whoever does not read a reply. Its one limit counts idle
connections like all others, and turns the next client away. It reads all that has come before
anybody looks at who has sent it, however long that takes. So its protocol is extended here.
"""

from __future__ import annotations

import asyncio
import re
import resource
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Any, cast

import h11
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from durably.errors import ApiError
from durably.server.errors import head_too_large, refusal
from durably.server.guards import Limits

_BACKLOG = 2048
_FILES = 10_240  # the most that macOS allows, and more than a server here needs
_UNNAMED = "another process"
_TURN = 100
"""How many events of one connection are read before the others have their turn."""

_MAX_AHEAD_BYTES = 64 * 1024
_ALIVE = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 60),  # seconds; else it would be two hours
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 15),
)
_HEAD_END = re.compile(rb"\n\r?\n")
_REPLYABLE = (h11.IDLE, h11.SEND_RESPONSE)
_ASKS = (h11.IDLE, h11.SEND_BODY)
_SAID_ALL = (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What a server lets clients do before they have asked, and after it has answered.

    Attributes:
        max_connections: how many there may be, three quarters of them of one client. There are
            never more than half as many as the process may have files open.
        head_seconds: how long the head of a request may take, counted from the beginning of the
            connection or from the reply before.
        reply_seconds: how long a client may take to read what does not fit into the buffers.
        max_head_bytes: what the head of a request may take as it is sent, twice what the API allows
            its address and its headers.
    """

    max_connections: int = 4000
    head_seconds: float = 10.0
    reply_seconds: float = 30.0
    max_head_bytes: int = 2 * Limits().max_head_bytes


class Crowd:
    """The connections of one server.

    When there is no room for another one, it takes the place of the one whose client has been
    waited for longest: for its next request, or for the rest of one. Only where all requests are
    being worked on it is sent away. So whoever sends nothing keeps nobody out.

    Args:
        limits: how many there may be, and for how long.
        reply_headers: gives what a reply has.

    Attributes:
        max_connections: how many there may be.
        max_of_client: how many of them may be of one address.
        backlog: how many are taken before there is a look at how many there are.
    """

    def __init__(
        self, limits: ConnectionLimits, reply_headers: Callable[[], Mapping[str, str]]
    ) -> None:
        files = open_files_limit()
        self.limits = limits
        self.reply_headers = reply_headers
        self.max_connections = max(min(limits.max_connections, files // 2), 1)
        self.max_of_client = max(self.max_connections * 3 // 4, 1)
        self.backlog = max(min(_BACKLOG, files // 4), 1)
        self._of_client: Counter[str] = Counter()
        self._all: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, newcomer: Connection) -> None:
        """Take a connection in, in the place of another one if need be, or end it."""
        is_full = self._of_client[newcomer.host] >= self.max_of_client
        if is_full or len(self._all) >= self.max_connections:
            found = (one for one in self._waiting if one.host == newcomer.host or not is_full)
            next(found, newcomer).end()
        if not newcomer.is_ended:
            self._all.add(newcomer)
            self._of_client[newcomer.host] += 1

    def note(self, connection: Connection, *, is_waiting: bool) -> None:
        """Take note that a connection begins to wait for its client, or ends to."""
        if is_waiting:
            self._waiting.setdefault(connection)
        else:
            self._waiting.pop(connection, None)

    def leave(self, connection: Connection) -> None:
        """Forget a connection."""
        if connection in self._all:
            self._all.discard(connection)
            self._waiting.pop(connection, None)
            self._of_client[connection.host] -= 1
            if not self._of_client[connection.host]:
                del self._of_client[connection.host]


class _State(Enum):
    HEAD = "its client is to ask for something"
    BODY = "its client is to send the rest"
    WORK = "it is being worked on"
    REPLY = "its client is to read"


class _Parser(h11.Connection):
    """Reads requests, so many events a turn.

    Attributes:
        is_held: there may be more to read, in another turn.
        is_too_large: the head of a request is longer than any may be.
    """

    def __init__(self, max_head_bytes: int) -> None:
        super().__init__(h11.SERVER, max_head_bytes)
        self._max_head_bytes = max_head_bytes
        self._left = 0
        self.is_held = False
        self.is_too_large = False

    def is_too_far_ahead(self, data: bytes) -> bool:
        """Whether *data* is too much to keep until the request before it has been answered."""
        if self.their_state in (*_ASKS, *_SAID_ALL):
            return False
        kept, _ = self.trailing_data
        return len(kept) + len(data) > _MAX_AHEAD_BYTES

    def begin_turn(self) -> None:
        """Let there be events again."""
        self._left = _TURN
        self.is_held = False

    def next_event(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        """Give the next event, or nothing until the next turn."""
        if not self._left:
            self.is_held = True
            return h11.NEED_DATA
        self._left -= 1
        if self.their_state is h11.IDLE:
            # Once all of a head is here, h11 does not look at how long it is.
            data, _ = self.trailing_data
            self.is_too_large = len(data) > self._max_head_bytes and (
                _HEAD_END.search(data, 0, self._max_head_bytes) is None
            )
            if self.is_too_large:
                raise h11.RemoteProtocolError("the head is too long")
        event = super().next_event()
        if event is h11.PAUSED:
            # For that uvicorn would pause reading, and who does not read notices nobody's leaving.
            return h11.NEED_DATA
        if isinstance(event, h11.Request) and _has(event, b"transfer-encoding"):
            if _has(event, b"content-length"):  # RFC 9112, 6.1: whoever is between may go by this
                raise h11.RemoteProtocolError("two lengths")
            self._left = 0  # a body that costs much to read is for whom the application wants it of
        return event


def _has(request: h11.Request, header: bytes) -> bool:
    return any(name == header for name, _ in request.headers)


class _Flow(FlowControl):
    """Lets nothing more in while there is more to read of what is here."""

    is_held = False

    def resume_reading(self) -> None:
        if not self.is_held:
            super().resume_reading()


class Connection(H11Protocol):
    """One connection: uvicorn's, with a time for what its client may be waited for.

    The time of a body is the application's to keep.

    Args:
        crowd: those it is among.
        how: what uvicorn tells a connection.
    """

    def __init__(self, crowd: Crowd, **how: Any) -> None:
        super().__init__(**how)
        self.conn = self._parser = _Parser(crowd.limits.max_head_bytes)
        self._crowd = crowd
        self._state = _State.WORK
        self._patience: asyncio.TimerHandle | None = None
        self.host = _UNNAMED
        self.is_ended = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn narrows it too
        """Join the others, if there is room."""
        super().connection_made(transport)
        self.flow = self._flow = _Flow(transport)
        _keep_asking(transport)
        if self.client is not None:
            self.host = self.client[0]
        self._crowd.enter(self)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        self._leave()

    def data_received(self, data: bytes) -> None:
        """See what is still missing of a request. What comes after the last one is nothing.

        Of what comes after others, some is kept: it is read on, to see the client leave.
        """
        if self._parser.is_too_far_ahead(data):
            self.end()
        elif self.conn.their_state not in _SAID_ALL:
            super().data_received(data)
            self._look()

    def handle_events(self) -> None:
        """Read what is here, for so long; what is left then, when the others have had their turn.

        By then the application may have refused the request, and hung up.
        """
        self._parser.begin_turn()
        super().handle_events()
        if self._parser.is_held and not self.transport.is_closing():
            self._flow.is_held = True
            self.flow.pause_reading()
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._flow.is_held = False
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.handle_events()
            self._look()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request, in the shape of the service, and hang up.

        Where a reply has begun there is no other.
        """
        if self.conn.our_state not in _REPLYABLE:
            self.transport.close()
            return
        too_large = self._parser.is_too_large
        error = head_too_large() if too_large else ApiError(400, "BadRequestException", msg)
        said = refusal(error, {**self._crowd.reply_headers(), "Connection": "close"})
        phrase = HTTPStatus(error.status_code).phrase.encode()
        head = h11.Response(status_code=error.status_code, headers=said.raw_headers, reason=phrase)
        for event in (head, h11.Data(data=bytes(said.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is here."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """Wait for the client to read: the buffers are full."""
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        """Go on: it has read."""
        super().resume_writing()
        self._look()

    def end(self) -> None:
        """Let go of the connection at once."""
        self._leave()
        self.transport.abort()

    def _leave(self) -> None:
        self.is_ended = True
        self._crowd.leave(self)
        self._wait(None)

    def _look(self) -> None:
        state = self._state_now()
        if self.is_ended or state is self._state:
            return
        self._state = state
        self._crowd.note(self, is_waiting=state is not _State.WORK)
        limits = self._crowd.limits
        times = {_State.HEAD: limits.head_seconds, _State.REPLY: limits.reply_seconds}
        self._wait(times.get(state))

    def _state_now(self) -> _State:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self.flow.write_paused:
            return _State.REPLY
        if cycle is None or cycle.response_complete:
            return _State.HEAD
        return _State.BODY if cycle.more_body else _State.WORK

    def _wait(self, seconds: float | None) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = None if seconds is None else self.loop.call_later(seconds, self.end)


def _keep_asking(transport: asyncio.Transport) -> None:
    """Have the system ask whether the client is still there, which may vanish without a word."""
    accepted = transport.get_extra_info("socket")
    for level, name, value in _ALIVE:
        if hasattr(socket, name):  # macOS has other names
            accepted.setsockopt(level, getattr(socket, name), value)


def open_files_limit() -> int:
    """Say how many files this process may have open, if only as many as it could ever need."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _FILES if soft == resource.RLIM_INFINITY else soft


def allow_open_files() -> None:
    """Let this process have as many files open as a server needs, if it may allow itself that."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if open_files_limit() < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
