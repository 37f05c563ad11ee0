"""What `durably worker --metrics-port` shows, from the outside."""

import re
import signal
import socket
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.conftest import ORDERS, Shell

SECRET = "a-secret-for-prometheus-alone"


def showing(shell: Shell, *words: object) -> tuple[subprocess.Popen[str], str]:
    """Start a worker that shows metrics, and give their address."""
    process = shell.start("worker", ORDERS, "--metrics-port", 0, *words)
    assert process.stderr is not None
    said = process.stderr.readline()
    found = re.fullmatch(r"worker: metrics at (http://\S+:\d+/metrics)\n", said)
    assert found, said
    assert "ready" in process.stderr.readline()
    return process, found[1]


def value(address: str, name: str, **labels: str) -> float:
    reply = httpx.get(address)
    assert reply.status_code == 200, reply.text
    [found] = [
        sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
        if (sample.name, sample.labels) == (name, labels)
    ]
    return float(found)


def status_of(shell: Shell, name: str) -> Any:
    return shell.run("show", name, "--json").json["Status"]


def has_ended(shell: Shell, name: str) -> bool:
    return bool(status_of(shell, name) != "RUNNING")


def credentials(folder: Path, *permissions: str) -> Path:
    path = folder / "credentials.toml"
    allowed = ", ".join(f'"{one}"' for one in permissions)
    path.write_text(f'[[tokens]]\nname = "p"\nsecret = "{SECRET}"\npermissions = [{allowed}]\n')
    path.chmod(0o600)
    return path


def test_a_worker_shows_what_it_does_and_nothing_else(shell: Shell) -> None:
    worker, address = showing(shell)

    assert value(address, "durably_claims_total") == 0
    shell.run("start", "fulfil", "--name", "o-1", "--input", '{"id": "o-1"}')
    shell.wait_for(partial(has_ended, shell, "o-1"))

    assert value(address, "durably_claims_total") >= 1
    assert value(address, "durably_executions", status="SUCCEEDED") == 1
    assert value(address, "durably_checkpoint_seconds_count") >= 2
    assert value(address, "durably_write_group_size_count") >= 2
    assert httpx.get(address.replace("/metrics", "/2015-03-31/functions")).status_code == 404
    assert httpx.get(address, headers={"Host": "evil.example"}).status_code == 403
    assert shell.interrupt(worker, signal.SIGTERM).code == 0


def test_localhost_is_this_machine(shell: Shell) -> None:
    worker, address = showing(shell, "--metrics-host", "localhost")
    assert value(address, "durably_claims_total") == 0
    assert shell.interrupt(worker, signal.SIGTERM).code == 0


@pytest.mark.parametrize("on", ["sqlite", "postgresql"])
def test_a_killed_worker_is_a_claim_lost_where_its_work_goes_on(
    shell: Shell, request: pytest.FixtureRequest, on: str
) -> None:
    if on == "postgresql":
        shell.env["DURABLY_STORE"] = request.getfixturevalue("address")
    first, _ = showing(shell, "--lease", "1")
    shell.run("start", "gated_async", "--name", "g")
    shell.reach()
    first.send_signal(signal.SIGKILL)
    first.wait()
    shell.open()

    second, address = showing(shell, "--lease", "1")
    shell.wait_for(partial(has_ended, shell, "g"))

    assert value(address, "durably_claims_lost_total") == 1
    assert value(address, "durably_executions", status="SUCCEEDED") == 1
    assert value(address, "durably_write_group_size_sum") >= 2
    assert shell.interrupt(second, signal.SIGTERM).code == 0


def test_metrics_are_shown_while_a_worker_waits_for_its_last_invocations(shell: Shell) -> None:
    worker, address = showing(shell, "--grace", "30")
    shell.run("start", "gated_async", "--name", "g")
    shell.reach()

    worker.send_signal(signal.SIGTERM)
    assert worker.stderr is not None
    assert "ending" in worker.stderr.readline()
    assert value(address, "durably_executions", status="RUNNING") == 1
    shell.open()

    assert shell.end(worker).code == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


EVERYWHERE = ("--metrics-host", "0.0.0.0")  # noqa: S104 - that is what is tried
PROXY = "--metrics-behind-proxy"


@pytest.mark.parametrize("said", ["nothing", "credentials", "a proxy"])
def test_only_this_machine_is_shown_metrics_without_credentials_and_tls(
    shell: Shell, said: str
) -> None:
    words = {
        "nothing": (),
        "credentials": ("--metrics-credentials", credentials(shell.folder, "metrics")),
        "a proxy": (PROXY,),
    }
    done = shell.run("worker", ORDERS, "--metrics-port", 0, *EVERYWHERE, *words[said])

    assert (done.code, done.out) == (2, "")
    assert "At 0.0.0.0 metrics are not shown without credentials and TLS." in done.err
    assert "--metrics-credentials" in done.err
    assert PROXY in done.err
    assert not shell.database.exists()


def test_with_credentials_metrics_are_for_those_who_may_read_them(shell: Shell) -> None:
    file = credentials(shell.folder, "metrics")
    worker, address = showing(shell, *EVERYWHERE, "--metrics-credentials", file, PROXY)
    reached = address.replace("0.0.0.0", "127.0.0.1")  # noqa: S104

    assert httpx.get(reached).status_code == 403
    by_token = {"Authorization": f"Bearer {SECRET}"}
    shown = httpx.get(reached, headers=by_token)
    assert "durably_claims_total" in shown.text
    assert "strict-transport-security" in shown.headers
    assert shell.interrupt(worker, signal.SIGTERM).code == 0


def test_a_token_for_something_else_is_not_for_metrics(shell: Shell) -> None:
    worker, address = showing(shell, "--metrics-credentials", credentials(shell.folder, "read"))

    denied = httpx.get(address, headers={"Authorization": f"Bearer {SECRET}"})

    assert denied.status_code == 403
    assert "metrics" in denied.json()["message"]
    assert shell.interrupt(worker, signal.SIGTERM).code == 0


def test_a_port_that_is_taken_is_said_so(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = shell.run("worker", ORDERS, "--metrics-port", port)

    assert done.code == 2
    assert f"Port {port} is taken." in done.err
    assert "--metrics-port" in done.err


@pytest.mark.parametrize(
    "words", [("--metrics-host", "::1"), ("--metrics-credentials", "file"), (PROXY,)], ids=str
)
def test_without_a_port_nothing_can_be_said_of_it(shell: Shell, words: tuple[str, ...]) -> None:
    done = shell.run("worker", ORDERS, *words)

    assert done.code == 2
    assert "--metrics-port" in done.err


def test_without_the_extra_it_is_said_what_to_install(shell: Shell) -> None:
    (shell.folder / "prometheus_client.py").write_text("raise ModuleNotFoundError(name=__name__)")
    shell.env["PYTHONPATH"] = f"{shell.folder}:{shell.env['PYTHONPATH']}"

    done = shell.run("worker", ORDERS, "--metrics-port", 0)

    assert done.code == 2
    assert "there is no prometheus_client" in done.err
    assert "durably[cli,metrics]" in done.err
