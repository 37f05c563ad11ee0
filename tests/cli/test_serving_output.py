"""What a server writes when nobody reads it any more."""

import os
import sys
from contextlib import suppress

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
