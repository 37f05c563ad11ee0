"""The passes over the suite: which handlers, on which store, reached in which way."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.conformance.suite import Suite
from tests.stores.postgres_server import in_schema, postgres_url

SUITES = (
    "step",
    "wait",
    "child",
    "callback",
    "invoke",
    "wait_for_condition",
    "wait_for_callback",
    "parallel",
    "map",
    "plugin",
)
PLAIN_SUITES = ("step", "child", "parallel", "map")
STORES = ("memory", "sqlite", "postgresql")
HANDLERS = "tests.conformance.handlers"


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over the suite.

    Attributes:
        flavour: of the handlers.
        store: which kind, of `STORES`.
        is_remote: whether the handlers are attached to the server, as those in other processes are,
            or registered with its engine.
    """

    flavour: str
    store: str
    is_remote: bool = False

    def __str__(self) -> str:
        flavour = "async def" if self.flavour == "async" else "def"
        way = "attached" if self.is_remote else "registered"
        return f"{flavour} handlers, {way}, on the {self.store} store"

    def handlers(self) -> dict[str, Suite]:
        """Import the handlers, by the name of their suite."""
        names = {suite: suite for suite in SUITES}
        if self.flavour == "def":
            names = {suite: f"plain_{suite}" for suite in PLAIN_SUITES}
        return {
            suite: importlib.import_module(f"{HANDLERS}.{module}").suite
            for suite, module in names.items()
        }


RUNS = (
    Run("async", "memory"),
    Run("async", "sqlite"),
    Run("async", "postgresql"),
    Run("async", "memory", is_remote=True),
    Run("def", "memory"),
    Run("def", "sqlite"),
    Run("def", "postgresql"),
    Run("def", "memory", is_remote=True),
)


@contextmanager
def new_store(kind: str) -> Generator[str]:
    """Give the address of an empty store, which is there as long as the block lasts."""
    if kind == "memory":
        yield "memory:"
    elif kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
            yield f"sqlite:{folder}/durably.db"
    else:
        with postgres_url() as url:
            yield in_schema(url)
