"""What a request must be like before anybody looks at what it asks for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from durably.errors import ApiError, TooManyRequestsException
from durably.server.access import Access, is_loopback
from durably.server.auth import Caller, Credential
from durably.server.errors import denied, head_too_large, too_large, wrong_media

_MIB = 1024 * 1024
_DRAINED = 64 * _MIB
_SAME = frozenset({"none", "same-origin"})
_SIMPLE = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"})
"""What a page of any origin may send without being asked first."""

_OTHER_NAME = (
    "The API is not called by that name. Whoever serves it allows names by --allow-host NAME, or"
    " as hosts of its Access."
)
_JSON = frozenset({"application/json", "application/x-amz-json-1.0", "application/x-amz-json-1.1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of an API may be used at once.

    Attributes:
        max_requests: how many requests may be worked on, those that wait for an execution's end
            left out, and those that are still arriving.
        max_waiting: how many Invokes may wait for an answer, which may take long. Those of one
            function have no more places than are left for the others.
        max_waiting_bytes: what the bodies of those may take, shared in the same way.
        max_buffered_bytes: what the bodies may take that are arriving. When there is no room for
            more, the one that has been arriving for longest is refused.
        body_seconds: how long a body may take to arrive, and each part of what a function streams.
        max_per_second: how many requests one credential may make in a second, at least 1.
        max_headers: how many headers a request may have.
        max_head_bytes: what its address and its headers may take.
    """

    max_requests: int = 500
    max_waiting: int = 2000
    max_waiting_bytes: int = 256 * _MIB
    max_buffered_bytes: int = 256 * _MIB
    body_seconds: float = 30.0
    max_per_second: int = 1000
    max_headers: int = 100
    max_head_bytes: int = 32 * 1024


def check_head(scope: Scope, access: Access, limits: Limits) -> None:
    """Refuse a request that is too large, or comes where it must not come from.

    Raises:
        ApiError: the class says why.
    """
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    size = sum(len(name) + len(value) for name, value in headers)
    target = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if len(headers) > limits.max_headers or size + target > limits.max_head_bytes:
        raise head_too_large()
    said = Headers(scope=scope)
    _check_host(said, access)
    _check_origin(said, access)
    _check_peer(scope, access)


def _check_host(headers: Headers, access: Access) -> None:
    """Refuse other names than ours: a page whose name leads here now is of another origin."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or _without_port(hosts[0].lower()) not in access.hosts:
        raise denied("AccessDeniedException", _OTHER_NAME)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() else host


def _check_origin(headers: Headers, access: Access) -> None:
    """Refuse what a browser sends for a page that is not ours."""
    site = headers.getlist("sec-fetch-site")
    if set(headers.getlist("origin")) <= set(access.origins) and set(site) <= _SAME:
        return
    raise denied("AccessDeniedException", "Pages of other origins may not use the API.")


def _check_peer(scope: Scope, access: Access) -> None:
    """Refuse other machines while no credentials are asked for."""
    peer = scope.get("client")
    if access.needs_credentials or peer is None or is_loopback(peer[0]):
        return
    text = "Without credentials the API is for its own machine alone."
    raise denied("AccessDeniedException", text)


def check_media(headers: Headers, *, is_json: bool) -> None:
    """Refuse a body that is packed, or of a kind that any page could send.

    Raises:
        ApiError: the text says what to send.
    """
    if any(packed.strip().lower() != "identity" for packed in headers.getlist("content-encoding")):
        raise wrong_media("Send the body without a content encoding.")
    for text in headers.getlist("content-type"):
        media = text.partition(";")[0].strip().lower()
        if media in _SIMPLE or (is_json and media not in _JSON):
            raise wrong_media("Send the body as application/json.")


@dataclass(eq=False, slots=True)
class _Arriving:
    """A body, as far as it is here, and how long it is waited for."""

    patience: asyncio.Timeout
    body: bytearray = field(default_factory=bytearray)
    _is_refused: bool = False

    def wait_until(self, moment: float) -> None:
        """Wait for the rest of it until then, by the clock of the event loop."""
        if not self._is_refused and not self.patience.expired():
            self.patience.reschedule(moment)

    def refuse(self) -> None:
        """Wait for no more of it."""
        self._is_refused = True
        if not self.patience.expired():
            self.patience.reschedule(asyncio.get_running_loop().time())

    def check_not_refused(self) -> None:
        """Raise what is said to whoever sent it, if it was refused.

        Raises:
            TooManyRequestsException: it was.
        """
        if self._is_refused:
            raise TooManyRequestsException("Too much arrives at the same time. Ask again later.")


class Shares:
    """So much of something, of which nobody has more than is left for the others.

    One alone can have half of it, and each further one half of what is left then: the more there
    are who take what they can, the less finds whoever has none yet.
    """

    def __init__(self, amount: int) -> None:
        self._left = amount
        self._of: Counter[str] = Counter()

    @contextmanager
    def taken(self, whose: str, amount: int) -> Generator[None]:
        """Let *whose* have *amount* more.

        Raises:
            TooManyRequestsException: that is too much.
        """
        if amount and self._of[whose] + amount > self._left:
            raise _too_many()
        self._left -= amount
        self._of[whose] += amount
        try:
            yield
        finally:
            self._left += amount
            self._of[whose] -= amount
            if not self._of[whose]:
                del self._of[whose]


def _too_many() -> TooManyRequestsException:
    return TooManyRequestsException("Too many requests are under way. Ask again later.")


class Gate:
    """Counts what is under way, and refuses what is too much."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._requests = 0
        self._waiting = Shares(limits.max_waiting)
        self._waiting_bytes = Shares(limits.max_waiting_bytes)
        self._buffered = 0
        self._arriving: dict[_Arriving, None] = {}  # the oldest first

    @contextmanager
    def passed(self, body: bytes, waits_for: str | None) -> Generator[None]:
        """Let one request be under way, with its body, which it holds for as long.

        *waits_for*: the function that it may wait for as long as it likes.

        Raises:
            TooManyRequestsException: there are too many.
        """
        if waits_for is None:
            with self._worked_on():
                yield
        else:
            with self._waiting.taken(waits_for, 1), self._waiting_bytes.taken(waits_for, len(body)):
                yield

    @contextmanager
    def _worked_on(self) -> Generator[None]:
        if self._requests >= self.limits.max_requests:
            raise _too_many()
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    async def read(
        self, request: Request, max_bytes: int, streamed_seconds: float | None = None
    ) -> bytes:
        """Read the body. Of one that is too long the rest is read, too, if that is not too much.

        One that may take *streamed_seconds* in all has the time of a body for each part of it.

        Raises:
            ApiError: it is too long, takes too long, or too much arrives at the same time.
            ClientDisconnect: the caller went away.
        """
        size = 0
        now = asyncio.get_running_loop().time
        seconds = self.limits.body_seconds
        end = now() + (seconds if streamed_seconds is None else streamed_seconds)
        arriving = _Arriving(asyncio.timeout_at(min(now() + seconds, end)))
        self._arriving[arriving] = None
        try:
            async with arriving.patience:
                async for chunk in request.stream():
                    arriving.wait_until(min(now() + seconds, end))
                    size += len(chunk)
                    if size > _DRAINED:
                        break
                    if size <= max_bytes:
                        self._buffer(arriving, chunk)
        except TimeoutError:
            arriving.check_not_refused()
            text = "The body took too long to arrive."
            raise ApiError(408, "RequestTimeoutException", text) from None
        finally:
            self._forget(arriving)
        if size > max_bytes:
            raise too_large(max_bytes)
        return bytes(arriving.body)

    def _buffer(self, arriving: _Arriving, chunk: bytes) -> None:
        """Take one more chunk, in the place of what has been arriving for longest if need be.

        Whoever sends slowly, so that others find no room, loses his own.
        """
        arriving.check_not_refused()
        arriving.body += chunk
        self._buffered += len(chunk)
        while self._buffered > self.limits.max_buffered_bytes:
            oldest = next(iter(self._arriving))
            self._forget(oldest)
            oldest.refuse()
        arriving.check_not_refused()

    def _forget(self, arriving: _Arriving) -> None:
        if arriving in self._arriving:
            del self._arriving[arriving]
            self._buffered -= len(arriving.body)


class Rates:
    """How fast each credential makes requests: those of a second may come at once."""

    def __init__(self, limits: Limits) -> None:
        self._maximum = limits.max_per_second
        self._used: dict[Credential, tuple[float, float]] = {}

    def count(self, caller: Caller | None, now: float) -> None:
        """Let one more request pass, at *now* seconds since some moment.

        Its caller must have been verified, or anybody could use up what is another's.

        Raises:
            TooManyRequestsException: there were too many. After a second there is room again.
        """
        if caller is None:
            return
        used, since = self._used.get(caller.credential, (0.0, now))
        used = max(used - (now - since) * self._maximum, 0.0) + 1
        if used > self._maximum:
            raise TooManyRequestsException("The credential makes too many requests a second.")
        self._used[caller.credential] = used, now
