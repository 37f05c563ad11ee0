"""Every operation on executions, by the real boto3, over a real socket."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from durably.engine.store import Query as StoreQuery
from durably.server.routes_executions import _mark_of
from tests.server.served import SERVICE, boto_client, check_reply, served


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with served() as address:
        client = boto_client(address)
        yield client
        client.close()


def ask(client: Any, operation: str, **members: Any) -> dict[str, Any]:
    """Call an operation, and hold its reply to the model."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
    reply: dict[str, Any] = getattr(client, name)(**members)
    check_reply(operation, reply)
    return reply


def refused(client: Any, operation: str, **members: Any) -> tuple[str, int, str]:
    """Give the code, the status and the text of a refusal, which the model must know."""
    with pytest.raises(ClientError) as caught:
        ask(client, operation, **members)
    response: Any = caught.value.response
    code = response["Error"]["Code"]
    metadata = response["ResponseMetadata"]
    assert metadata["HTTPHeaders"]["x-amzn-errortype"] == code
    assert code in {shape.name for shape in SERVICE.operation_model(operation).error_shapes}
    assert type(caught.value) is not ClientError, "boto3 knows the error by a class of its own"
    return code, metadata["HTTPStatusCode"], response["Error"]["Message"]


def start(client: Any, function: str, event: object, **members: Any) -> str:
    """Start an execution that nobody waits for."""
    members = {"InvocationType": "Event", "Payload": json.dumps(event).encode(), **members}
    reply = ask(client, "Invoke", FunctionName=function, **members)
    assert reply["StatusCode"] == 202
    assert reply["Payload"].read() == b""
    arn: str = reply["DurableExecutionArn"]
    return arn


def run(client: Any, function: str, event: object, **members: Any) -> dict[str, Any]:
    """Start an execution, and wait for its end."""
    payload = json.dumps(event).encode()
    return ask(client, "Invoke", FunctionName=function, Payload=payload, **members)


def test_an_execution_is_run_and_told_of(client: Any) -> None:
    reply = run(client, "fulfil", {"id": "api", "amount": 3})
    arn = reply["DurableExecutionArn"]
    assert reply["StatusCode"] == 200
    assert reply["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in reply
    result = reply["Payload"].read().decode()
    assert json.loads(result) == {"order": {"id": "api", "amount": 3}, "total": 6}

    found = ask(client, "GetDurableExecution", DurableExecutionArn=arn)
    assert found["Status"] == "SUCCEEDED"
    assert found["Result"] == result
    assert found["ExecutionDataIncluded"] is True
    assert found["StartTimestamp"] <= found["EndTimestamp"]
    bare = ask(client, "GetDurableExecution", DurableExecutionArn=arn, IncludeExecutionData=False)
    assert bare["ExecutionDataIncluded"] is False
    assert not {"InputPayload", "Result", "Error"} & bare.keys()


def test_who_waits_may_send_and_get_six_megabytes(client: Any) -> None:
    text = "x" * (6 * 1024 * 1024 - 2)
    assert json.loads(run(client, "echo", text)["Payload"].read()) == text
    code, status, _ = refused(
        client, "Invoke", FunctionName="echo", InvocationType="Event", Payload=f'"{text}"'.encode()
    )
    assert (code, status) == ("RequestTooLargeException", 413)


def test_history_comes_in_pages_either_way_round(client: Any) -> None:
    arn = run(client, "fulfil", {"id": "pages"})["DurableExecutionArn"]
    whole = ask(client, "GetDurableExecutionHistory", DurableExecutionArn=arn)["Events"]
    assert [event["EventId"] for event in whole] == list(range(1, len(whole) + 1))
    assert whole[0]["EventType"] == "ExecutionStarted"
    assert whole[-1]["EventType"] == "ExecutionSucceeded"
    paged = client.get_paginator("get_durable_execution_history").paginate(
        DurableExecutionArn=arn, ReverseOrder=True, PaginationConfig={"PageSize": 2}
    )
    assert [event for page in paged for event in page["Events"]] == whole[::-1]
    bare = ask(
        client, "GetDurableExecutionHistory", DurableExecutionArn=arn, IncludeExecutionData=False
    )["Events"]
    assert bare[0]["ExecutionStartedDetails"]["Input"] == {"Truncated": True}


def test_executions_of_a_function_are_listed(client: Any) -> None:
    arns = [run(client, "one", number)["DurableExecutionArn"] for number in range(3)]
    newest_first = ask(client, "ListDurableExecutionsByFunction", FunctionName="one")
    listed = [one["DurableExecutionArn"] for one in newest_first["DurableExecutions"]]
    assert listed == arns[::-1]
    paged = client.get_paginator("list_durable_executions_by_function").paginate(
        FunctionName="arn:aws:lambda:us-east-1:000000000000:function:one:$LATEST",
        ReverseOrder=True,
        Statuses=["SUCCEEDED", "RUNNING"],
        StartedAfter=newest_first["DurableExecutions"][-1]["StartTimestamp"],
        PaginationConfig={"PageSize": 1},
    )
    found = [one["DurableExecutionArn"] for page in paged for one in page["DurableExecutions"]]
    assert set(found) <= set(arns)
    assert found[-1] == arns[-1]
    none = ask(
        client,
        "ListDurableExecutionsByFunction",
        FunctionName="one",
        DurableExecutionName="none",
    )
    assert none["DurableExecutions"] == []
    assert refused(client, "ListDurableExecutionsByFunction", FunctionName="nobody")[1] == 404


LIST = "ListDurableExecutionsByFunction"


def test_a_qualifier_lists_the_executions_of_that_version_alone(client: Any) -> None:
    arn = run(client, "one", 1)["DurableExecutionArn"]

    def listed(qualifier: str) -> list[str]:
        found = ask(client, LIST, FunctionName="one", Qualifier=qualifier)
        return [one["DurableExecutionArn"] for one in found["DurableExecutions"]]

    assert arn in listed("$LATEST")
    assert listed("1") == listed("prod") == listed("$LATEST.PUBLISHED") == []
    for qualifier in ("a:b", "a b", "x" * 129):
        code, status, text = refused(client, LIST, FunctionName="one", Qualifier=qualifier)
        assert (code, status) == ("InvalidParameterValueException", 400)
        assert text.startswith("Qualifier must be")


@pytest.mark.parametrize("name", ["a b", "\0", "x" * 65, "a/b", "%"])
def test_a_name_that_no_execution_can_have_is_refused(client: Any, name: str) -> None:
    code, status, text = refused(client, LIST, FunctionName="one", DurableExecutionName=name)

    assert (code, status) == ("InvalidParameterValueException", 400)
    assert text.startswith("DurableExecutionName must be 1 to 64")


def test_a_marker_is_good_for_the_listing_that_gave_it_and_for_no_other(client: Any) -> None:
    for number in range(3):
        run(client, "one", number)
    marker = ask(client, LIST, FunctionName="one", MaxItems=1)["NextMarker"]

    assert ask(client, LIST, FunctionName="one", MaxItems=2, Marker=marker)["DurableExecutions"]
    own = {"FunctionName": "one", "Marker": marker}
    place = marker.partition(".")[0]
    forged = _mark_of(b"another key", StoreQuery(function_name="one", limit=1), place)
    for other in (
        own | {"ReverseOrder": True},
        own | {"Statuses": ["RUNNING"]},
        own | {"FunctionName": "echo"},
        own | {"DurableExecutionName": "n"},
        own | {"Marker": "0.0"},
        own | {"Marker": "999999999999999999.0"},
        own | {"Marker": "0." + marker},
        own | {"Marker": f"{place}.{forged}"},
    ):
        code, status, text = refused(client, LIST, **other)
        assert (code, status) == ("InvalidParameterValueException", 400)
        assert text == "Marker is not one that this listing has given."


def test_a_name_starts_one_execution(client: Any) -> None:
    name = "named-1"
    arn = start(client, "echo", "a", DurableExecutionName=name)
    assert start(client, "echo", "a", DurableExecutionName=name) == arn
    again = run(client, "echo", "a", DurableExecutionName=name)
    assert again["DurableExecutionArn"] == arn
    assert again["Payload"].read() == b'"a"'
    code, status, _ = refused(
        client, "Invoke", FunctionName="echo", Payload=b'"b"', DurableExecutionName=name
    )
    assert (code, status) == ("DurableExecutionAlreadyStartedException", 409)


def test_an_execution_is_stopped_once(client: Any) -> None:
    arn = start(client, "long_sleep", "x")
    error = {"ErrorType": "Enough", "ErrorMessage": "of it", "StackTrace": ["a", "b"]}
    at = ask(client, "StopDurableExecution", DurableExecutionArn=arn, Error=error)
    found = ask(client, "GetDurableExecution", DurableExecutionArn=arn)
    assert (found["Status"], found["Error"]) == ("STOPPED", error)
    again = ask(client, "StopDurableExecution", DurableExecutionArn=arn)
    assert again["StopTimestamp"] == at["StopTimestamp"]


def test_an_execution_is_paused_resumed_and_deleted(client: Any) -> None:
    arn = start(client, "long_sleep", "x")
    ask(client, "PauseDurableExecution", DurableExecutionArn=arn, Reason="lunch")
    paused = ask(client, "GetDurableExecution", DurableExecutionArn=arn)
    assert paused["Status"] in {"PAUSED", "PAUSING"}
    assert paused["PauseDetails"]["Reason"] == "lunch"
    assert paused["PauseDetails"]["ExecutionTimeoutPaused"] is True
    assert refused(client, "DeleteDurableExecution", DurableExecutionArn=arn)[:2] == (
        "ResourceConflictException",
        409,
    )
    ask(client, "ResumeDurableExecution", DurableExecutionArn=arn)
    assert refused(client, "ResumeDurableExecution", DurableExecutionArn=arn)[1] == 409
    ask(client, "StopDurableExecution", DurableExecutionArn=arn)
    events = ask(client, "GetDurableExecutionHistory", DurableExecutionArn=arn)["Events"]
    assert events[-1]["EventType"] == "ExecutionStopped"
    said = events[-1]["ExecutionStoppedDetails"]["Error"]["Payload"]
    assert said == {"ErrorMessage": "Execution stopped by user request"}
    ask(client, "DeleteDurableExecution", DurableExecutionArn=arn)
    assert refused(client, "GetDurableExecution", DurableExecutionArn=arn)[1] == 404


def test_a_pause_or_a_resume_that_is_sent_again_does_nothing_again(client: Any) -> None:
    arn = start(client, "long_sleep", "x")
    pause = {"DurableExecutionArn": arn, "ClientToken": "a", "Reason": "lunch"}
    resume = {"DurableExecutionArn": arn, "ClientToken": "b"}
    ask(client, "PauseDurableExecution", **pause)
    ask(client, "ResumeDurableExecution", **resume)

    ask(client, "PauseDurableExecution", **pause)

    assert ask(client, "GetDurableExecution", DurableExecutionArn=arn)["Status"] == "RUNNING"
    ask(client, "ResumeDurableExecution", **resume)
    code, status, _ = refused(client, "PauseDurableExecution", **pause | {"Reason": "a nap"})
    assert (code, status) == ("InvalidParameterValueException", 400)
    ask(client, "PauseDurableExecution", **pause | {"ClientToken": "c"})
    assert ask(client, "GetDurableExecution", DurableExecutionArn=arn)["Status"] != "RUNNING"
    ask(client, "StopDurableExecution", DurableExecutionArn=arn)


@pytest.mark.parametrize("hostile", ["a/b", "a:b", "a$b", "a+b=", "..", "%00", "a b", "ä"])
def test_whatever_a_path_holds_is_one_name(client: Any, hostile: str) -> None:
    arn = (
        f"arn:aws:lambda:us-east-1:000000000000:function:echo:$LATEST/durable-execution/{hostile}/x"
    )
    code, status, _ = refused(client, "GetDurableExecution", DurableExecutionArn=arn)
    assert (code, status) == ("InvalidParameterValueException", 400)
    code, status, _ = refused(client, "SendDurableExecutionCallbackHeartbeat", CallbackId=hostile)
    assert (code, status) == ("ResourceNotFoundException", 404)
