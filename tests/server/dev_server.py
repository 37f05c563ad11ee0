"""`durably dev` as a process of its own, and its clients."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.server.served import boto_client

ROOT = Path(__file__).parents[2]
DEFAULT = ("--store", "memory:", "--port", "0")
_UNWANTED = ("AWS_", "DURABLY_", "NO_COLOR", "FORCE_COLOR", "COLUMNS")


@dataclass
class Server:
    """A server that runs, what it has said, and a client of it."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)
    endpoint: str = ""
    client: Any = None

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.news:
                self.said.append(line.rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.said.append("(the end)")
            self.news.notify_all()

    def until_said(self, text: str, *, since: int = 0) -> str:
        """Wait until a line after the first *since* contains *text*, and give it."""
        with self.news:
            while True:
                for line in self.said[since:]:
                    if text in line:
                        return line
                assert "(the end)" not in self.said, f"it never said {text!r}: {self.said}"
                assert self.news.wait(60), f"it does not say {text!r}: {self.said}"

    def invoke(self, name: str, event: object, **how: Any) -> Any:
        """Invoke a function, and give what it answers."""
        reply = self.client.invoke(FunctionName=name, Payload=json.dumps(event), **how)
        answer = reply["Payload"].read()
        assert "FunctionError" not in reply, answer
        return json.loads(answer)

    def events(self, arn: str) -> list[Any]:
        reply = self.client.get_durable_execution_history(DurableExecutionArn=arn, MaxItems=1000)
        return list(reply["Events"])

    def event_types(self, arn: str) -> list[str]:
        return [event["EventType"] for event in self.events(arn)]

    def stop(self) -> int:
        """Tell it to end, and give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()  # what does not end must not be left behind


def environment() -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(_UNWANTED)}
    paths = [str(ROOT / "src"), *filter(None, [env.get("PYTHONPATH")])]
    return env | {"PYTHONPATH": os.pathsep.join(paths)}


@contextmanager
def dev_server(
    folder: Path,
    *words: object,
    command: str = "dev",
    options: tuple[str, ...] = DEFAULT,
    stderr: int = subprocess.STDOUT,
    **how: Any,
) -> Iterator[Server]:
    """Run `durably dev` in *folder*, and wait until it is ready. Give *stderr* to keep it apart."""
    process = subprocess.Popen(  # noqa: S603 - our own
        [sys.executable, "-m", "durably", command, *map(str, words), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        cwd=folder,
        env=environment(),
        **how,
    )
    server = Server(process)
    reader = threading.Thread(target=server.read, name="output of the server")
    reader.start()
    try:
        server.until_said("Ready.")
        match = re.search(r"http://127\.0\.0\.1:\d+", server.until_said("API"))
        assert match is not None
        server.endpoint = match[0]
        server.client = boto_client(server.endpoint)
        yield server
    finally:
        if process.poll() is None:
            server.stop()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()
