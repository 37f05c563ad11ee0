"""What has really happened, kept where no crash of the worker can undo or hide it.

Each line is one JSON object, written by one system call to a file opened for synced appends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import msgspec


class Entered(msgspec.Struct, frozen=True, tag="entered"):
    """The body of a step began.

    Attributes:
        life: which worker process it was, counted from 1.
        run: the execution, as the load calls it.
        part: to which part of the handler it belongs.
        after: the part before; empty for the first.
        seen: what the handler got from the part before.
    """

    life: int
    run: str
    arn: str
    operation_id: str
    attempt: int
    part: str
    once: bool
    after: str
    seen: str


class Left(msgspec.Struct, frozen=True, tag="left"):
    """The body of a step ended, with *value*."""

    life: int
    arn: str
    operation_id: str
    attempt: int
    value: str


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    """The outside was told of a callback."""

    callback_id: str
    answer: str


class Intended(msgspec.Struct, frozen=True, tag="intended"):
    """An execution is about to be started."""

    run: str
    function: str
    seed: int


class Started(msgspec.Struct, frozen=True, tag="started"):
    """A start was acknowledged."""

    run: str
    arn: str


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """An answer to a callback was acknowledged."""

    callback_id: str
    answer: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """An answer to a callback was refused: it had one."""

    callback_id: str


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """Whoever waited for an execution was told its result."""

    run: str
    result: list[list[str]]


class Fenced(msgspec.Struct, frozen=True, tag="fenced"):
    """A worker was refused what it still had to say of an execution: it was another's by then."""

    life: int
    arn: str


class Trouble(msgspec.Struct, frozen=True, tag="trouble"):
    """Something that must not happen, as the worker saw it."""

    text: str


Line: TypeAlias = (
    Entered | Left | Asked | Intended | Started | Answered | Refused | Finished | Fenced | Trouble
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


class Ledger:
    """Appends lines; from any thread.

    Args:
        path: the file.
        is_time: asked with each line that has been written, whether to call *end* now.
        end: ends the process.
    """

    def __init__(
        self,
        path: Path,
        is_time: Callable[[Line], bool] = lambda _: False,
        end: Callable[[], object] = lambda: None,
    ) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._synced = os.open(path, flags | os.O_DSYNC, 0o600)
        self._unsynced = os.open(path, flags, 0o600)
        self._is_time = is_time
        self._end = end

    def write(self, line: Line) -> None:
        """Have *line* on the disk."""
        is_last = self._is_time(line)
        text = _encode(line) + b"\n"
        # A process that is killed loses nothing of what it has written, synced or not; and the
        # time that the sync takes may be just the time that the library needs to make good.
        if os.write(self._unsynced if is_last else self._synced, text) != len(text):
            raise OSError("a line of the ledger was cut short")
        if is_last:
            self._end()


class LedgerReader:
    """Reads what has been added since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read_new(self) -> Iterator[Line]:
        """Give the lines that are complete, in order."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                yield _decode(line)
