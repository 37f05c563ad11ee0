"""Sends an API whatever a seed makes up: `python -m tests.server.fuzz --requests 20000 --seed 7`.

Every request is a legal one that was spoilt. A spoilt one is refused in the service's shape and
changes nothing; one that may still be legal is never answered with worse than that.
"""

import argparse
import asyncio
import base64
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, TypeAlias

from starlette.types import ASGIApp

from durably.server.calls import GONE
from tests.server.hostile import BODIES, Target, target

FRESH_AFTER = 100
"""A target that has taken so many requests for legal ones is exchanged for a new one."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, as a server hands it to the application.

    Attributes:
        is_spoilt: nothing of it can be legal any more.
        vanishes: its sender goes away before the body is at its end.
    """

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ((b"host", b"localhost"),)
    is_spoilt: bool = False
    vanishes: bool = False

    def with_header(self, name: str, value: bytes) -> "Request":
        return replace(self, headers=(*self.headers, (name.encode(), value)))


@dataclass
class Reply:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


async def ask(app: ASGIApp, request: Request, random: Random) -> Reply:
    """Send *request* in pieces; its sender is gone as soon as it was read."""
    pieces = _pieces(request.body, random)
    reply = Reply()

    async def receive() -> dict[str, Any]:
        if not pieces:
            return {"type": "http.disconnect"}
        piece = pieces.pop(0)
        if request.vanishes and not pieces:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            reply.status = message["status"]
            reply.headers = {k.decode().lower(): v.decode() for k, v in message["headers"]}
        else:
            reply.body += message.get("body", b"")

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "root_path": "",
        "path": request.path,
        "raw_path": request.path.encode("latin-1", "replace"),
        "query_string": request.query.encode("latin-1", "replace"),
        "headers": list(request.headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 9000),
    }
    await app(scope, receive, send)
    return reply


def _pieces(body: bytes, random: Random) -> list[bytes]:
    cut = random.randrange(len(body) + 1)
    return [body[:cut], body[cut:]] if random.random() < 0.3 else [body]


STEP = {"Id": "s", "Type": "STEP", "Action": "START", "SubType": "Step", "Name": "a step"}
ERROR = {"ErrorType": "T", "ErrorMessage": "m", "ErrorData": "d", "StackTrace": ["a"]}


def legal(api: Target, random: Random) -> Request:
    """Make a request that is legal, but for the one that is going to be spoilt."""
    arn = random.choice([api.running, api.waiting])
    token = api.token.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
    listing = "MaxItems=5&ReverseOrder=true"
    found: tuple[tuple[str, str, str, Any], ...] = (
        ("POST", api.execution(verb="/checkpoint"), "", _checkpoint(api, random)),
        ("GET", api.execution(verb="/state"), f"CheckpointToken={token}&MaxItems=1", None),
        ("GET", api.execution(arn), "IncludeExecutionData=false", None),
        ("GET", api.execution(arn, "/history"), listing, None),
        (
            "GET",
            "/2025-12-01/functions/echo/durable-executions",
            f"{listing}&Statuses=RUNNING",
            None,
        ),
        ("POST", api.execution(arn, "/stop"), "", ERROR),
        ("POST", api.execution(arn, "/pause"), "", {"Reason": "r", "ClientToken": "t"}),
        ("POST", api.execution(arn, "/resume"), "", {"Reason": "r"}),
        ("DELETE", api.execution(arn), "", None),
        ("POST", api.callback("succeed"), "", {"any": "thing"}),
        ("POST", api.callback("fail"), "", ERROR),
        ("POST", api.callback("heartbeat"), "", None),
        ("POST", "/2015-03-31/functions/echo/invocations", "Qualifier=%24LATEST", {"a": 1}),
        ("GET", "/2015-03-31/functions", "MaxItems=3", None),
        ("GET", "/2015-03-31/functions/echo", "", None),
        ("GET", "/2015-03-31/functions/echo/configuration", "", None),
        ("GET", "/metrics", "", None),
    )
    method, path, query, body = random.choice(found)
    raw = b"" if body is None else json.dumps(body).encode()
    return Request(method=method, path=path, query=query, body=raw)


def _checkpoint(api: Target, random: Random) -> dict[str, Any]:
    updates = [
        STEP,
        {**STEP, "Action": "RETRY", "StepOptions": {"NextAttemptDelaySeconds": 1}},
        {"Id": "w", "Type": "WAIT", "Action": "START", "WaitOptions": {"WaitSeconds": 9}},
        {
            "Id": "c",
            "Type": "CALLBACK",
            "Action": "START",
            "CallbackOptions": {"TimeoutSeconds": 9},
        },
        {"Id": "x", "Type": "CONTEXT", "Action": "FAIL", "Error": ERROR},
        {"Id": "e", "Type": "EXECUTION", "Action": "SUCCEED", "Payload": "1"},
    ]
    return {"CheckpointToken": api.token, "Updates": [random.choice(updates)], "ClientToken": "t"}


Spoil: TypeAlias = Callable[[Request, Random], Request]


def bad_body(request: Request, random: Random) -> Request:
    """Give it a body that is no JSON at all, or none for it."""
    name = random.choice(sorted(BODIES))
    takes_any = request.path.endswith(("/succeed", "/invocations")) or not request.body
    return replace(request, body=BODIES[name], is_spoilt=not takes_any)


def cut_body(request: Request, random: Random) -> Request:
    """Leave the end of its body out."""
    is_json = request.body[:1] == b"{" and not request.path.endswith("/succeed")
    kept = random.randrange(1, len(request.body)) if len(request.body) > 1 else 0
    return replace(request, body=request.body[:kept], is_spoilt=is_json and kept > 0)


def flipped_body(request: Request, random: Random) -> Request:
    """Change some of its bytes."""
    body = bytearray(request.body)
    for _ in range(random.randrange(1, 4)):
        if body:
            body[random.randrange(len(body))] = random.randrange(256)
    return replace(request, body=bytes(body))


def odd_member(request: Request, random: Random) -> Request:
    """Put something else in the place of one of its members."""
    try:
        value = json.loads(request.body)
    except ValueError:
        return replace(request, vanishes=True)
    place: Any = value
    while isinstance(place, dict | list) and place:
        key = (
            random.choice(list(place)) if isinstance(place, dict) else random.randrange(len(place))
        )
        if not isinstance(place[key], dict | list) or random.random() < 0.3:
            place[key] = random.choice(ODD)
            break
        place = place[key]
    return replace(request, body=json.dumps(value).encode())


ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    10**30,
    -(10**400),
    "",
    "x" * 2000,
    "\x00",
    "\ud800",
    "ä",
    "..",
    [],
    [[]],
    {},
    {"a": {}},
    ["a", 1],
)


def odd_label(request: Request, random: Random) -> Request:
    """Put something else in the place of the names in its path."""
    parts = request.path.split("/")
    if len(parts) < 4:
        return replace(request, path=request.path + "/", is_spoilt=True)
    parts[3] = random.choice(LABELS) + random.choice(["", "x", "%00"])
    return replace(request, path="/".join(parts), is_spoilt=True)


LABELS = (
    "", ".", "..", "%2e%2e", "%00", "%2F", "a%2Fb", "%FF", "%", "%zz", "a%0D%0Ab", "x" * 1025, "+",
    "%24LATEST", "%F0%9F%92%A9", "arn%3Aaws%3Alambda", "'%20OR%201=1--", "%3Cscript%3E", "\x7f",
)  # fmt: skip


def forged(request: Request, random: Random) -> Request:
    """Change one character of every token and id in it."""
    body = request.body
    if b"CheckpointToken" in body:
        value = json.loads(body)
        value["CheckpointToken"] = _other(value["CheckpointToken"], random)
        return replace(request, body=json.dumps(value).encode(), is_spoilt=True)
    if "CheckpointToken" in request.query:
        said = base64.b64encode(random.randbytes(36)).decode().replace("+", "%2B")
        return replace(request, query=f"CheckpointToken={said}", is_spoilt=True)
    parts = request.path.split("/")
    if "durable-execution" in request.path and "functions" not in parts:
        parts[3] = _other(parts[3], random)
        return replace(request, path="/".join(parts), is_spoilt=True)
    return odd_label(request, random)


def _other(text: str, random: Random) -> str:
    place = random.randrange(max(len(text) - 20, 0), len(text))
    digits = [one for one in "0123456789abcdef" if one != text[place]]
    return text[:place] + random.choice(digits) + text[place + 1 :]


def odd_query(request: Request, random: Random) -> Request:
    """Give it members of a query that are none."""
    bad = random.choice(
        [
            "MaxItems=-1",
            "MaxItems=99999999999999",
            "MaxItems=%F0",
            "Marker=%00",
            "Marker=" + "9" * random.randrange(1, 4000),
            "ReverseOrder=2",
            "IncludeExecutionData=",
            "Statuses=x",
            "StartedAfter=" + random.choice(["x", "1e999", "-1", "0000-00-00", "9" * 400]),
            "Qualifier=" + random.choice(["x", "%00", "y" * 3000]),
            "=&=&%",
            "a=" * 300,
        ]
    )
    return replace(request, query=f"{request.query}&{bad}")


def odd_header(request: Request, random: Random) -> Request:
    """Give it a header that it must not have."""
    name, value, is_spoilt = random.choice(HEADERS)
    for _ in range(random.choice([1, 1, 1, 2, 101])):
        request = request.with_header(name, value)
    return replace(request, is_spoilt=is_spoilt)


HEADERS: tuple[tuple[str, bytes, bool], ...] = (
    ("host", b"evil.example", True),
    ("origin", b"https://evil.example", True),
    ("origin", b"null", True),
    ("sec-fetch-site", b"cross-site", True),
    ("content-encoding", b"gzip", True),
    ("content-type", b"text/plain", True),
    ("content-type", b"\xff", False),
    ("x-amz-invocation-type", b"Event", False),
    ("x-amz-invocation-type", b"\x00", False),
    ("x-amz-durable-execution-name", b"a/b", False),
    ("x-amz-tenant-id", b"\xff" * 300, False),
    ("authorization", b"AWS4-HMAC-SHA256 Credential=/", False),
    ("x-padding", b"x" * 40_000, True),
)


def odd_trace(request: Request, random: Random) -> Request:
    """Have it name a trace, or a tenant, that no header can carry to a function."""
    text = random.choice(TRACES)
    if request.path.endswith("/checkpoint"):
        member = random.choice(["XAmznTraceId", "TenantId"])
        options = {"FunctionName": "echo", member: text}
        start = {"Id": "i", "Type": "CHAINED_INVOKE", "Action": "START"}
        updates = [{**start, "ChainedInvokeOptions": options}]
        body = json.dumps({**json.loads(request.body), "Updates": updates}).encode()
        return replace(request, body=body, is_spoilt=True)
    path = f"/2015-03-31/functions/{random.choice(['echo', 'one'])}/invocations"
    name = random.choice(["x-amzn-trace-id", "x-amz-tenant-id"])
    invoke = replace(request, method="POST", path=path, query="", body=b"1", is_spoilt=True)
    return invoke.with_header(name, text.encode("latin-1", "replace"))


TRACES = (
    "", " ", " Root=1", "Root=1 ", "Root=1\r\nX: y", "Root=1\n", "\x00", "Root=\xe9", "\x7f",
    "x" * 8193, "Root=1\tParent=2",
)  # fmt: skip


def other_method(request: Request, random: Random) -> Request:
    """Use another method."""
    method = random.choice(["PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "\x00", "X" * 99])
    return replace(request, method=method, is_spoilt=True)


def elsewhere(request: Request, random: Random) -> Request:
    """Ask for something that is not there."""
    path = random.choice(
        ["", "/", "//", "/2025-12-01", "*", "/lambda-endpoint", request.path + "/x"]
    )
    return replace(request, path=path, is_spoilt=True)


def vanished(request: Request, random: Random) -> Request:
    """Go away before the body is at its end."""
    return replace(request, vanishes=True)


SPOILS: tuple[Spoil, ...] = (
    bad_body,
    cut_body,
    flipped_body,
    odd_member,
    odd_label,
    forged,
    odd_query,
    odd_header,
    odd_trace,
    other_method,
    elsewhere,
    vanished,
)


class WrongAnswerError(AssertionError):
    """An answer was not what it must be."""


def check(request: Request, reply: Reply, *, is_changed: bool) -> None:
    """Hold a reply to what it must be."""
    status = reply.status
    if not 200 <= status < 500:
        raise WrongAnswerError(f"status {status}")
    if status >= 400 and status != GONE and is_changed:
        raise WrongAnswerError(f"status {status}, and something has changed")
    if request.vanishes and is_changed:
        raise WrongAnswerError("nobody was there to be answered, and something has changed")
    if request.is_spoilt and status < 400:
        raise WrongAnswerError(f"status {status} for what is not legal")
    if status >= 400 and status != GONE:
        _check_shape(reply)


def _check_shape(reply: Reply) -> None:
    try:
        body = json.loads(reply.body)
    except ValueError:
        raise WrongAnswerError("no JSON") from None
    name = reply.headers.get("x-amzn-errortype")
    if not isinstance(body, dict) or body.get("__type") != name or body.get("Type") != "User":
        raise WrongAnswerError("not the shape of the service")
    if b"canary" in reply.body or b"Traceback" in reply.body:
        raise WrongAnswerError("it tells too much")


async def fuzz(
    seed: int, count: int, wrap: Callable[[ASGIApp], ASGIApp] | None = None
) -> Counter[int]:
    """Send *count* requests, and give how often each status came back.

    Raises:
        WrongAnswerError: an answer was not what it must be. The text says which request it was for.
    """
    random = Random(seed)  # noqa: S311 - a seed is there to be used again
    statuses: Counter[int] = Counter()
    sent = 0
    while sent < count:
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(target())
            app = api.app if wrap is None else wrap(api.app)
            before, taken = await api.state(), 0
            while sent < count and taken < FRESH_AFTER:
                request = random.choice(SPOILS)(legal(api, random), random)
                reply = await ask(app, request, random)
                after = await api.state()
                try:
                    check(request, reply, is_changed=after != before)
                except WrongAnswerError as error:
                    raise WrongAnswerError(
                        f"{error}\nseed {seed}, request {sent}: {request}\n{reply}"
                    ) from error
                taken += FRESH_AFTER if after != before else reply.status < 400
                statuses[reply.status] += 1
                sent += 1
    return statuses


def main() -> int:
    """Fuzz, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=None)
    chosen = parser.parse_args()
    seed = Random().randrange(2**32) if chosen.seed is None else chosen.seed  # noqa: S311 - as above
    began = time.monotonic()
    try:
        statuses = asyncio.run(fuzz(seed, chosen.requests))
    except WrongAnswerError as wrong:
        sys.stdout.write(f"{wrong}\n")
        return 1
    told = ", ".join(f"{status}: {times}" for status, times in sorted(statuses.items()))
    took = time.monotonic() - began
    sys.stdout.write(
        f"fuzz: {chosen.requests} requests to the API, seed {seed}, {took:.0f} s: {told}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
