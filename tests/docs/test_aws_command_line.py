"""The transcript of the AWS command line, typed into a shell: against `durably dev`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from durably.server.listening import bound_socket, port_of
from tests.docs.pages import DOCS

PAGE = DOCS / "how-to" / "aws-command-line.md"
PART = re.compile(
    r"Save this as `(?P<file>[\w.]+)`:$"
    r"|^<!-- background until (?P<ready>[^\n]+) -->$"
    r"|^<!-- when (?P<condition>[^\n]+) -->$"
    r"|^```(?P<kind>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
MARK = "@@"
BASH = shutil.which("bash") or "bash"


@dataclass(frozen=True)
class Command:
    """What is typed, and the lines that it is shown to say."""

    text: str
    said: tuple[str, ...]


def commands(block: str) -> Iterator[Command]:
    """Read the commands of a console block. A backslash goes on in the next line."""
    for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        typed, _, said = re.sub(r"\\\n\s*", "", piece).partition("\n")
        yield Command(typed, tuple(plain(line) for line in said.splitlines() if line))


def plain(line: str) -> str:
    return " ".join(line.split())


def script_of(page: str, folder: Path) -> tuple[str, list[Command]]:
    """Make one script of all commands, each with a mark before it; save what is to be saved."""
    lines = ["set -eu", "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT"]
    typed: list[Command] = []
    name, ready = "", ""
    for part in PART.finditer(page):
        name, ready = part["file"] or name, part["ready"] or ready
        if part["condition"]:
            lines.append(f"until {part['condition']}; do sleep 0.2; done")
        elif part["kind"] == "python":
            (folder / name).write_text(part["text"])
        elif part["kind"] == "console":
            for command in commands(part["text"]):
                if ready:
                    lines += [
                        f"{command.text} >output.log 2>&1 &",
                        f"until {ready}; do sleep 0.1; done",
                    ]
                    ready = ""
                    continue
                typed.append(command)
                lines += [f"echo; echo {MARK}", command.text]
    return "\n".join(lines), typed


def free_port() -> int:
    with bound_socket() as bound:
        return port_of(bound)


@pytest.mark.process
@pytest.mark.timeout(180)
def test_the_aws_command_line_starts_lists_inspects_answers_and_stops(tmp_path: Path) -> None:
    page = PAGE.read_text().replace("9000", str(free_port()))
    script, typed = script_of(page, tmp_path)
    env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    tools = Path(sys.executable).parent
    done = subprocess.run(  # noqa: S603 - the commands of the page
        [BASH, "-c", script],
        cwd=tmp_path,
        env=env | {"PATH": f"{tools}:{env['PATH']}", "AWS_CONFIG_FILE": os.devnull},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    answers = done.stdout.split(f"\n{MARK}\n")[1:]
    assert len(answers) == len(typed)
    for command, answer in zip(typed, answers, strict=True):
        said = [plain(line) for line in answer.splitlines() if line]
        assert len(said) == len(command.said), f"{command.text}\n{answer}"
        for line, wanted in zip(said, command.said, strict=True):
            pattern = ".*".join(re.escape(text) for text in wanted.split("…"))
            assert re.fullmatch(pattern, line), f"{command.text} does not say {wanted!r}:\n{answer}"
