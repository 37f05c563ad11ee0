"""`durably dev` and `durably serve`: everything in one process, and what becomes of it."""

import shutil
import signal
import socket
import stat
import sys
from pathlib import Path
from textwrap import dedent
from threading import Event, Thread
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cli.conftest import Shell
from tests.needed import lambda_runtime
from tests.server.dev_server import dev_server
from tests.server.served import boto_client

SMALL_RUNTIME = Path(__file__).parents[1] / "server" / "small_runtime.py"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - it must not be served there by mistake
LANGUAGES = SMALL_RUNTIME.with_name("languages")
SMALL = f"{sys.executable} {SMALL_RUNTIME}"
FLAKY = """
from durably import DurableContext, durable_execution


def call() -> None:
    raise ConnectionError("no answer")


@durable_execution
async def flaky(event: int, ctx: DurableContext) -> None:
    await ctx.step("call", call)
"""
SECRET = "canary-7c2d"

HELLO = dedent(
    """
    from datetime import timedelta
    from durably import DurableContext, durable_execution
    from words import GREETING

    @durable_execution
    async def hello(event: dict, ctx: DurableContext) -> str:
        text = await ctx.step("greet", lambda: f"{GREETING} {event['name']}")
        await ctx.wait("nap", timedelta(seconds=1))
        return text

    @durable_execution
    async def relay(event: dict, ctx: DurableContext) -> object:
        return await ctx.invoke("ask", event["target"], event["payload"])
    """
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(HELLO)
    (tmp_path / "words.py").write_text("GREETING = 'hello'\n")
    return tmp_path


def test_it_says_where_it_listens_and_what_it_found(folder: Path) -> None:
    far = ["--function", f"far=http://127.0.0.1:9/?key={SECRET}"]
    with dev_server(folder, "app.py", *far, "--plain-function", f"small={SMALL}") as server:
        server.until_said("here I am")
        assert server.stop() == 0

    assert server.said == [
        f"API        {server.endpoint}",
        f"           export AWS_ENDPOINT_URL_LAMBDA={server.endpoint}",
        "Store      memory:",
        "Functions  far    http://127.0.0.1:9/?…",
        "           hello  app.py",
        "           relay  app.py",
        f"           small  {SMALL}  (not durable)",
        "Ready. Ctrl-C ends it.",
        "small | here I am",
        "Ended; what was not finished goes on the next time.",
        "(the end)",
    ]


def test_boto3_finds_and_invokes_functions_of_every_kind(folder: Path) -> None:
    with dev_server(folder, "app.py", "--plain-function", f"small={SMALL}") as server:
        found = server.client.list_functions()["Functions"]
        assert [one["FunctionName"] for one in found] == ["hello", "relay", "small"]
        assert ["DurableConfig" in one for one in found] == [True, True, False]
        assert (found[2]["Timeout"], found[2]["MemorySize"]) == (900, 128)

        assert server.invoke("hello", {"name": "ann"}) == "hello ann"
        asked = {"target": "small", "payload": {"do": "pid"}}
        assert server.invoke("relay", asked) == server.invoke("small", {"do": "pid"})
        failed = server.client.invoke(FunctionName="small", Payload='{"do": "die"}')

        assert failed["FunctionError"] == "Unhandled"
        assert b"Runtime.ExitError" in failed["Payload"].read()
        posted = server.client.invoke(
            FunctionName="small", Payload='{"do": "touch"}', InvocationType="Event"
        )
        assert posted["StatusCode"] == 202
        while not (folder / "touched").exists():
            Event().wait(0.01)


def test_files_are_loaded_anew_and_broken_ones_change_nothing(folder: Path) -> None:
    with dev_server(folder, "app.py") as server:
        assert server.invoke("hello", {"name": "ann"}) == "hello ann"

        (folder / "words.py").write_text("GREETING = 'good bye'\n")
        server.until_said("Loaded anew: 2 functions.")
        assert server.invoke("hello", {"name": "ann"}) == "good bye ann"

        (folder / "words.py").write_text("GREETING = = 1\n")
        server.until_said("the functions are as they were")
        assert server.invoke("hello", {"name": "ann"}) == "good bye ann"

        said = len(server.said)
        (folder / "words.py").write_text("GREETING = 'back'\n")
        server.until_said("Loaded anew", since=said)
        assert server.invoke("hello", {"name": "ann"}) == "back ann"


def test_a_process_is_started_anew_when_its_files_change(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(SMALL_RUNTIME.read_text())
    command = f"{sys.executable} app.py"
    with dev_server(tmp_path, "--plain-function", f"small={command}") as server:
        first = server.invoke("small", {"do": "pid"})

        script.write_text(SMALL_RUNTIME.read_text().replace("here I am", "here I am anew"))
        server.until_said("here I am anew")

        assert server.invoke("small", {"do": "pid"}) != first


def test_what_runs_may_end_when_it_is_told_to_and_the_rest_goes_on_later(folder: Path) -> None:
    store = ("--store", "sqlite:durably.db", "--port", "0")
    (folder / "slow.py").write_text(
        dedent(
            """
            import asyncio
            from pathlib import Path
            from durably import DurableContext, durable_execution

            async def work() -> str:
                Path("at work").touch()
                while not Path("let go").exists():
                    await asyncio.sleep(0.01)
                return "done"

            @durable_execution
            async def slow(event: dict, ctx: DurableContext) -> str:
                said = await ctx.step("work", work)
                await ctx.wait("nap", 2)
                return said
            """
        )
    )
    with dev_server(folder, "slow.py", options=store) as server:
        reply = server.client.invoke(FunctionName="slow", Payload="{}", InvocationType="Event")
        arn = reply["DurableExecutionArn"]
        while not (folder / "at work").exists():
            Event().wait(0.01)
        server.process.send_signal(signal.SIGTERM)
        server.until_said("Ending: 1 invocation may go on for 10 s")
        (folder / "let go").touch()
        assert server.process.wait(30) == 0
    (folder / "let go").unlink()

    with dev_server(folder, "slow.py", options=store) as server:
        while "ExecutionSucceeded" not in server.event_types(arn):
            Event().wait(0.05)
        steps = [name for name in server.event_types(arn) if name.startswith("Step")]
        assert steps == ["StepStarted", "StepSucceeded"]


def test_an_execution_goes_on_when_whoever_waits_for_it_goes_away(folder: Path) -> None:
    with dev_server(folder, "app.py") as server:
        address = ("127.0.0.1", int(server.endpoint.rpartition(":")[2]))
        with socket.create_connection(address) as caller:
            body = b'{"name": "ann"}'
            path = b"/2015-03-31/functions/hello/invocations"
            head = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1:9\r\nContent-Length: %d\r\n\r\n"
            caller.sendall(head % (path, len(body)) + body)
            found: list[Any] = []
            while not found:
                reply = server.client.list_durable_executions_by_function(FunctionName="hello")
                found = reply["DurableExecutions"]

        arn = found[0]["DurableExecutionArn"]
        while "ExecutionSucceeded" not in server.event_types(arn):
            Event().wait(0.05)


def test_a_function_is_told_of_by_the_region_asked_for_and_the_end_of_its_command(
    tmp_path: Path,
) -> None:
    command = f"{SMALL} http://user:secret@127.0.0.1/?key=secret"
    words = ["--function", f"small=env KEY=secret {command}", "--region", "us-east-1"]
    with dev_server(tmp_path, *words, command="serve") as server:
        found = server.client.get_function_configuration(FunctionName="small")
        assert found["FunctionArn"] == "arn:aws:lambda:us-east-1:000000000000:function:small"
        assert found["Handler"] == "http://…@127.0.0.1/?…"


def test_commands_reach_the_server_through_the_socket_beside_its_database(
    folder: Path, shell: Shell
) -> None:
    options = ("--store", "sqlite:durably.db", "--port", "0")
    with dev_server(folder, "app.py", options=options) as server:
        started = shell.run("start", "hello", "--input", '{"name": "ann"}', "--name", "one")
        assert started.code == 0, started.err
        again = server.client.invoke(
            FunctionName="hello", Payload='{"name":"ann"}', DurableExecutionName="one"
        )

        assert again["DurableExecutionArn"] == started.out.strip()
        assert again["Payload"].read() == b'"hello ann"'
        assert shell.run("delete", "one").code == 0
        found = server.client.list_durable_executions_by_function(FunctionName="hello")
        assert found["DurableExecutions"] == []


def test_serve_is_the_same_without_files(tmp_path: Path) -> None:
    words = ["--plain-function", f"small={SMALL}"]
    with dev_server(tmp_path, *words, command="serve") as server:
        assert isinstance(server.invoke("small", {"do": "pid"}), int)
        assert server.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_only_loopback_is_listened_on(folder: Path) -> None:
    """S01."""
    with dev_server(folder, "app.py", "--plain-function", f"small={SMALL}") as server:
        server.until_said("here I am")
        sockets = _sockets_of(server.process.pid)
        addresses = {
            line.split()[1].partition(":")[0]
            for table in ("tcp", "tcp6", "udp", "udp6")
            for line in Path(f"/proc/{server.process.pid}/net/{table}").read_text().splitlines()[1:]
            if line.split()[9] in sockets
        }

    assert addresses == {"0100007F"}


def _sockets_of(pid: int) -> set[str]:
    links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def test_whatever_the_umask_nobody_else_reads_its_files(folder: Path) -> None:
    """S17."""
    before = set(folder.rglob("*"))
    options = ("--store", "sqlite:data/durably.db", "--port", "0")
    (folder / "data").mkdir(mode=0o700)
    with dev_server(folder, "app.py", options=options, umask=0) as server:
        server.invoke("hello", {"name": "ann"})
        made = [path for path in folder.rglob("*") if path not in before and path.name != "data"]
        ours = [path for path in made if "__pycache__" not in path.parts]
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in ours}

    assert modes
    assert all(mode & 0o077 == 0 for mode in modes.values()), modes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "There is nothing to run."),
        (["--function", "nameless"], "'nameless' does not name a function."),
        (["--function", "a b=echo"], "'a b=echo' does not name a function."),
        (["--function", "f=echo", "--plain-function", "f=echo"], "Two functions are called 'f'."),
        (["app.py", "--function", "hello=echo"], "Two functions are called 'hello'."),
        (["--function", "f="], "The function 'f' has an empty command."),
        (["--function", "f=no-such-program x"], "'f' cannot be started: there is no 'no-such-pro"),
        (["--function", f"f=ftp://u:{SECRET}@h"], "'ftp://…@h' cannot be called for 'f'."),
        (["--function", "f='"], "Function 'f': command \"'\": No closing quotation"),
        (
            ["--function", f"f=http://u:{SECRET}@h"],
            "Function 'f': url must be http://HOST:PORT or https://…",
        ),
        (["--function", f"http://u:{SECRET}@h/"], "'http://…@h/' does not name a function."),
        (["--function", f"a b=http://h/?key={SECRET}"], "'a b=http://h/?…' does not name a functi"),
        (["missing.py"], "There is no file 'missing.py'."),
        (["app.py:hello"], "'app.py:hello' names a function, and files are loaded whole."),
        (["."], "'.' is a folder."),
        (["app.py", "--region", "at home"], "'--region': must be letters, digits and '-'"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(
    folder: Path, shell: Shell, words: list[str], said: str
) -> None:
    done = shell.run("dev", *words)

    assert done.code == 2
    assert said in done.err
    assert SECRET not in done.out + done.err


def test_at_an_address_of_others_requests_are_signed_with_a_key_that_is_shown_once(
    folder: Path,
) -> None:
    shutil.copy(LANGUAGES / "ours.py", folder)
    lambda_runtime()
    words = ["--function", f"quote={sys.executable} -m awslambdaric ours.quote"]
    with dev_server(folder, "app.py", *words, "--host", EVERYWHERE) as server:
        with pytest.raises(ClientError) as refusal:
            server.invoke("hello", {"name": "ann"})
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403

        server.until_said("by other names with --allow-host NAME")
        shown = server.until_said("export AWS_ACCESS_KEY_ID"), server.until_said("SECRET_ACCESS")
        assert max(map(len, shown)) <= 80
        server.client = boto_client(server.endpoint, *(line.rpartition("=")[2] for line in shown))
        assert server.invoke("hello", {"name": "ann"}) == "hello ann"
        # What runs in a process has been given the key.
        assert server.invoke("quote", {"pieces": 3}) == {"net": 60, "gross": 72}


def test_carriage_returns_end_lines_and_tabs_are_tabs(tmp_path: Path) -> None:
    (tmp_path / "talking.py").write_text("print('one\\rtwo\\tthree\\r\\nfour\\x1b', end='')")
    with dev_server(tmp_path, "--function", f"f={sys.executable} talking.py") as server:
        server.until_said("the process ended")

    said = [line for line in server.said if line.startswith("f | ")]
    assert said[:3] == ["f | one", "f | two\tthree", "f | four\\x1b"]


def test_localhost_is_this_machine(folder: Path) -> None:
    with dev_server(folder, "app.py", "--host", "localhost") as server:
        assert server.invoke("hello", {"name": "ann"}) == "hello ann"


def test_a_version_that_is_not_there_is_not_a_function_that_is_not_there(folder: Path) -> None:
    with dev_server(folder, "app.py") as server:
        with pytest.raises(ClientError, match=r"no version or alias '7': there is \$LATEST alone"):
            server.invoke("hello", {}, Qualifier="7")
        with pytest.raises(ClientError, match="no function 'hallo'; there is: hello, relay"):
            server.invoke("hallo", {})
        with pytest.raises(ClientError, match="no such operation: there are those of"):
            server.client.get_function_code_signing_config(FunctionName="hello")


def test_a_server_without_functions_says_what_it_is_good_for(tmp_path: Path) -> None:
    with dev_server(tmp_path, command="serve") as server:
        server.until_said("none: nothing can run")


def test_a_key_of_ones_own_holds_on_this_machine_too(folder: Path) -> None:
    secret = "0123456789abcdef"
    with dev_server(folder, "app.py", "--access-key", f"MINE:{secret}") as server:
        with pytest.raises(ClientError):
            server.invoke("hello", {"name": "ann"})
        server.client = boto_client(server.endpoint, "MINE", secret)
        assert server.invoke("hello", {"name": "ann"}) == "hello ann"
        assert not any(secret in line for line in server.said)


def test_serve_takes_credentials_from_a_file_and_tells_who_has_done_what(tmp_path: Path) -> None:
    secrets = {"AKIDALL": "0123456789abcdef-all", "AKIDSOME": "0123456789abcdef-some"}
    file = tmp_path / "credentials.toml"
    lines = [
        f"[[keys]]\nid = '{key_id}'\nsecret = '{secret}'\npermissions = {allowed}\n"
        for (key_id, secret), allowed in zip(
            secrets.items(), (["start", "read", "read-payload"], ["start", "read"]), strict=True
        )
    ]
    file.write_text("".join(lines))
    file.chmod(0o600)
    words = ["--credentials", file, "--function", f"seven={sys.executable} seven.py"]
    (tmp_path / "seven.py").write_text(
        SMALL_RUNTIME.read_text().replace(
            "do(json.loads(event))", "{'Status': 'SUCCEEDED', 'Result': '7'}"
        )
    )
    with dev_server(tmp_path, *words, command="serve") as server:
        with pytest.raises(ClientError, match="UnrecognizedClientException"):
            server.invoke("seven", {})
        server.client = boto_client(server.endpoint, "AKIDSOME", secrets["AKIDSOME"])
        reply = server.client.invoke(FunctionName="seven", Payload="{}")
        arn = reply["DurableExecutionArn"]
        with pytest.raises(ClientError, match="read-payload"):
            server.events(arn)
        server.client = boto_client(server.endpoint, "AKIDALL", secrets["AKIDALL"])
        assert server.event_types(arn)[-1] == "ExecutionSucceeded"
        assert server.until_said("payloads read by AKIDALL").startswith("INFO seven/")
        assert not any(secret in line for line in server.said for secret in secrets.values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--credentials", "nowhere.toml"], "Credentials: nowhere.toml cannot be read"),
        (["--credentials", "x", "--access-key", f"A:{'x' * 16}"], "beside a file of keys"),
        (["--host", EVERYWHERE], "0.0.0.0 is not served to others without keys and TLS."),
        (["--host", EVERYWHERE, "--behind-proxy"], "is not served to others without keys."),
        (
            ["--access-key", "short:short"],
            "The access key cannot be used: secret: must be at least 16 characters",
        ),
        (["--allow-host", "a.example"], "Hosts: need keys or tokens"),
        (["--host", "203.0.113.1", "--access-key", f"A:{'x' * 16}", "--behind-proxy"], "cannot be"),
    ],
)
def test_the_server_is_not_open_to_others_by_mistake(
    folder: Path, shell: Shell, words: list[str], said: str
) -> None:
    done = shell.run("serve", "--port", "0", *words)

    assert done.code == 2
    assert said in done.err


def test_a_port_that_is_taken_is_said(folder: Path, shell: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        done = shell.run("dev", "app.py", "--port", port)

    assert done.code == 2
    assert f"Port {port} is taken." in done.err


def test_a_call_that_hangs_does_not_keep_it_from_ending(folder: Path) -> None:
    with dev_server(folder, "--plain-function", f"small={SMALL}") as server:
        relay = Thread(target=_ignoring, args=(server, {"do": "hang"}))
        relay.start()
        while not (folder / "hanging").exists():
            Event().wait(0.01)

        assert server.stop() == 0
        relay.join()


def _ignoring(server: Any, event: object) -> None:
    try:
        server.invoke("small", event)
    except Exception:  # noqa: BLE001 - the server goes away meanwhile
        return


def test_it_shows_the_attempts_of_steps_that_fail(tmp_path: Path) -> None:
    (tmp_path / "flaky.py").write_text(FLAKY)
    with dev_server(tmp_path, "flaky.py") as server:
        server.client.invoke(FunctionName="flaky", Payload="1", InvocationType="Event")

        line = server.until_said("failed, and is made again")

        assert "an attempt of step 'call' of flaky/" in line
