"""A PostgreSQL to measure on: databases on it, what a commit costs there, and who works on it.

All of one run are on one server: the one that `DATABASE_URL` names, else one from a wheel. Ours and
its peers run in processes of their own, which take the same words and answer with JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from durably.seams import RandomIds

_ROOT = Path(__file__).parents[1]
_BODY = os.urandom(160)  # about what the store writes for a step: its start and its result
_MAX_SECONDS = 600
_LOOK_SECONDS = 0.01
_MAX_SAID = 300


@contextmanager
def server() -> Generator[None]:
    """Have a server for this process and those that it starts."""
    from tests.stores.postgres_server import postgres_url  # noqa: PLC0415 - not for other rows

    with postgres_url() as url:
        os.environ["DATABASE_URL"] = url
        yield


@contextmanager
def database() -> Generator[str]:
    """Give the address of a new, empty database, which goes afterwards."""
    url = os.environ["DATABASE_URL"]
    name = f"durably_bench_{RandomIds().hex(12)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


class BareCommits:
    """One small row at a time, by the same driver, with nothing of ours.

    Args:
        url: of a database of its own.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = psycopg.connect(url, autocommit=True)
        made = "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea NOT NULL"
        self._connection.execute(f"CREATE TABLE rows ({made})".encode())

    def close(self) -> None:
        """Hang up."""
        self._connection.close()

    def seconds(self) -> float:
        """Commit once; give how long it takes."""
        began = perf_counter()
        self._connection.execute("INSERT INTO rows (body) VALUES (%s)", (_BODY,))
        return perf_counter() - began

    def a_second(self, connections: int, each: int) -> float:
        """Say how many commits so many connections make in a second together."""
        return asyncio.run(self._a_second(connections, each))

    async def _a_second(self, connections: int, each: int) -> float:
        opened = [
            await psycopg.AsyncConnection.connect(self._url, autocommit=True)
            for _ in range(connections)
        ]

        async def commit(connection: psycopg.AsyncConnection) -> None:
            for _ in range(each):
                await connection.execute("INSERT INTO rows (body) VALUES (%s)", (_BODY,))

        began = perf_counter()
        await asyncio.gather(*map(commit, opened))
        taken = perf_counter() - began
        for connection in opened:
            await connection.close()
        return connections * each / taken


def ask(program: str, action: str, url: str, *given: object) -> Any:
    """Have one of the programs do something on the database *url*, and give its answer.

    Raises:
        RuntimeError: it has failed; the text is the end of what it said.
    """
    words = [sys.executable, "-m", f"benchmarks.{program}", action, url, *map(json.dumps, given)]
    done = subprocess.run(  # noqa: S603 - a program of ours
        words, cwd=_ROOT, capture_output=True, timeout=_MAX_SECONDS, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"{program} {action}: {said[-1][:_MAX_SAID]}")
    return json.loads(done.stdout.decode().splitlines()[-1])


@contextmanager
def workers(program: str, url: str, count: int) -> Generator[None]:
    """Have so many processes work on the database meanwhile."""
    words = [sys.executable, "-m", f"benchmarks.{program}", "work", url]
    with ExitStack() as running:
        started = [running.enter_context(_running(words)) for _ in range(count)]
        for process in started:
            assert process.stdout is not None, "it was asked for"
            if not process.stdout.readline():
                raise RuntimeError(f"a worker of {program} did not start")
        yield


@contextmanager
def _running(words: list[str]) -> Generator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(  # noqa: S603 - a program of ours
        words, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_done(url: str, query: str, count: int) -> None:
    """Return when *query* counts *count*.

    Raises:
        TimeoutError: it does not.
    """
    until = perf_counter() + _MAX_SECONDS
    with psycopg.connect(url, autocommit=True) as connection:
        while perf_counter() < until:
            row = connection.execute(query.encode()).fetchone()
            if row is not None and row[0] >= count:
                return
            Event().wait(_LOOK_SECONDS)
    raise TimeoutError(f"not done within {_MAX_SECONDS} s")


def act(actions: Mapping[str, Callable[..., Any]]) -> None:
    """Be one of those programs: do what the command line says, and print the answer."""
    action, url, *given = sys.argv[1:]
    answer = actions[action](url, *map(json.loads, given))
    print(json.dumps(answer))
