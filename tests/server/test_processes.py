"""Functions in processes of their own, and what becomes of those that die."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from durably.engine.invokers import Call, FunctionError
from durably.errors import ValidationError
from durably.server.attached import FunctionSettings
from durably.server.processes import (
    START_SECONDS,
    FunctionProcess,
    Surroundings,
    split_command,
)
from tests.server.dev_server import dev_server
from tests.server.support import RUNTIME, RuntimeClient, runtimes, service_with, wait_for_event

pytestmark = pytest.mark.process
SCRIPT = Path(__file__).with_name("small_runtime.py")


@dataclass
class Running:
    """A function in a process, and what was said of it."""

    process: FunctionProcess = field(init=False)
    client: RuntimeClient = field(init=False)
    said: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    most_in_turn: int = 0
    _in_turn: int = 0

    def say(self, lines: str) -> None:
        self.said.extend(lines.split("\n"))
        self.news.set()
        self._in_turn += 1 + lines.count("\n")
        self.most_in_turn = max(self.most_in_turn, self._in_turn)
        asyncio.get_running_loop().call_soon(self.end_turn)

    def end_turn(self) -> None:
        self._in_turn = 0

    async def until_said(self, text: str) -> None:
        while not any(text in line for line in self.said):
            self.news.clear()
            await self.news.wait()

    async def do(self, what: str) -> Any:
        payload = json.dumps({"do": what}).encode()
        call = Call(request_id=what, function_arn="arn", payload=lambda: payload)
        return json.loads(await self.process.runtime.call(call))


@asynccontextmanager
async def running(
    folder: Path,
    *words: str,
    settings: FunctionSettings | None = None,
    command: str = "",
    **how: Any,
) -> AsyncIterator[Running]:
    settings = settings or FunctionSettings(name="f", is_durable=False)
    environ = {**os.environ, "AWS_PROFILE": "production", "AWS_SESSION_TOKEN": "secret"}
    around = Surroundings(
        endpoint="http://127.0.0.1:9000", region="local", folder=folder, environ=environ
    )
    command = command or f"{sys.executable} {SCRIPT} {' '.join(words)}"
    async with runtimes(settings) as [(runtime, client)]:
        function = Running()
        environ = around.environ_for(settings, command, client.http.base_url.port or 0)
        function.client = client
        function.process = FunctionProcess(runtime, command, environ, folder, function.say, **how)
        work = asyncio.create_task(function.process.run())
        try:
            yield function
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def test_a_function_is_told_what_lambda_would_tell_it(tmp_path: Path) -> None:
    settings = FunctionSettings(name="f", is_durable=False, timeout_seconds=30, memory_mb=512)
    async with running(tmp_path, "app.handler", settings=settings) as function:
        environ = await function.do("environ")
        await function.until_said("here I am")

    port = environ.pop("AWS_LAMBDA_RUNTIME_API").partition("127.0.0.1:")[2]
    assert 0 < int(port) < 65_536
    assert environ == {
        "AWS_ACCESS_KEY_ID": "durably",
        "AWS_DEFAULT_REGION": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL_LAMBDA": "http://127.0.0.1:9000",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "30",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_REGION": "local",
        "AWS_SECRET_ACCESS_KEY": "durably",
        "LAMBDA_TASK_ROOT": str(tmp_path),
        "_HANDLER": "app.handler",
    }


@pytest.mark.parametrize(
    ("how", "said"), [("die", "exit status 7"), ("be killed", "signal: SIGKILL")]
)
async def test_a_process_that_dies_fails_its_call_at_once_and_is_started_again(
    tmp_path: Path, how: str, said: str
) -> None:
    async with running(tmp_path) as function:
        first = await function.do("pid")

        with pytest.raises(FunctionError, match=said) as failure:
            await function.do(how)

        assert failure.value.error_type == "Runtime.ExitError"
        assert await function.do("pid") != first


async def test_a_death_is_noticed_while_a_daemon_holds_the_output(tmp_path: Path) -> None:
    async with running(tmp_path) as function:
        with pytest.raises(FunctionError, match="exit status 0") as failure:
            await function.do("leave a daemon")

        assert failure.value.error_type == "Runtime.ExitError"
        assert isinstance(await function.do("pid"), int)
        os.kill(int((tmp_path / "daemon").read_text()), signal.SIGKILL)  # it lives


async def test_a_process_that_does_not_answer_in_time_is_ended(tmp_path: Path) -> None:
    settings = FunctionSettings(name="f", is_durable=False, timeout_seconds=0.5)
    async with running(tmp_path, settings=settings) as function:
        first = await function.do("pid")

        with pytest.raises(FunctionError, match=r"timed out after 0\.50 seconds") as failure:
            await function.do("hang")

        assert failure.value.error_type == "Sandbox.Timedout"
        await function.until_said("did not answer within 0.5 s")
        assert await function.do("pid") != first


async def test_one_that_cannot_begin_fails_what_waits_and_is_started_ever_later(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, "broken") as function:
        with pytest.raises(FunctionError, match="exit status 3") as failure:
            await function.do("pid")

        assert failure.value.error_type == "Runtime.ExitError"
        await function.until_said("started again in 0.25 s")
        await function.until_said("started again in 0.5 s")


async def test_what_waits_for_one_that_cannot_begin_fails_with_what_it_reports(
    tmp_path: Path,
) -> None:
    async with running(tmp_path, "unready") as function:
        with pytest.raises(FunctionError, match="no numpy"):
            await function.do("pid")
        late = asyncio.create_task(function.do("pid"))
        await asyncio.sleep(0)
        (tmp_path / "leave").touch()

        with pytest.raises(FunctionError, match="no numpy") as failure:
            await late

        assert failure.value.error_type == "Runtime.ImportModuleError"


@pytest.mark.parametrize(("start_seconds", "timeout_seconds"), [(0.3, 0.1), (0.1, 0.3)])
async def test_one_that_never_asks_for_an_invocation_is_ended_and_fails_what_waits(
    tmp_path: Path, start_seconds: float, timeout_seconds: float
) -> None:
    settings = FunctionSettings(name="f", is_durable=False, timeout_seconds=timeout_seconds)
    async with running(
        tmp_path, command="sleep 600", settings=settings, start_seconds=start_seconds
    ) as function:
        with pytest.raises(FunctionError, match="signal: SIGKILL") as failure:
            await function.do("pid")

        assert failure.value.error_type == "Runtime.ExitError"
        assert function.said[0].startswith(
            "did not ask for an invocation within 0.3 seconds (at AWS_LAMBDA_RUNTIME_API"
        )
        await function.until_said("started again in 0.25 s")


async def test_one_that_has_asked_may_wait_for_as_long_as_it_likes(tmp_path: Path) -> None:
    settings = FunctionSettings(name="f", is_durable=False, timeout_seconds=0.1)
    async with running(
        tmp_path, command="sleep 1", settings=settings, start_seconds=0.5
    ) as function:
        asking = asyncio.create_task(function.client.next())  # in its place
        await function.until_said("the process ended")
        asking.cancel()

    assert function.said[0] == "the process ended: exit status 0"


async def test_one_that_asks_once_and_goes_silent_is_ended_and_fails_what_waits(
    tmp_path: Path,
) -> None:
    settings = FunctionSettings(name="f", is_durable=False, timeout_seconds=0.1)
    async with running(
        tmp_path, command="sleep 600", settings=settings, start_seconds=0.3
    ) as function:
        with pytest.raises(httpx.ReadTimeout):  # in its place, and for no longer
            await function.client.http.get(f"{RUNTIME}/invocation/next", timeout=0.05)
        while function.process.runtime.asking:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)

        with pytest.raises(FunctionError, match="signal: SIGKILL"):
            await function.do("pid")

    ended = "did not ask for an invocation within 0.3 seconds"
    assert (
        sum(line.startswith(ended) for line in function.said) == 2
    )  # the second one did not ask at all


def test_nothing_of_it_is_left_when_the_server_is_killed(tmp_path: Path) -> None:
    shell = f"sh -c '{sys.executable} {SCRIPT}; true'"
    with dev_server(tmp_path, "--plain-function", f"f={shell}") as server:
        call = b'{"do": "hang"}'  # or it would notice by itself, as it asks for the next one
        server.client.invoke(FunctionName="f", InvocationType="Event", Payload=call)
        while not (tmp_path / "hanging").exists():
            Event().wait(0.01)
        server.process.kill()
        server.process.wait()

    with (tmp_path / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # free once it is gone


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.5, "0.5"), (3, "3"), (900.0, "900"), (1_000_000.0, "1000000")]
)
def test_a_time_out_is_told_in_digits(tmp_path: Path, seconds: float, said: str) -> None:
    settings = FunctionSettings(name="f", timeout_seconds=seconds)
    around = Surroundings(endpoint="", region="local", folder=tmp_path, environ={})
    environ = around.environ_for(settings, "app", 1)
    assert environ["AWS_LAMBDA_FUNCTION_TIMEOUT"] == said


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 1e300])
def test_a_time_out_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ValidationError, match="at most 366 days"):
        FunctionSettings(name="f", timeout_seconds=seconds)


def test_a_process_has_ten_seconds_to_ask_for_an_invocation() -> None:
    """As long as Lambda gives one, and far longer than a test may wait."""
    assert START_SECONDS == 10


async def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    async with running(tmp_path, command="no-such-program --fast") as function:
        await function.until_said("no-such-program cannot be started: No such file or directory")


async def test_a_reload_lets_what_runs_end_and_hands_nothing_out_meanwhile(tmp_path: Path) -> None:
    async with running(tmp_path) as function:
        first = await function.do("pid")

        await function.process.reload()

        assert await function.do("pid") != first
        assert not any("ended" in line for line in function.said)


async def test_a_reload_leaves_what_runs_its_time(tmp_path: Path) -> None:
    settings = FunctionSettings(name="f", is_durable=False, timeout_seconds=1)
    async with running(tmp_path, settings=settings) as function:
        first = await function.do("pid")
        hanging = asyncio.create_task(function.do("hang"))
        while not function.process.runtime.is_busy:  # noqa: ASYNC110 - it tells nobody when it is
            await asyncio.sleep(0.01)

        reloading = asyncio.create_task(function.process.reload())
        await function.until_said("it is started anew")
        await function.process.reload()  # to ask again does no more
        assert not reloading.done()

        with pytest.raises(FunctionError) as failure:
            await hanging
        assert failure.value.error_type == "Sandbox.Timedout"
        await reloading
        assert await function.do("pid") != first


async def test_a_reload_does_not_wait_for_the_next_try(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit(3)\n")
    async with running(tmp_path, command=f"{sys.executable} {broken}") as function:
        await function.until_said("started again in 0.5 s")
        broken.write_text(SCRIPT.read_text())

        await function.process.reload()

        assert isinstance(await function.do("pid"), int)


async def test_nothing_of_it_is_left_at_the_end(tmp_path: Path) -> None:
    shell = f"sh -c '{sys.executable} {SCRIPT}; true'"
    async with running(tmp_path, command=shell) as function:
        await function.do("pid")

    with (tmp_path / "lock").open() as held:
        await asyncio.to_thread(fcntl.flock, held, fcntl.LOCK_EX)  # free once it is gone


async def test_output_is_passed_on_line_by_line_however_long_or_broken(tmp_path: Path) -> None:
    script = tmp_path / "talk.py"
    script.write_text(
        "import os\nos.write(1, b'x' * 200_000 + b'\\r\\nbad \\xff\\n\\nlast')\nos.write(2, b'!')\n"
    )
    async with running(tmp_path, command=f"{sys.executable} {script}") as function:
        await function.until_said("exit status 0")
        await function.until_said("last!")

    said = "\n".join(function.said)
    assert said.count("x") >= 200_000
    assert "bad �" in said


@pytest.mark.parametrize("end", [b"\\n", b"\\r"])
async def test_many_short_lines_are_passed_on_in_turns(tmp_path: Path, end: bytes) -> None:
    script = tmp_path / "flood.py"
    script.write_text(f"import os\nos.write(1, b'{end.decode()}' * 9_999 + b'last')\n")
    async with running(tmp_path, command=f"{sys.executable} {script}") as function:
        await function.until_said("last")

    assert function.said.count("") == 9_999
    assert function.most_in_turn < 2_000


async def test_what_has_no_end_of_line_is_shown_all_the_same(tmp_path: Path) -> None:
    script = tmp_path / "talking.py"
    script.write_text("import os, time\nos.write(1, b'one')\ntime.sleep(99)")
    async with running(tmp_path, command=f"{sys.executable} {script}") as function:
        await function.until_said("one")


async def test_an_execution_survives_the_death_of_its_function(tmp_path: Path) -> None:
    script = tmp_path / "once.py"
    text = SCRIPT.read_text().replace("do(json.loads(event))", "answer()")
    script.write_text(
        text.replace(
            "def main()",
            """def answer() -> object:
    if not Path("died").exists():
        Path("died").touch()
        os._exit(1)
    return {"Status": "SUCCEEDED", "Result": "1"}


def main()""",
        )
    )
    settings = FunctionSettings(name="f")
    command = f"{sys.executable} {script}"
    async with (
        running(tmp_path, settings=settings, command=command) as function,
        service_with({"f": function.process.runtime}) as service,
    ):
        arn = await service.start("f", "1")

        event = await wait_for_event(service, arn, "InvocationCompleted")
        assert event.invocation_completed_details is not None
        assert event.invocation_completed_details.error is not None
        assert event.invocation_completed_details.error.payload is not None
        assert event.invocation_completed_details.error.payload.error_type == "Runtime.ExitError"
        assert (await service.wait_closed(arn)).result == "1"


@pytest.mark.parametrize("command", ["", "  ", "echo 'open"])
def test_a_command_that_is_none_is_refused(command: str) -> None:
    with pytest.raises(ValidationError):
        split_command(command)
