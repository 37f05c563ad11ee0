"""Whatever is wrong with a request, it is refused in the service's shape, and changes nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

from durably.engine.arns import Home
from tests.server.hostile import BODIES, MIB, Target, check_refusal, target

INVOKE = "/2015-03-31/functions/echo/invocations"


@pytest.fixture
async def api() -> AsyncIterator[Target]:
    async with target() as made:
        yield made


def json_operations(api: Target) -> list[str]:
    return [
        api.execution(verb="/checkpoint"),
        api.execution(verb="/stop"),
        api.execution(verb="/pause"),
        api.execution(verb="/resume"),
        api.callback("fail"),
    ]


async def refuse(api: Target, method: str, path: str, **sent: Any) -> None:
    before = await api.state()
    async with asyncio.timeout(8):  # what is taken instead of refused may wait for ever
        reply = await api.client.request(method, path, **sent)
    check_refusal(reply)
    assert await api.state() == before


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_is_no_json_object(api: Target, body: bytes) -> None:
    for path in json_operations(api):
        await refuse(api, "POST", path, content=body)


@pytest.mark.parametrize(
    "body",
    [
        one
        for name, one in BODIES.items()
        if name not in {"null", "a number", "text", "truth", "a list", "a zero"}
    ]
    + [b'{"a":1,"a":2}'],
)
async def test_a_payload_that_is_no_json(api: Target, body: bytes) -> None:
    await refuse(api, "POST", INVOKE, content=body)
    await refuse(api, "POST", INVOKE, content=body, headers={"X-Amz-Invocation-Type": "Event"})


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("checkpoint", 16 * MIB),
        ("stop", 8 * MIB),
        ("pause", MIB),
        ("fail", 8 * MIB),
        ("succeed", MIB),
        ("heartbeat", MIB),
        ("invoke", 6 * MIB),
    ],
)
async def test_a_body_that_is_too_long(api: Target, path: str, limit: int) -> None:
    paths = {
        "fail": api.callback("fail"),
        "heartbeat": api.callback("heartbeat"),
        "invoke": INVOKE,
        "succeed": api.callback("succeed"),
    }
    for size in (limit + 1, 50 * MIB):
        where = paths.get(path) or api.execution(verb=f"/{path}")
        await refuse(api, "POST", where, content=b" " * size)


async def test_an_event_takes_less_than_a_request(api: Target) -> None:
    payload = json.dumps("x" * MIB).encode()
    await refuse(api, "POST", INVOKE, content=payload, headers={"X-Amz-Invocation-Type": "Event"})


async def test_a_get_has_no_body(api: Target) -> None:
    await refuse(api, "GET", api.execution(), content=b"x")


UPDATE = {"Id": "a", "Type": "STEP", "Action": "START", "SubType": "Step", "Name": "n"}
WRONG: dict[str, list[Any]] = {
    "Id": [None, 7, "", "a b", "ä", "x" * 65, ["a"], {}],
    "ParentId": [7, "", "x" * 65, "nobody"],
    "Name": [7, "", "ä", "a\nb", "x" * 257],
    "Type": [None, 7, "", "step", "CANARY-canary"],
    "SubType": [7, "", "x" * 33],
    "Action": [None, 7, "", "start", "CANCEL"],
    "Payload": [7, {}, "x" * (6 * MIB + 1)],
    "Error": [7, "", [], {"ErrorType": 7}, {"StackTrace": "x"}, {"StackTrace": [7]}],
    "ContextOptions": [7, {"ReplayChildren": "yes"}],
    "StepOptions": [7, {}, {"NextAttemptDelaySeconds": "1"}, {"NextAttemptDelaySeconds": 1.5}],
}


@pytest.mark.parametrize("field", WRONG)
async def test_a_member_that_is_not_legal(api: Target, field: str) -> None:
    for value in WRONG[field]:
        body = {"CheckpointToken": api.token, "Updates": [{**UPDATE, field: value}]}
        await refuse(api, "POST", api.execution(verb="/checkpoint"), json=body)


@pytest.mark.parametrize(
    "options",
    [
        {"Type": "WAIT", "WaitOptions": {"WaitSeconds": 0}},
        {"Type": "WAIT", "WaitOptions": {"WaitSeconds": 31_622_401}},
        {"Type": "WAIT", "WaitOptions": {"WaitSeconds": 10**400}},
        {"Type": "WAIT", "WaitOptions": {}},
        {"Type": "WAIT"},
        {"Type": "CALLBACK", "CallbackOptions": {"TimeoutSeconds": -1}},
        {"Type": "CALLBACK", "CallbackOptions": {"HeartbeatTimeoutSeconds": 10**9}},
        {"Type": "CALLBACK", "CallbackOptions": {"TimeoutSeconds": True}},
        {"Type": "CHAINED_INVOKE"},
        {"Type": "CHAINED_INVOKE", "ChainedInvokeOptions": {}},
        {"Type": "CHAINED_INVOKE", "ChainedInvokeOptions": {"FunctionName": ""}},
        {"Type": "CHAINED_INVOKE", "ChainedInvokeOptions": {"FunctionName": "x" * 257}},
        {"Type": "CHAINED_INVOKE", "ChainedInvokeOptions": {"FunctionName": "one", "TenantId": ""}},
        *(
            {"Type": "CHAINED_INVOKE", "ChainedInvokeOptions": {"FunctionName": "one", **said}}
            for said in (
                {"TenantId": " a"},
                {"XAmznTraceId": ""},
                {"XAmznTraceId": " Root=1"},
                {"XAmznTraceId": "Root=1\r\nHost: evil.example"},
                {"XAmznTraceId": "Root=\u00e9"},
                {"XAmznTraceId": "x" * 8193},
            )
        ),
    ],
    ids=lambda options: str(options)[:100],
)
async def test_an_option_that_is_not_legal(api: Target, options: dict[str, Any]) -> None:
    update = {**UPDATE, "SubType": None, **options}
    body = {"CheckpointToken": api.token, "Updates": [update]}
    await refuse(api, "POST", api.execution(verb="/checkpoint"), json=body)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"CheckpointToken": None},
        {"CheckpointToken": 7},
        {"CheckpointToken": ""},
        {"CheckpointToken": "x" * 3000},
        {"Updates": None},
        {"Updates": {}},
        {"Updates": "x"},
        {"Updates": [None]},
        {"Updates": [{}]},
        {"Updates": [UPDATE, UPDATE]},
        {"ClientToken": 7},
        {"ClientToken": ""},
        {"ClientToken": "a b"},
        {"ClientToken": "x" * 65},
    ],
    ids=str,
)
async def test_a_checkpoint_that_is_not_legal(api: Target, members: dict[str, Any]) -> None:
    token = {"CheckpointToken": api.token} if members else {}
    body = {**token, "Updates": [UPDATE], **members}
    await refuse(api, "POST", api.execution(verb="/checkpoint"), json=body)


async def test_what_is_not_known_is_left_alone(api: Target) -> None:
    body = {"CheckpointToken": api.token, "Future": {"a": 1}, "Updates": [{**UPDATE, "New": 1}]}
    reply = await api.client.post(api.execution(verb="/checkpoint"), json=body)
    assert reply.status_code == 200


MANY = 4_000_000
CROWDED = {
    "lists": b"[" + b"[]," * MANY + b"[]]",
    "nested lists": b"[" * 500 + b"]" * 500 + (b",[[[[]]]]" * (MANY // 4)),
    "objects": b"[" + b"{}," * MANY + b"{}]",
    "members": b"{" + b",".join(b'"%x":0' % number for number in range(MANY // 4)) + b"}",
    "text": b"[" + b'"",' * MANY + b'""]',
    "numbers": b"[" + b"0," * MANY + b"0]",
}


@pytest.mark.parametrize("crowd", CROWDED)
async def test_a_body_of_more_values_than_any_needs_is_not_read(api: Target, crowd: str) -> None:
    body = b'{"CheckpointToken": "forged", "Future": ' + CROWDED[crowd] + b"}"
    reply = await api.client.post(api.execution(verb="/checkpoint"), content=body)
    check_refusal(reply)
    assert reply.json()["message"].startswith("The body has more than 100,000 lists, objects")


@pytest.mark.parametrize("payload", ["[]," * 200_000, '{"a": "\\\\"},' * 60_000, '"",' * 200_000])
async def test_what_a_payload_holds_is_not_counted(api: Target, payload: str) -> None:
    update = {"Id": "a", "Type": "STEP", "Action": "SUCCEED", "SubType": "Step"}
    body = {"CheckpointToken": api.token, "Updates": [{**update, "Payload": payload}]}
    reply = await api.client.post(api.execution(verb="/checkpoint"), json=body)
    assert reply.status_code == 200, reply.text


async def test_more_updates_than_are_sent_at_once_are_taken(api: Target) -> None:
    updates = [{**UPDATE, "Id": f"step-{number}"} for number in range(5_000)]
    body = {"CheckpointToken": api.token, "Updates": updates}
    reply = await api.client.post(api.execution(verb="/checkpoint"), json=body)
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize(
    "members",
    [
        {"Reason": 7},
        {"Reason": "x" * 1025},
        {"ClientToken": "a b"},
        {"ClientToken": ["a"]},
        {"ExecutionTimeoutPaused": "yes"},
        {"ExecutionTimeoutPaused": 1},
    ],
    ids=str,
)
async def test_a_pause_that_is_not_legal(api: Target, members: dict[str, Any]) -> None:
    await refuse(api, "POST", api.execution(verb="/pause"), json=members)


@pytest.mark.parametrize(
    "error",
    [
        {"ErrorType": 7},
        {"ErrorMessage": ["canary"]},
        {"ErrorData": {}},
        {"StackTrace": "canary"},
        {"StackTrace": [None]},
        {"ErrorMessage": "x" * (MIB + 1)},
        {"StackTrace": ["x" * MIB, "y"]},
    ],
    ids=lambda error: str(error)[:40],
)
async def test_an_error_that_is_not_legal(api: Target, error: dict[str, Any]) -> None:
    await refuse(api, "POST", api.callback("fail"), json=error)
    await refuse(api, "POST", api.execution(verb="/stop"), json=error)


@pytest.mark.parametrize(
    "query",
    [
        "MaxItems=-1",
        "MaxItems=1001",
        "MaxItems=1e3",
        "MaxItems=" + "9" * 5000,
        "MaxItems=%D9%A1",
        "MaxItems=1&MaxItems=2",
        "Marker=%00",
        "Marker=..%2F..",
        "Marker=-1",
        "Marker=" + "9" * 30,
        "Marker=" + "x" * 5000,
        "Marker=%FF",
        "ReverseOrder=yes",
        "ReverseOrder=1",
        "&".join(f"a{n}=" for n in range(200)),
    ],
    ids=lambda query: query[:20],
)
async def test_a_query_that_is_not_legal(api: Target, query: str) -> None:
    token = api.token.replace("+", "%2B")
    paths = [
        api.execution(verb="/history") + f"?{query}",
        f"/2025-12-01/functions/echo/durable-executions?{query}",
    ]
    if "Reverse" not in query:
        paths.append(api.execution(verb="/state") + f"?CheckpointToken={token}&{query}")
    for path in paths:
        await refuse(api, "GET", path)


@pytest.mark.parametrize("marker", ["0", "00", "1", "9", "01"])
async def test_a_marker_of_a_state_that_has_no_such_operation(api: Target, marker: str) -> None:
    token = api.token.replace("+", "%2B")
    await refuse(api, "GET", api.execution(verb=f"/state?CheckpointToken={token}&Marker={marker}"))


@pytest.mark.parametrize(
    "query",
    [
        "Statuses=DONE",
        "&".join(["Statuses=RUNNING"] * 11),
        "StartedAfter=yesterday",
        "StartedAfter=",
        "StartedBefore=99999-01-01",
        "StartedBefore=1e400",
        "Qualifier=7",
        "Qualifier=..",
    ],
    ids=lambda query: query[:20],
)
async def test_a_listing_that_is_not_legal(api: Target, query: str) -> None:
    path = f"/2025-12-01/functions/nobody/durable-executions?{query}"
    await refuse(api, "GET", path)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Amz-Invocation-Type": "event"},
        {"X-Amz-Invocation-Type": ""},
        {"X-Amz-Durable-Execution-Name": ""},
        {"X-Amz-Durable-Execution-Name": "a/b"},
        {"X-Amz-Durable-Execution-Name": "x" * 65},
        {"X-Amz-Durable-Execution-Name": "../../etc/passwd"},
        {"X-Amz-Tenant-Id": ""},
        {"X-Amz-Tenant-Id": "x" * 257},
        {"X-Amz-Tenant-Id": "a\tb"},
        {"X-Amz-Tenant-Id": "a "},
        {"X-Amzn-Trace-Id": "x" * 8193},
        {"X-Amzn-Trace-Id": ""},
        {"X-Amzn-Trace-Id": " Root=1"},
        {"X-Amzn-Trace-Id": "Root=1\tParent=2"},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "identity, br"},
        {"Content-Type": "text/plain"},
        {f"X-{n}": "x" for n in range(101)},
        {"X-Long": "x" * 40_000},
    ],
    ids=lambda headers: str(headers)[:40],
)
async def test_headers_that_are_not_legal(api: Target, headers: dict[str, str]) -> None:
    await refuse(api, "POST", INVOKE, content=b"1", headers=headers)


LABELS = ["%00", "%2E%2E%2F", "%2F", "a%2Fb", "%FF", "%", "%zz", "%25", "a%0Ab", "x" * 1025]


@pytest.mark.parametrize("label", LABELS, ids=lambda label: label[:10])
async def test_a_path_that_leads_nowhere(api: Target, label: str) -> None:
    for method, path in (
        ("GET", f"/2025-12-01/durable-executions/{label}"),
        ("POST", f"/2025-12-01/durable-executions/{label}/stop"),
        ("DELETE", f"/2025-12-01/durable-executions/{label}"),
        ("POST", f"/2025-12-01/durable-execution-callbacks/{label}/heartbeat"),
        ("GET", f"/2025-12-01/functions/{label}/durable-executions"),
        ("GET", f"/2015-03-31/functions/{label}"),
        ("POST", f"/2015-03-31/functions/{label}/invocations"),
    ):
        await refuse(api, method, path)


@pytest.mark.parametrize("verb", ["invocations", "durable-executions"])
@pytest.mark.parametrize("zero", ["\u0660", "\uff10"])
async def test_digits_of_other_scripts_are_none(api: Target, verb: str, zero: str) -> None:
    good = Home().function_arn("echo", "$LATEST")
    bad = good.replace("0" * 12, zero * 12)
    version = "2015-03-31" if verb == "invocations" else "2025-12-01"
    method = "POST" if verb == "invocations" else "GET"

    await refuse(api, method, f"/{version}/functions/{quote(bad, safe='')}/{verb}")

    dry = {"X-Amz-Invocation-Type": "DryRun"}
    path = f"/{version}/functions/{quote(good, safe='')}/{verb}"
    assert (await api.client.request(method, path, headers=dry)).status_code in (200, 204)
