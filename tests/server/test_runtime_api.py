"""Functions behind the Lambda Runtime API, driven by hand."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import httpx
import pytest

from durably.engine.arns import Home
from durably.engine.invokers import Call, FunctionError
from durably.engine.policy import StartOptions
from durably.engine.service import Service
from durably.errors import StoreReadOnlyError
from durably.server.attached import Attached, FunctionSettings
from durably.server.functions import FunctionCall
from durably.server.runtime_api import MAX_ANSWER_BYTES
from durably.wire.operation import OperationStatus
from durably.wire.update import OperationAction
from tests.server.support import (
    RUNTIME,
    request_id_of,
    runtimes,
    service_with,
    story,
    wait_for_event,
)
from tests.unit.engine.support import callback, invoke, request, step

DURABLE = FunctionSettings(name="f")
ENDED = ["ExecutionStarted", "InvocationCompleted", "ExecutionSucceeded"]


def done(result: object) -> dict[str, object]:
    return {"Status": "SUCCEEDED", "Result": json.dumps(result)}


async def test_an_execution_is_run_by_whoever_asks_for_the_next_invocation() -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        options = StartOptions(trace_id="Root=1-5", tenant_id="acme")
        arn = await service.start("f", '{"a":1}', options=options)

        taken = await client.next()
        event = taken.json()
        assert event["DurableExecutionArn"] == arn
        [root] = event["InitialExecutionState"]["Operations"]
        assert root["ExecutionDetails"] == {"InputPayload": '{"a":1}'}
        assert isinstance(root["StartTimestamp"], int)
        assert taken.headers["Lambda-Runtime-Trace-Id"] == "Root=1-5"
        assert taken.headers["Lambda-Runtime-Aws-Tenant-Id"] == "acme"
        function_arn = arn.partition("/")[0]
        assert taken.headers["Lambda-Runtime-Invoked-Function-Arn"] == function_arn
        left = int(taken.headers["Lambda-Runtime-Deadline-Ms"]) / 1000
        assert 0 < left - service.clock.now().timestamp() <= 900

        token = event["CheckpointToken"]
        update = step(action=OperationAction.SUCCEED, payload='"ok"')
        await service.checkpoint(request(arn, token, update))
        reply = await client.say(request_id_of(taken), "response", done("ok"))

        assert reply.status_code == 202
        closed = await service.wait_closed(arn)
        assert closed.result == '"ok"'
        assert await story(service, arn) == [ENDED[0], "StepStarted", "StepSucceeded", *ENDED[1:]]


async def test_what_happens_while_no_invocation_runs_makes_one() -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        arn = await service.start("f", "1")
        taken = await client.next()
        token = taken.json()["CheckpointToken"]
        reply = await service.checkpoint(request(arn, token, callback("cb")))
        details = reply.new_execution_state.operations[0].callback_details
        assert details is not None
        assert details.callback_id is not None
        await client.say(request_id_of(taken), "response", {"Status": "PENDING"})
        await service.succeed_callback(details.callback_id, '"yes"')

        taken = await client.answer(done(2))

        assert taken.json()["UpdatedOperationIds"] == ["cb"]
        assert taken.json()["CheckpointToken"] != token
        assert (await service.wait_closed(arn)).result == "2"


@pytest.mark.parametrize("trace", ["stackTrace", "trace"])
async def test_a_function_that_reports_an_error_is_called_again(trace: str) -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        arn = await service.start("f", "1")
        said = {"errorType": "OSError", "errorMessage": "no disk", trace: ["line 1"]}

        reply = await client.say(request_id_of(await client.next()), "error", said)
        await client.answer(done(1))

        assert reply.status_code == 202
        assert (await service.wait_closed(arn)).result == "1"
        error = await error_of_invocation(service, arn)
        assert error == ("OSError", "no disk", ("line 1",))


async def error_of_invocation(
    service: Service, arn: str
) -> tuple[str | None, str | None, tuple[str, ...] | None]:
    event = await wait_for_event(service, arn, "InvocationCompleted")
    assert event.invocation_completed_details is not None
    assert event.invocation_completed_details.error is not None
    error = event.invocation_completed_details.error.payload
    assert error is not None
    return error.error_type, error.error_message, error.stack_trace


@pytest.mark.parametrize(
    ("said", "headers", "expected"),
    [
        (b"\xff\xfe", {}, ("Unhandled", "")),
        (b"[1]", {"Lambda-Runtime-Function-Error-Type": "Runtime.Oops"}, ("Runtime.Oops", "")),
        (b'{"errorType": 7, "errorMessage": [], "stackTrace": "x"}', {}, ("Unhandled", "")),
        (b"[" * 100_000, {}, ("Unhandled", "")),
        (b'{"errorType": "A", "errorType": "B", "errorMessage": "m"}', {}, ("Unhandled", "")),
    ],
)
async def test_an_error_in_no_known_form_counts_all_the_same(
    said: bytes, headers: dict[str, str], expected: tuple[str, str]
) -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        arn = await service.start("f", "1")

        taken = await client.next()
        reply = await client.say(request_id_of(taken), "error", said, headers=headers)

        assert reply.status_code == 202
        assert (await error_of_invocation(service, arn))[:2] == expected


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "did not answer as a durable function"),
        (b'"just a value"', "did not answer as a durable function"),
        (b'{"Status":"DONE"}', "did not answer as a durable function"),
        (b"\xff", "did not answer as a durable function"),
        (b'{"errorType":"KeyError","errorMessage":"x"}', "x"),
        (b'{"Status":"FAILED","Status":"SUCCEEDED","Result":"1"}', "same key twice"),
        (b'{"Status":"SUCCEEDED","Result":"1","Result":"2"}', "same key twice"),
        (b'{"Status":"SUCCEEDED","Result":"1","New":NaN}', "not JSON that can be read"),
        (b'{"Status":"SUCCEEDED","New":' + b"[" * 501 + b"]" * 501 + b"}", "too deep"),
        (b'{"Status":"SUCCEEDED","Result":"\\ud800"}', "did not answer as a durable function"),
        (b'{"Status":"SUCCEEDED","Result":"NaN"}', "its result is not JSON that can be read"),
        (b'{"Status":"SUCCEEDED","Result":"hello"}', "its result is not JSON that can be read"),
        (b'{"Status":"SUCCEEDED","Result":"{\\"a\\":1,\\"a\\":2}"}', "same key twice"),
        (b'{"Status":"PENDING"}', "nothing is outstanding"),
    ],
)
async def test_an_answer_that_is_none_fails_the_invocation(answer: bytes, message: str) -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        arn = await service.start("f", "1")

        await client.answer(answer)

        error_type, said, _ = await error_of_invocation(service, arn)
        assert said is not None
        assert message in said
        assert error_type == ("KeyError" if message == "x" else "Runtime.InvalidResponse")


async def test_an_answer_that_is_too_large_fails_the_invocation() -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        arn = await service.start("f", "1")

        taken = await client.next()
        reply = await client.say(request_id_of(taken), "response", b"x" * (MAX_ANSWER_BYTES + 1))

        assert reply.status_code == 413
        assert reply.json()["errorType"] == "RequestEntityTooLarge"
        assert (await error_of_invocation(service, arn))[0] == "Function.ResponseSizeTooLarge"


async def test_late_repeated_and_foreign_answers_are_refused_and_change_nothing() -> None:
    other = FunctionSettings(name="g")
    async with (
        runtimes(DURABLE, other) as [(f, client), (g, stranger)],
        service_with({"f": f, "g": g}) as service,
    ):
        arn = await service.start("f", "1")
        taken = await client.next()
        request_id = request_id_of(taken)

        for reply in (
            await stranger.say(request_id, "response", done("foreign")),
            await stranger.say(request_id, "error", {}),
            await client.say("00000000-0000-4000-8000-000000000000", "response", done("forged")),
            await client.say("x", "response", b"x" * (MAX_ANSWER_BYTES + 1)),
        ):
            assert (reply.status_code, reply.json()["errorType"]) == (400, "InvalidRequestID")
        await client.say(request_id, "response", done("mine"))
        late = await client.say(request_id, "response", done("late"))

        assert late.status_code == 400
        assert (await service.wait_closed(arn)).result == '"mine"'


async def test_a_function_that_never_answers_hits_its_time_out() -> None:
    hasty = FunctionSettings(name="f", timeout_seconds=0.05)
    async with runtimes(hasty) as [(runtime, client)], service_with({"f": runtime}) as service:
        told = asyncio.Event()
        runtime.on_timeout = told.set
        arn = await service.start("f", "1")

        taken = await client.next()
        await told.wait()

        error_type, message, _ = await error_of_invocation(service, arn)
        assert (error_type, message) == ("Sandbox.Timedout", "Task timed out after 0.05 seconds")
        late = await client.say(request_id_of(taken), "response", done("late"))
        assert late.status_code == 400


async def test_a_call_waits_for_a_runtime_without_losing_time() -> None:
    hasty = FunctionSettings(name="f", timeout_seconds=0.05)
    async with runtimes(hasty) as [(runtime, client)]:
        call = asyncio.create_task(runtime.call(a_call()))
        await asyncio.sleep(0.1)  # longer than it may take once it has begun

        await client.answer("in time")

        assert await call == b'"in time"'


def a_call(request_id: str = "r", **changes: Any) -> Call:
    fields: dict[str, Any] = {"function_arn": "arn", "payload": lambda: b"{}"}
    return Call(request_id=request_id, **fields | changes)


@pytest.mark.parametrize("trace_id", ["Root=1\n", "Root=\u2603"])
async def test_a_call_that_cannot_be_handed_out_fails_and_the_next_one_is(trace_id: str) -> None:
    async with runtimes(DURABLE) as [(runtime, client)]:
        call = asyncio.create_task(runtime.call(a_call(trace_id=trace_id)))
        await runtime.wait_for_call()
        with suppress(httpx.RemoteProtocolError):
            await client.http.get(f"{RUNTIME}/invocation/next")

        with pytest.raises(FunctionError, match="could not be handed out"):
            await call

        assert not runtime.is_busy
        wanted = asyncio.create_task(runtime.call(a_call("s")))
        await client.answer("yes")
        assert await wanted == b'"yes"'


async def test_a_call_whose_payload_cannot_be_made_fails_and_the_next_one_is_handed_out() -> None:
    def broken() -> bytes:
        raise StoreReadOnlyError("nothing can be read")

    async with runtimes(DURABLE) as [(runtime, client)]:
        call = asyncio.create_task(runtime.call(a_call(payload=broken)))
        wanted = asyncio.create_task(runtime.call(a_call("s")))

        await client.answer("yes")

        with pytest.raises(StoreReadOnlyError):
            await call
        assert await wanted == b'"yes"'


async def test_a_runtime_that_goes_away_while_it_waits_takes_no_invocation_with_it() -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        with pytest.raises(httpx.ReadTimeout):
            await client.http.get(f"{RUNTIME}/invocation/next", timeout=0.05)

        arn = await service.start("f", "1")
        await client.answer(done(1))

        assert (await service.wait_closed(arn)).result == "1"
        assert await story(service, arn) == ENDED


async def test_what_was_stopped_while_it_waited_is_not_invoked() -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        stopped = await service.start("f", "1")
        await runtime.wait_for_call()
        await service.stop(stopped)
        wanted = await service.start("f", "2")

        taken = await client.answer(done(2))

        assert taken.json()["DurableExecutionArn"] == wanted
        assert (await service.wait_closed(stopped)).status.value == "STOPPED"


async def test_what_a_stopped_execution_answers_changes_nothing() -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        arn = await service.start("f", "1")
        taken = await client.next()
        await service.stop(arn)

        reply = await client.say(request_id_of(taken), "response", done(1))

        assert reply.status_code == 202
        assert (await service.wait_closed(arn)).status.value == "STOPPED"


async def test_an_initialisation_that_fails_fails_what_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        arn = await service.start("f", "1")
        await runtime.wait_for_call()
        said = {"errorType": "Runtime.ImportModuleError", "errorMessage": "no such module"}

        reply = await client.http.post(f"{RUNTIME}/init/error", json=said)

        assert reply.status_code == 202
        assert (await error_of_invocation(service, arn))[0] == "Runtime.ImportModuleError"
        why = "f could not be initialised: Runtime.ImportModuleError: no such module"
        assert why in caplog.messages
        await client.next()
        refused = await client.http.post(f"{RUNTIME}/init/error", json=said)
        assert (refused.status_code, refused.json()["errorType"]) == (403, "InvalidStateTransition")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example:80"},
        {"Host": "127.0.0.1.evil.example:80"},
    ],
)
async def test_no_web_page_takes_an_invocation(headers: dict[str, str]) -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        arn = await service.start("f", "1")

        reply = await client.http.get(f"{RUNTIME}/invocation/next", headers=headers)
        await client.answer(done(1))

        assert reply.status_code == 403
        assert (await service.wait_closed(arn)).result == "1"


async def test_a_plain_function_is_called_with_the_input_and_its_answer_is_the_result() -> None:
    plain = FunctionSettings(name="g", is_durable=False)
    async with (
        runtimes(DURABLE, plain) as [(f, client), (g, worker)],
        service_with({"f": f, "g": g}) as service,
    ):
        arn = await service.start("f", "1")
        taken = await client.next()
        token = taken.json()["CheckpointToken"]
        await service.checkpoint(request(arn, token, invoke("i", "g", payload='{"x": 1}')))
        await client.say(request_id_of(taken), "response", {"Status": "PENDING"})

        called = await worker.answer(b'{"y":  2}')

        assert called.content == b'{"x": 1}'
        taken = await client.answer(done(1))
        operations = taken.json()["InitialExecutionState"]["Operations"]
        assert operations[1]["ChainedInvokeDetails"] == {"Result": '{"y":  2}'}


async def test_the_error_of_a_plain_function_is_the_error_of_the_invoke() -> None:
    plain = FunctionSettings(name="g", is_durable=False)
    async with (
        runtimes(plain) as [(g, worker)],
        service_with({"g": g}) as service,
    ):
        arn = await service.start("g", None)
        taken = await worker.next()
        assert taken.content == b"null"

        await worker.say(request_id_of(taken), "error", {"errorType": "E", "errorMessage": "m"})

        closed = await service.wait_closed(arn)
        assert closed.status.value == "FAILED"
        assert closed.error is not None
        assert (closed.error.error_type, closed.error.error_message) == ("E", "m")


@pytest.mark.parametrize("answer", [b"\xff", b"hello", b"NaN", b'{"a": 1, "a": 2}'])
async def test_an_answer_of_a_plain_function_that_is_no_json_fails_it_for_good(
    answer: bytes,
) -> None:
    plain = FunctionSettings(name="g", is_durable=False)
    async with runtimes(plain) as [(g, worker)], service_with({"g": g}) as service:
        arn = await service.start("g", "1")

        await worker.answer(answer)

        closed = await service.wait_closed(arn)
        assert closed.status.value == "FAILED"
        assert closed.error is not None
        assert closed.error.error_type == "Runtime.InvalidResponse"
        assert await story(service, arn) == [
            "ExecutionStarted",
            "InvocationCompleted",
            "ExecutionFailed",
        ]


async def test_an_answer_nested_too_deep_is_no_answer_and_tells_nothing_of_the_server() -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        arn = await service.start("f", "1")

        await client.answer(b"[" * 100_000)

        error_type, message, trace = await error_of_invocation(service, arn)
        assert error_type == "Runtime.InvalidResponse"
        assert message is not None
        assert message.startswith("it did not answer as a durable function does")
        assert trace is None


async def test_a_direct_call_gives_the_bytes_or_raises_what_the_function_said() -> None:
    plain = FunctionSettings(name="g", is_durable=False)
    async with runtimes(plain) as [(g, worker)]:
        call = asyncio.create_task(g.call(a_call()))
        taken = await worker.next()
        said = b'{"errorType": "E",  "errorMessage": "m"}'
        await worker.say(request_id_of(taken), "error", said)

        with pytest.raises(FunctionError, match="E: m") as failure:
            await call

        assert failure.value.payload == said


async def test_a_posted_call_that_fails_is_logged_and_given_up_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with runtimes(FunctionSettings(name="g", is_durable=False)) as [(g, worker)]:
        attached = Attached({}, [g], Home())
        info = attached.find("g", None)
        assert info is not None
        assert attached.find("g", "7") is None
        await attached.post(FunctionCall(function=info, payload=b""))
        taken = await worker.next()
        assert taken.content == b"null"
        await worker.say(request_id_of(taken), "error", {"errorType": "E", "errorMessage": "m"})
        while "a posted call failed" not in caplog.messages:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.01)
        await attached.post(FunctionCall(function=info, payload=b""))
        await worker.next()

        await attached.close()

    ours = [record.message for record in caplog.records if record.name.startswith("durably")]
    assert ours == ["a posted call failed"]
    assert not g.is_busy


async def test_an_abandoned_call_is_not_handed_out() -> None:
    async with runtimes(DURABLE) as [(runtime, client)]:
        abandoned = asyncio.create_task(runtime.call(a_call()))
        await runtime.wait_for_call()
        abandoned.cancel()
        await asyncio.gather(abandoned, return_exceptions=True)
        wanted = asyncio.create_task(runtime.call(a_call("s")))

        taken = await client.answer("yes")

        assert request_id_of(taken) == "s"
        assert await wanted == b'"yes"'


async def test_a_remote_step_that_failed_is_seen_ready_by_its_next_invocation() -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        arn = await service.start("f", "1")
        taken = await client.next()
        await service.checkpoint(request(arn, taken.json()["CheckpointToken"], step("s")))

        await client.say(request_id_of(taken), "error", {"errorType": "E", "errorMessage": ""})
        again = await client.next()

        operations = again.json()["InitialExecutionState"]["Operations"]
        assert [one["Status"] for one in operations] == [OperationStatus.STARTED] * 2


async def test_an_execution_times_out_though_its_function_never_answers() -> None:
    async with runtimes(DURABLE) as [(runtime, client)], service_with({"f": runtime}) as service:
        arn = await service.start("f", "1", options=StartOptions(timeout_seconds=1))
        taken = await client.next()

        closed = await service.wait_closed(arn)

        assert closed.status.value == "TIMED_OUT"
        late = await client.say(request_id_of(taken), "response", done("late"))
        assert late.status_code == 202
        assert (await service.get(arn)).result is None
