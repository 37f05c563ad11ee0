"""How `durably dev` ends, and what those are told who wait for it."""

import json
import signal
import sys
from pathlib import Path
from textwrap import dedent
from threading import Event, Thread
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.server.dev_server import Server, dev_server
from tests.server.served import boto_client

SMALL_RUNTIME = Path(__file__).parents[1] / "server" / "small_runtime.py"
STORE = ("--store", "sqlite:durably.db", "--port", "0")
SLOW = dedent(
    """
    import asyncio
    from pathlib import Path
    from durably import DurableContext, durable_execution

    async def work() -> str:
        Path("at work").open("a").write("x")
        while not Path("let go").exists():
            await asyncio.sleep(0.01)
        return "done"

    @durable_execution
    async def slow(event: dict, ctx: DurableContext) -> str:
        return await ctx.step("work", work)

    @durable_execution
    async def asleep(event: dict, ctx: DurableContext) -> None:
        await ctx.wait("nap", 1000)
    """
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "slow.py").write_text(SLOW)
    return tmp_path


class _Asking:
    """An Invoke that waits, as a client makes it that tries again by itself, as boto3 does."""

    def __init__(self, server: Server, name: str) -> None:
        self.reply: Any = None
        self._client = boto_client(server.endpoint, max_attempts=3)
        self._name = name
        self._thread = Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        try:
            self.reply = self._client.invoke(FunctionName=self._name, Payload="{}")
        except ClientError as refusal:
            self.reply = refusal.response

    def answer(self) -> Any:
        self._thread.join(20)
        return self.reply


def _until(folder: Path, name: str) -> None:
    while not (folder / name).exists():
        Event().wait(0.01)


def test_whoever_waits_is_told_that_the_execution_goes_on_without_the_server(folder: Path) -> None:
    with dev_server(folder, "slow.py", options=STORE) as server:
        asking = _Asking(server, "asleep")
        found: list[Any] = []
        while not found:
            reply = server.client.list_durable_executions_by_function(FunctionName="asleep")
            found = reply["DurableExecutions"]
        arn = found[0]["DurableExecutionArn"]
        assert server.stop() == 0

        refusal = asking.answer()

    assert refusal["Error"]["Code"] == "ResourceConflictException"
    assert arn in refusal["Error"]["Message"]
    assert refusal["ResponseMetadata"]["HTTPHeaders"]["x-amz-durable-execution-arn"] == arn
    assert refusal["ResponseMetadata"]["RetryAttempts"] == 0
    assert not any("ERROR" in line for line in server.said), server.said
    with dev_server(folder, "slow.py", options=STORE) as server:
        reply = server.client.list_durable_executions_by_function(FunctionName="asleep")
        assert [one["DurableExecutionArn"] for one in reply["DurableExecutions"]] == [arn]


def test_a_server_that_ends_starts_nothing_that_somebody_would_wait_for(folder: Path) -> None:
    with dev_server(folder, "slow.py", options=STORE) as server:
        asking = _Asking(server, "slow")
        _until(folder, "at work")
        server.process.send_signal(signal.SIGTERM)
        server.until_said("Ending")

        with pytest.raises(ClientError) as refusal:
            server.invoke("asleep", {})
        found = server.client.list_durable_executions_by_function(FunctionName="asleep")
        (folder / "let go").touch()

        assert refusal.value.response["Error"]["Code"] == "ServiceException"
        assert "has started nothing" in str(refusal.value)
        assert found["DurableExecutions"] == []
        assert json.loads(asking.answer()["Payload"].read()) == "done"


@pytest.mark.parametrize("grace", ["0", "60"])
@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_what_the_end_of_the_server_cuts_off_counts_as_no_failure(
    folder: Path, grace: str, *, is_elsewhere: bool
) -> None:
    hanging = SMALL_RUNTIME.read_text().replace("do(json.loads(event))", "do({'do': 'hang'})")
    (folder / "hanging.py").write_text(hanging)
    options = (*STORE, "--grace", grace, "--park-after", "1")
    words = ["--function", f"slow={sys.executable} hanging.py"] if is_elsewhere else ["slow.py"]
    with dev_server(folder, *words, options=options) as server:
        reply = server.client.invoke(FunctionName="slow", Payload="{}", InvocationType="Event")
        arn = reply["DurableExecutionArn"]
        _until(folder, "hanging" if is_elsewhere else "at work")
        server.process.send_signal(signal.SIGINT)
        if grace != "0":
            server.until_said("Ctrl-C ends that")
            server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
    (folder / "let go").touch()

    with dev_server(folder, "slow.py", options=STORE) as server:
        while "ExecutionSucceeded" not in server.event_types(arn):
            Event().wait(0.05)
