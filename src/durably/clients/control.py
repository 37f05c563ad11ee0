"""The way of another process to the one that holds a store."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from durably.engine.control import (
    FunctionsRequest,
    Request,
    decode_reply,
    encode_line,
    error_of,
    short_address,
    socket_path,
)
from durably.errors import StoreUnavailableError

PATIENCE_SECONDS = 10.0


class NobodyListens(Exception):  # noqa: N818 - not an error: then the store is free, or about to be
    """No process takes commands for the database. Nothing was asked of anybody."""


class ControlClient:
    """Gives commands to the process that holds a database; blocking.

    Args:
        database: the path of the file.
        patience_seconds: how long an answer is waited for.
    """

    def __init__(self, database: Path, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._database = database
        self._patience_seconds = patience_seconds
        self._path = socket_path(database)

    def ask(self, request: Request) -> str | None:
        """Have *request* carried out, and give the answer.

        Raises:
            NobodyListens: no process holds the database, or it cannot be reached.
            ApiError: it was refused. Nothing was recorded.
            StoreUnavailableError: the other process gave no answer in time, or went away;
                whether it was done is open.
            StoreError: it could not be written.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._patience_seconds)
            self._connect(connection)
            try:
                connection.sendall(encode_line(request) + b"\n")
                with connection.makefile("rb") as replies:
                    line = replies.readline()
                reply = decode_reply(line)
            except TimeoutError as error:
                raise self._unanswered(
                    f"has not answered for {self._patience_seconds:g} s"
                ) from error
            except (OSError, msgspec.DecodeError) as error:
                raise self._unanswered("went away before it answered") from error
        if reply.refusal is not None:
            raise error_of(reply.refusal)
        return reply.answer

    def _unanswered(self, what: str) -> StoreUnavailableError:
        said = f"the process that holds it {what}, so whether it was done, or will be, is open"
        remedy = "Look whether that process is well, and then what has become of it."
        return StoreUnavailableError(f"{self._database}: {said}", remedy=remedy)

    def functions(self) -> frozenset[str]:
        """Give the names of the functions that the process has; raises what `ask` does."""
        return frozenset(msgspec.json.decode(self.ask(FunctionsRequest()) or "[]", type=list[str]))

    def is_answered(self) -> bool:
        """Whether a process listens."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._patience_seconds)
            try:
                self._connect(connection)
            except NobodyListens:
                return False
            return True

    def _connect(self, connection: socket.socket) -> None:
        try:
            with short_address(self._path) as address:
                connection.connect(address)
        except OSError as error:
            raise NobodyListens(str(self._database)) from error
