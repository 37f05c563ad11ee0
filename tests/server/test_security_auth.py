"""Credentials: S14, bearer tokens, and what each permission allows."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from durably import Engine
from durably.server.access import Access, AccessKey, BearerToken, Permission
from durably.server.app import make_app
from durably.server.auth import UNSIGNED_PAYLOAD
from durably.server.listening import bound_socket, listening, port_of
from durably.server.routes import ROUTES
from tests.app.functions import ALL
from tests.server.served import boto_client, http_client

KEY = AccessKey("AKIDEXAMPLE", "a-secret-access-key-of-length")
TOKEN = BearerToken("a-token-of-some-length")
BASE = "http://127.0.0.1:9000"
INVOKE = "/2015-03-31/functions/echo/invocations?Qualifier=%24LATEST"


@asynccontextmanager
async def api(access: Access) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        Engine("memory:", ALL, region="us-east-1", grace=0) as engine,
        http_client(make_app(engine, access=access)) as client,
    ):
        yield client


def signed(
    method: str = "POST",
    url: str = BASE + INVOKE,
    body: bytes = b'{"a": 1}',
    *,
    key: AccessKey = KEY,
    headers: dict[str, str] | None = None,
    signer: type[SigV4Auth] = SigV4Auth,
) -> dict[str, str]:
    """Give the headers of a request that botocore has signed."""
    request = AWSRequest(method, url, data=body, headers={"Host": "127.0.0.1:9000"})
    for name, value in (headers or {}).items():
        request.headers[name] = value
    credentials = Credentials(key.key_id, key.secret)
    signer(credentials, "lambda", "us-east-1").add_auth(request)
    return dict(request.headers.items())


async def test_s14_what_boto3_signs_is_accepted() -> None:
    access = Access(keys=(KEY,))
    async with Engine("memory:", ALL, region="us-east-1", grace=0) as engine:
        bound = bound_socket()
        async with listening(make_app(engine, access=access), [bound]):
            address = f"http://127.0.0.1:{port_of(bound)}"
            client = boto_client(address, KEY.key_id, KEY.secret)
            members: dict[str, Any] = {"FunctionName": "echo:$LATEST", "Payload": b'{"a": "+ /"}'}
            reply = await asyncio.to_thread(
                client.invoke, TenantId="a / b", DurableExecutionName="n-1", **members
            )
            arn = reply["DurableExecutionArn"]
            await asyncio.to_thread(client.get_durable_execution, DurableExecutionArn=arn)
            listed = await asyncio.to_thread(
                client.list_durable_executions_by_function,
                FunctionName="echo",
                Statuses=["SUCCEEDED", "FAILED"],
                StartedAfter=datetime(2020, 1, 1),  # noqa: DTZ001 - as users write it
            )
            assert [one["DurableExecutionArn"] for one in listed["DurableExecutions"]] == [arn]
            client.close()
            stranger = boto_client(address, KEY.key_id, "another-secret")
            with pytest.raises(ClientError, match="InvalidSignatureException"):
                await asyncio.to_thread(stranger.list_functions)
            stranger.close()


def altered(**changed: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda headers: {**headers, **{k.replace("_", "-"): v for k, v in changed.items()}}


def without(name: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda headers: {k: v for k, v in headers.items() if k.lower() != name}


def replaced(old: str, new: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda headers: {k: v.replace(old, new) for k, v in headers.items()}


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(altered(Host="localhost:9000"), id="another host"),
        pytest.param(altered(X_Amz_Date="20200101T000000Z"), id="another date"),
        pytest.param(altered(X_Amz_Date="soon"), id="no date"),
        pytest.param(without("x-amz-date"), id="date missing"),
        pytest.param(altered(X_Amz_Invocation_Type="Event"), id="signed header changed"),
        pytest.param(altered(X_Amz_Tenant_Id="other"), id="header added"),
        pytest.param(replaced("SignedHeaders=host;", "SignedHeaders="), id="host not signed"),
        pytest.param(replaced(";x-amz-invocation-type", ""), id="header not signed"),
        pytest.param(replaced("us-east-1", "eu-west-1"), id="another region"),
        pytest.param(replaced("Signature=", "Signature=0"), id="signature too long"),
        pytest.param(replaced("AKIDEXAMPLE", "AKIDOTHER"), id="another key"),
        pytest.param(replaced("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), id="another algorithm"),
        pytest.param(replaced("/lambda/", "/s3/"), id="another service"),
        pytest.param(altered(X_Amz_Content_Sha256="UNSIGNED-PAYLOAD"), id="body not signed"),
        pytest.param(without("authorization"), id="nothing"),
        pytest.param(altered(Authorization=""), id="empty"),
        pytest.param(altered(Authorization="Basic YTpi"), id="another kind"),
        pytest.param(altered(Authorization="AWS4-HMAC-SHA256 "), id="half of it"),
        pytest.param(altered(Authorization="Bearer " + "x" * 5000), id="too long"),
    ],
)
async def test_s14_what_was_altered_is_refused(
    spoil: Callable[[dict[str, str]], dict[str, str]],
) -> None:
    headers = signed(headers={"X-Amz-Invocation-Type": "RequestResponse"})
    async with api(Access(keys=(KEY,))) as client:
        reply = await client.post(INVOKE, content=b'{"a": 1}', headers=spoil(headers))
        assert reply.status_code == 403
        assert reply.headers["X-Amzn-ErrorType"] in {
            "IncompleteSignatureException",
            "InvalidSignatureException",
            "MissingAuthenticationTokenException",
            "UnrecognizedClientException",
        }
        fine = await client.post(INVOKE, content=b'{"a": 1}', headers=headers)
        assert fine.status_code == 200


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("POST", INVOKE, b'{"a": 2}'),
        ("POST", INVOKE, b""),
        ("POST", INVOKE + "&x=1", b'{"a": 1}'),
        ("POST", INVOKE.replace("echo", "one"), b'{"a": 1}'),
        ("GET", INVOKE, b'{"a": 1}'),
    ],
)
async def test_s14_another_request_is_refused(method: str, url: str, body: bytes) -> None:
    async with api(Access(keys=(KEY,))) as client:
        reply = await client.request(method, url, content=body, headers=signed())
        assert reply.status_code in {403, 405}


def _made(minutes: int) -> type[SigV4Auth]:
    """Give a signer whose clock is so many minutes ahead."""

    class Signer(SigV4Auth):
        def _modify_request_before_signing(self, request: AWSRequest) -> None:
            at = datetime.strptime(request.context["timestamp"], SIGV4_TIMESTAMP)  # noqa: DTZ007 - UTC
            request.context["timestamp"] = f"{at + timedelta(minutes=minutes):{SIGV4_TIMESTAMP}}"
            super()._modify_request_before_signing(request)  # type: ignore[misc]  # the stubs leave it out

    return Signer


@pytest.mark.parametrize(("minutes", "status"), [(-6, 403), (-4, 200), (4, 200), (6, 403)])
async def test_s14_a_signature_is_good_for_five_minutes(minutes: int, status: int) -> None:
    headers = signed(signer=_made(minutes))
    async with api(Access(keys=(KEY,))) as client:
        reply = await client.post(INVOKE, content=b'{"a": 1}', headers=headers)
        assert reply.status_code == status


class _OfOneDigit(SigV4Auth):
    """Writes the seconds of its date with one digit."""

    def _modify_request_before_signing(self, request: AWSRequest) -> None:
        request.context["timestamp"] = f"{request.context['timestamp'][:-3]}0Z"
        super()._modify_request_before_signing(request)  # type: ignore[misc]  # the stubs leave it out


async def test_s14_a_date_is_written_in_one_way() -> None:
    headers = signed(signer=_OfOneDigit)
    assert len(headers["X-Amz-Date"]) == len("20261129T12000Z")
    async with api(Access(keys=(KEY,))) as client:
        reply = await client.post(INVOKE, content=b'{"a": 1}', headers=headers)
        assert reply.status_code == 403
        assert reply.headers["X-Amzn-ErrorType"] == "IncompleteSignatureException"


class _OfYesterday(SigV4Auth):
    """Signs with the key of yesterday, as somebody could who has got hold of that one."""

    def _scope(self, request: AWSRequest) -> str:
        day = datetime.strptime(request.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return f"{day - timedelta(days=1):%Y%m%d}/us-east-1/lambda/aws4_request"

    def credential_scope(self, request: AWSRequest) -> str:
        return self._scope(request)

    def scope(self, request: AWSRequest) -> str:
        return f"{KEY.key_id}/{self._scope(request)}"

    def signature(self, string_to_sign: str, request: AWSRequest) -> str:
        key = f"AWS4{KEY.secret}".encode()
        for part in self._scope(request).split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        return hmac.digest(key, string_to_sign.encode(), "sha256").hex()


async def test_s14_the_key_of_another_day_is_refused() -> None:
    headers = signed(signer=_OfYesterday)
    async with api(Access(keys=(KEY,))) as client:
        reply = await client.post(INVOKE, content=b'{"a": 1}', headers=headers)
        assert reply.status_code == 403
        assert reply.headers["X-Amzn-ErrorType"] == "IncompleteSignatureException"


async def test_s14_a_body_may_be_left_unsigned_only_where_that_was_said() -> None:
    headers = signed(headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    for is_allowed in (False, True):
        access = Access(keys=(KEY,), allows_unsigned_payloads=is_allowed)
        async with api(access) as client:
            reply = await client.post(INVOKE, content=b'{"a": 7}', headers=headers)
            assert reply.status_code == (200 if is_allowed else 403)
            body = b'{"a": 1}'
            said = signed(headers={"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()})
            assert (await client.post(INVOKE, content=body, headers=said)).status_code == 200
            assert (await client.post(INVOKE, content=b"2", headers=said)).status_code == 403
            twice = [*headers.items(), ("X-Amz-Content-SHA256", UNSIGNED_PAYLOAD)]
            assert (await client.post(INVOKE, content=b"1", headers=twice)).status_code == 403


async def test_a_bearer_token_is_as_good_as_a_signature() -> None:
    async with api(
        Access(keys=(KEY,), tokens=(TOKEN, BearerToken("another-long-token")))
    ) as client:
        for secret, status in (
            (TOKEN.secret, 200),
            ("another-long-token", 200),
            (TOKEN.secret[:-1], 403),
            (TOKEN.secret + "x", 403),
        ):
            headers = {"Authorization": f"Bearer {secret}"}
            reply = await client.post(INVOKE, content=b"1", headers=headers)
            assert reply.status_code == status
            assert secret not in reply.text


@pytest.mark.parametrize("permission", Permission)
async def test_a_permission_allows_its_own_operations_only(permission: Permission) -> None:
    token = BearerToken("only-for-one-purpose", frozenset({permission}))
    headers = {"Authorization": f"Bearer {token.secret}", "X-Amz-Invocation-Type": "DryRun"}
    async with api(Access(tokens=(token,))) as client:
        for route in ROUTES:
            path = route.path.format(DurableExecutionArn="a", CallbackId="b", FunctionName="echo")
            query = {"IncludeExecutionData": "false"}
            reply = await client.request(route.method, path, headers=headers, params=query)
            is_denied = reply.headers.get("X-Amzn-ErrorType") == "AccessDeniedException"
            assert is_denied == (route.permission is not permission), route.path
