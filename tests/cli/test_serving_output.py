"""What a server writes when nobody reads it any more."""

import os
import sys
from contextlib import suppress
from threading import Thread

import pytest

from durably.cli.serving import teller
from durably.server.attached import FunctionSettings
from durably.server.serving import Source


def test_lines_that_nobody_reads_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    say = teller([Source(settings=FunctionSettings(name="chatty"), where="chatty")])
    reading, writing = os.pipe()
    os.close(reading)
    closed = os.fdopen(writing, "w")
    monkeypatch.setattr(sys, "stdout", closed)

    say("chatty", "a line")
    say("chatty", "another")

    with suppress(BrokenPipeError):
        closed.close()


def test_a_pipe_that_is_full_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    say = teller([Source(settings=FunctionSettings(name="chatty"), where="chatty")])
    reading, writing = os.pipe()
    # The end that is read is closed first: that ends whoever is blocked.
    with os.fdopen(writing, "w") as written, os.fdopen(reading, "rb", buffering=0) as read:
        monkeypatch.setattr(sys, "stdout", written)

        flood = Thread(target=lambda: [say("chatty", "é" * 3000) for _ in range(100)], daemon=True)
        flood.start()
        flood.join(5)

        assert not flood.is_alive()
        held = read.read(1 << 20)
        say("chatty", "read again")

        assert len(held) < 100 * 3000
        assert read.read(1 << 20).decode() == "chatty | read again\n"


def test_lines_of_processes_cannot_command_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say = teller([Source(settings=FunctionSettings(name="chatty"), where="chatty")])

    say("chatty", "\x1b]0;owned\x07 \u202etxt.exe\r\n$ \x9b2J")

    assert capsys.readouterr().out == "chatty | \\x1b]0;owned\\x07 \\u202etxt.exe\\r\\n$ \\x9b2J\n"
