"""A PostgreSQL server with a standby that follows it asynchronously, and takes its place."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from threading import Event
from typing import Any

import psycopg

from tests.stores.postgres_server import OwnServer

_FOLLOWS = "SELECT count(*) FROM pg_stat_wal_receiver"
_CONFIRMS = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'"
_REPLAYED = "SELECT pg_last_wal_replay_lsn() >= %s"


class WithStandby(OwnServer):
    """A server and its standby, of which only the server has an address that workers know.

    Attributes:
        standby_url: the standby's own.
    """

    def __init__(self) -> None:
        super().__init__()
        self._other = self._folder / "standby"
        self._other_sockets = self._folder / "s"
        self._other_sockets.mkdir(mode=0o777)
        self._other_sockets.chmod(0o777)
        self._folder.chmod(0o777)
        self._run("pg_basebackup", "-d", self.url, "-D", str(self._other), "-R", "-c", "fast")
        self._data, primary = self._other, self._data
        self._start_at(self._other_sockets)
        self._data = primary
        self.standby_url = self.url.replace(self._socket_folder, str(self._other_sockets))

    def be_synchronous(self) -> None:
        """Acknowledge only what the standby has, too; until it takes over."""
        _ask(self.url, "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (*)'")
        _ask(self.url, "SELECT pg_reload_conf()")
        while not _ask(self.url, _CONFIRMS)[0]:
            Event().wait(0.01)

    def await_standby(self) -> None:
        """Return when the standby has everything that there is by now."""
        [place] = _ask(self.url, "SELECT pg_current_wal_lsn()")
        while not _ask(self.standby_url, _REPLAYED, [place])[0]:
            Event().wait(0.01)

    def cut_standby_off(self) -> None:
        """Let the standby hear nothing more."""
        _ask(self.standby_url, "ALTER SYSTEM SET primary_conninfo = ''")
        _ask(self.standby_url, "SELECT pg_reload_conf()")
        while _ask(self.standby_url, _FOLLOWS)[0]:
            Event().wait(0.01)

    def fail_over(self) -> None:
        """Lose the server for good, and have the standby take its place, at the same address."""
        self.kill()
        self._data = self._other
        self._control("-w", "promote")
        self._control("-w", "-m", "fast", "stop")
        self.start()

    def _run(self, name: str, *words: str) -> None:
        subprocess.run(  # noqa: S603 - the server's own
            [self._server.bin_path / name, *words],
            check=True,
            user=self._server.system_user,
            cwd=self._folder,
            capture_output=True,
        )


def _ask(url: str, statement: str, parameters: Sequence[Any] = ()) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), parameters)
        return cursor.fetchone() if cursor.description else None
