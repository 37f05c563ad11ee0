"""What an engine is told once, checked when it is told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from durably.checks import shown
from durably.engine.arns import LATEST
from durably.engine.roster import DEFAULT_LEASE
from durably.errors import FunctionNotFoundError, ValidationError
from durably.handler import DurableFunction
from durably.limits import as_count, as_timedelta, plain

if TYPE_CHECKING:
    from durably.engine.store import Store

MEMORY_URL = "memory:"
DEFAULT_URL = "sqlite:durably.db"
DEFAULT_GRACE = timedelta(seconds=10)
DEFAULT_REGION = "local"
MIN_LEASE = timedelta(seconds=1)

_LOGIN = re.compile(r"(://[^/?#:@]*:).*@", re.DOTALL)
_PASSWORD = re.compile(r"([?&](?:ssl)?password=)[^&]*", re.IGNORECASE)
_is_region = re.compile(r"[a-zA-Z0-9-]{1,64}").fullmatch
_is_version = re.compile(r"[1-9][0-9]{0,17}").fullmatch
_is_account = re.compile(r"[0-9]{12}").fullmatch
is_function_name = re.compile(r"[a-zA-Z0-9_-]{1,140}").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How one engine runs.

    Attributes:
        store_url: `memory:`, `sqlite:PATH` or `postgresql://…`.
        max_concurrency: how many invocations may run at once.
        park_after: an execution with so many failed invocations in a row is parked.
        region: what the arns of its executions name as their region.
        account: likewise, the account: twelve digits.
        grace: how long running invocations may go on when the engine is closed.
        lease: how long it may be silent before its executions are given to another worker.
        version: of its functions. Where several workers share a store, an execution goes on only
            in those of the version that it began with.
    """

    store_url: str = field(default=DEFAULT_URL, repr=False)  # it may hold a password
    max_concurrency: int = 100
    park_after: int = 10
    region: str = DEFAULT_REGION
    account: str = "000000000000"
    grace: timedelta = DEFAULT_GRACE
    lease: timedelta = DEFAULT_LEASE
    version: str = LATEST

    def __post_init__(self) -> None:
        check_store_url(self.store_url)
        as_count(self.max_concurrency, "max_concurrency", minimum=1)
        as_count(self.park_after, "park_after", minimum=1)
        for name, is_legal, wanted in (
            ("region", _is_region, "letters, digits and '-'"),
            ("account", _is_account, "twelve digits"),
        ):
            text: object = getattr(self, name)
            if not isinstance(text, str) or is_legal(text) is None:
                raise ValidationError(name, f"must be {wanted}, not {shown(text)}")
            object.__setattr__(self, name, plain(text))
        as_timedelta(self.grace, "grace")
        if as_timedelta(self.lease, "lease") < MIN_LEASE:
            raise ValidationError("lease", "must be at least one second")
        check_version(self.version, self.store_url)


def check_version(version: object, store_url: str) -> None:
    """Refuse what is no version, and one where nobody could go on with another one.

    Raises:
        ValidationError: the text says why.
    """
    if version == LATEST:
        return
    if not isinstance(version, str) or _is_version(version) is None:
        raise ValidationError("version", f"must be a number, as in '42', not {shown(version)}")
    if not is_postgres(store_url):
        said = "needs a store that several workers share: postgresql://…"
        raise ValidationError("version", said)


def check_store_url(url: object) -> None:
    """Refuse what names no store.

    Raises:
        ValidationError: the text says what to write instead.
    """
    if not isinstance(url, str):
        raise ValidationError("store_url", f"must be text, not {shown(url)}")
    if url == MEMORY_URL or (url.startswith("sqlite:") and not url.startswith("sqlite://")):
        return
    if is_postgres(url):
        from durably.stores.postgres_address import PostgresAddress  # noqa: PLC0415 - only for it

        PostgresAddress.parse(url)
        return
    if url.startswith("sqlite://"):
        path = url.removeprefix("sqlite://").replace("//", "/") or "PATH"
        raise ValidationError("store_url", f"{url!r} has slashes too many: write sqlite:{path}")
    said = f"must be sqlite:PATH, postgresql://… or memory:, not {shown_url(url)!r}"
    step = "" if "://" in url else f": write sqlite:{url or 'PATH'}"
    raise ValidationError("store_url", said + step)


def shown_url(url: str) -> str:
    """Give *url* as it may be shown: without a password."""
    return _PASSWORD.sub(r"\1…", _LOGIN.sub(r"\1…@", url))


def make_store(url: str, *, is_visitor: bool = False) -> Store:
    """Make the store that *url* names. It is not opened yet.

    Args:
        url: as `EngineSettings.store_url`.
        is_visitor: whether it is only to look at something, or to hand something in, where other
            processes work on it.

    Raises:
        ValidationError: it names none.
    """
    check_store_url(url)
    if url == MEMORY_URL:
        from durably.stores.memory import MemoryStore  # noqa: PLC0415 - not before it is needed

        return MemoryStore()
    if is_postgres(url):
        return _postgres_store(url, is_visitor=is_visitor)
    from durably.stores.sqlite import SqliteStore  # noqa: PLC0415 - brings sqlite3

    return SqliteStore(url)


def is_postgres(url: str) -> bool:
    """Whether *url* names a PostgreSQL database."""
    return url.startswith(("postgresql:", "postgres:"))


def _postgres_store(url: str, *, is_visitor: bool) -> Store:
    try:
        from durably.stores.postgres import PostgresStore  # noqa: PLC0415 - brings psycopg
    except ImportError as error:
        said = f"PostgreSQL needs a driver ({error}): pip install 'durably[postgres]'"
        raise ValidationError("store_url", said) from error
    return PostgresStore(url, is_visitor=is_visitor)


def find_function(functions: Mapping[str, DurableFunction], function: object) -> DurableFunction:
    """Give one of *functions*: itself, or by its name.

    Raises:
        FunctionNotFoundError: it is none of them.
        ValidationError: it is neither a durable function nor a name.
    """
    if not isinstance(function, DurableFunction | str):
        name = getattr(function, "__name__", None) or shown(function)
        said = f"must be one of the engine's durable functions, or its name, not {name}"
        raise ValidationError("function", said)
    name = function if isinstance(function, str) else function.name
    found = functions.get(name)
    if found is None or not (found is function or isinstance(function, str)):
        raise FunctionNotFoundError(name, tuple(functions))
    return found


def functions_by_name(functions: object) -> Mapping[str, DurableFunction]:
    """Give *functions* by the names that they are registered under.

    Raises:
        ValidationError: one is no durable function, has no legal name, or that of another one.
    """
    if isinstance(functions, DurableFunction | str) or not isinstance(functions, Iterable):
        raise ValidationError("functions", "must be a list of durable functions")
    named: dict[str, DurableFunction] = {}
    for function in cast("Iterable[object]", functions):
        if not isinstance(function, DurableFunction):
            name = getattr(function, "__name__", repr(function))
            raise ValidationError("functions", f"{name} needs @durable_execution above its def")
        if is_function_name(function.name) is None:
            said = "is no name that an arn can carry: use letters, digits and '_'"
            raise ValidationError("functions", f"{function.name!r} {said}")
        if named.setdefault(function.name, function) is not function:
            raise ValidationError("functions", f"two of them are called {function.name!r}")
    return MappingProxyType(named)
