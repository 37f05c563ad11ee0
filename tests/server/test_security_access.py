"""From where and under which name the API may be used: S02, and what every reply carries."""

import itertools
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from durably import Engine, ValidationError
from durably.server.access import Access, AccessKey, BearerToken
from durably.server.app import make_app
from tests.app.functions import ALL
from tests.server.served import engine_app, http_client

INVOKE = "/2015-03-31/functions/echo/invocations"
FUNCTIONS = "/2015-03-31/functions"
TOKEN = BearerToken("a-token-of-some-length")


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with Engine("memory:", ALL, grace=0) as engine:
        yield engine


async def test_s02_only_the_allowed_cells_succeed(engine: Engine) -> None:
    access = Access(hosts=("localhost", "127.0.0.1", "[::1]"), origins=("http://localhost:9000",))
    hosts = {
        "localhost": True,
        "LOCALHOST:9000": True,
        "127.0.0.1:9000": True,
        "[::1]:9000": True,
        "evil.example": False,
        "localhost.evil.example": False,
        "127.0.0.1.evil.example:9000": False,
        "evil.example:localhost": False,
        "0.0.0.0:9000": False,
        "": False,
    }
    origins = {
        None: True,
        "http://localhost:9000": True,
        "http://localhost:9001": False,
        "https://evil.example": False,
        "null": False,
    }
    sites = {None: True, "none": True, "same-origin": True, "same-site": False, "cross-site": False}
    requests: dict[tuple[str, str, str | None], int] = {
        ("GET", FUNCTIONS, None): 200,
        ("POST", INVOKE, "application/json"): 204,
        ("POST", INVOKE, "application/octet-stream"): 204,
        ("POST", INVOKE, None): 204,
        ("POST", INVOKE, "text/plain"): 415,
        ("POST", INVOKE, "text/plain; charset=utf-8"): 415,
        ("POST", INVOKE, "application/x-www-form-urlencoded"): 415,
        ("POST", INVOKE, "multipart/form-data; boundary=x"): 415,
        ("OPTIONS", INVOKE, None): 405,
        ("PUT", INVOKE, "application/json"): 405,
        ("TRACE", FUNCTIONS, None): 405,
    }
    cells = itertools.product(hosts, origins, sites, requests)
    async with http_client(make_app(engine, access=access)) as client:
        for host, origin, site, asked in cells:
            method, path, media = asked
            headers = {"Host": host, "X-Amz-Invocation-Type": "DryRun"}
            if origin is not None:
                headers["Origin"] = origin
            if site is not None:
                headers["Sec-Fetch-Site"] = site
            if media is not None:
                headers["Content-Type"] = media
            content = b"1" if method == "POST" else None
            reply = await client.request(method, path, headers=headers, content=content)
            is_allowed = hosts[host] and origins[origin] and sites[site]
            assert reply.status_code == (requests[asked] if is_allowed else 403), (host, origin)
            assert not any(name.startswith("access-control-") for name in reply.headers)


@pytest.mark.parametrize("path", [FUNCTIONS, "/nowhere", INVOKE])
async def test_every_reply_has_the_headers_that_keep_browsers_off(
    engine: Engine, path: str
) -> None:
    async with http_client(make_app(engine)) as client:
        for headers in ({}, {"Origin": "https://evil.example"}):
            reply = await client.get(path, headers=headers)
            assert reply.headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
            assert reply.headers["Referrer-Policy"] == "no-referrer"
            assert reply.headers["X-Content-Type-Options"] == "nosniff"
            assert reply.headers["x-amzn-RequestId"]


@pytest.mark.parametrize(
    ("address", "status"),
    [("127.0.0.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("10.0.0.7", 403), ("", 403)],
)
async def test_other_machines_need_credentials(engine: Engine, address: str, status: int) -> None:
    transport = httpx.ASGITransport(make_app(engine), client=(address, 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get(FUNCTIONS)).status_code == status


def test_other_names_need_credentials() -> None:
    with pytest.raises(ValidationError, match="need keys or tokens"):
        Access(hosts=("durably.example",))
    assert Access(hosts=("durably.example",), tokens=(TOKEN,)).needs_credentials


@pytest.mark.parametrize(
    "make",
    [
        lambda: Access(hosts=("https://localhost",)),
        lambda: Access(hosts=("LOCALHOST",)),
        lambda: Access(origins=("*",)),
        lambda: Access(origins=("https://ops.example/path",)),
        lambda: AccessKey("a key", "0123456789abcdef"),
        lambda: AccessKey("key", "short"),
        lambda: BearerToken("short"),
        lambda: BearerToken("with a space, and long enough"),
        lambda: Access(keys=(AccessKey("a", "0123456789abcdef"),) * 2),
    ],
)
def test_bad_settings_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ValidationError):
        make()


def test_settings_do_not_show_their_secrets() -> None:
    secret = "never-to-be-seen-anywhere"
    access = Access(keys=(AccessKey("id", secret),), tokens=(BearerToken(secret),))
    assert secret not in repr(access)


async def test_an_application_mounts_it_under_a_path(engine: Engine) -> None:
    app = Starlette(routes=[Mount("/durable", make_app(engine))])
    async with http_client(app) as client:
        reply = await client.get("/durable" + FUNCTIONS)
        assert reply.status_code == 200
        named = await client.get("/durable" + FUNCTIONS + "/a%2Fb/configuration")
        assert named.json()["__type"] == "InvalidParameterValueException"
        assert (await client.put("/durable" + INVOKE)).status_code == 405


async def test_what_is_no_operation_has_the_shape_of_the_service() -> None:
    async with engine_app() as (_, app), http_client(app) as client:
        for method, path, status in (
            ("GET", "/", 404),
            ("GET", "/2015-03-31/functions/", 404),
            ("GET", "/2025-12-01/durable-executions/a/b/history", 404),
            ("POST", "/2015-03-31/event-source-mappings", 404),
            ("PUT", "/lambda-endpoint", 404),
            ("PUT", "/2015-03-31/functions/echo/code", 404),
            ("DELETE", "/2015-03-31/functions/echo", 405),
            ("PATCH", INVOKE, 405),
        ):
            reply = await client.request(method, path)
            assert reply.status_code == status, path
            assert reply.headers["X-Amzn-ErrorType"] == "UnknownOperationException"
            assert reply.json()["__type"] == "UnknownOperationException"
            assert reply.json()["Type"] == "User"


async def test_a_port_is_written_in_ascii(engine: Engine) -> None:
    async with http_client(make_app(engine)) as client:
        for host, status in (
            (b"localhost:90", 200),
            (b"localhost:\xb2", 403),
            (b"localhost:", 403),
        ):
            reply = await client.get(FUNCTIONS, headers=[(b"Host", host)])
            assert reply.status_code == status
