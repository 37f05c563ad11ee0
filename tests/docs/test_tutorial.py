"""The tutorial, done as a person would: files are saved, commands typed, processes killed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import DOCS

PAGE = DOCS / "tutorial.md"
PART = re.compile(
    r"Save this as\s`(?P<file>[\w.]+)`:$"
    r"|^<!-- (?P<directive>background|when (?P<condition>[^\n]+)) -->$"
    r"|^```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
PATIENCE_SECONDS = 20
BASH = shutil.which("bash") or "bash"


@pytest.mark.process
@pytest.mark.timeout(120)
def test_the_tutorial_can_be_followed(tmp_path: Path) -> None:
    with Terminal(tmp_path).open() as terminal:
        name, is_background = "", False
        for part in PART.finditer(PAGE.read_text()):
            name = part["file"] or name
            is_background = part["directive"] == "background" or is_background
            if part["condition"]:
                terminal.wait_until(part["condition"])
            elif part["kind"] == "python":
                (tmp_path / name).write_text(part["text"])
            elif part["kind"] == "console":
                for command, said in commands(part["text"]):
                    terminal.type(command, said, is_background=is_background)
                is_background = False


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Give each command of a console block, and the lines it is shown to say."""
    for piece in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *said = piece.splitlines()
        yield command, said


class Terminal:
    """A shell in a directory of its own, with `durably` and `python` on its path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        tools = str(Path(sys.executable).parent)
        self._environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
        self._background: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def open(self) -> Iterator[Terminal]:
        """Let nothing that was started outlive the test."""
        try:
            yield self
        finally:
            for process in self._background:
                process.kill()
                process.wait()

    def type(self, command: str, said: list[str], *, is_background: bool) -> None:
        """Run *command*; unless it goes on in the background, check what it says."""
        if is_background:
            silent = subprocess.DEVNULL
            self._background.append(
                subprocess.Popen(  # noqa: S603 - the commands of the page
                    [BASH, "-c", f"exec {command}"],
                    cwd=self._folder,
                    env=self._environment,
                    stdout=silent,
                    stderr=silent,
                )
            )
            return
        if "kill -9 " in command:  # its number must still be its own
            assert self._background[-1].poll() is None, "it ended before it could be killed"
        done = self._run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        lines = (" ".join(line.split()) for line in done.stdout.splitlines())
        for wanted in said:
            pattern = ".*".join(re.escape(text) for text in wanted.split("…"))
            assert any(re.fullmatch(pattern, line) for line in lines), (
                f"{command} does not say {wanted!r}:\n{done.stdout}{done.stderr}"
            )

    def wait_until(self, condition: str) -> None:
        """Wait until the shell says that *condition* holds."""
        until = time.monotonic() + PATIENCE_SECONDS
        while self._run(condition).returncode:
            assert time.monotonic() < until, f"never came true: {condition}"
            time.sleep(0.05)  # noqa: TID251 - real processes are waited for

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603 - the commands of the page
            [BASH, "-c", command],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
