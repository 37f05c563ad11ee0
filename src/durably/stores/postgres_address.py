"""The address of a PostgreSQL store: what is ours in it, and what the driver is given."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from durably.errors import ValidationError

DEFAULT_SCHEMA = "durably"
DEFAULT_NAMESPACE = "default"
_OURS = frozenset({"schema", "namespace", "pool", "listen"})
_MAX_IDENTIFIER_BYTES = 63
_is_namespace = re.compile(r"[a-zA-Z0-9_-]{1,64}").fullmatch
_is_place = re.compile(r"(?:\[[^]@]*]|[^:@]*)(?::[0-9]*)?").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresAddress:
    """Where a store is.

    Attributes:
        dsn: what the driver is given. It may hold a password, so it is never shown.
        schema: the schema that holds the tables.
        namespace: whose executions it sees; those of other namespaces do not exist for it.
        pool: how many connections it may hold at most.
        listen: whether to hold one more, and be told by it of what other processes do. Turn it
            off behind a proxy that pools transactions.
    """

    dsn: str
    schema: str = DEFAULT_SCHEMA
    namespace: str = DEFAULT_NAMESPACE
    pool: int = 4
    listen: bool = True

    def __repr__(self) -> str:
        return f"PostgresAddress({self.title})"

    @property
    def title(self) -> str:
        """The address without what is secret in it."""
        parts = urlsplit(self.dsn)
        place = parts.netloc.rpartition("@")[2] + parts.path
        return f"postgresql://{place} (schema {self.schema}, namespace {self.namespace})"

    @classmethod
    def parse(cls, url: str) -> PostgresAddress:
        """Read `postgresql://…`; `schema`, `namespace`, `pool` and `listen` are ours.

        Raises:
            ValidationError: one of these is not a legal one.
        """
        parts = _parts_of(url)
        # By hand, and the rest as it is: a "+" stands for itself here, as the driver reads it.
        pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
        ours = {key: unquote(value) for key, _, value in pairs if key in _OURS}
        rest = "&".join("".join(pair) for pair in pairs if pair[0] not in _OURS)
        schema = ours.get("schema", DEFAULT_SCHEMA)
        if not 0 < len(schema.encode()) <= _MAX_IDENTIFIER_BYTES or "\x00" in schema:
            raise _refused("schema", "must have 1 to 63 bytes")
        namespace = ours.get("namespace", DEFAULT_NAMESPACE)
        if _is_namespace(namespace) is None:
            raise _refused("namespace", "must be 1 to 64 letters, digits, '-' and '_'")
        return cls(
            dsn=urlunsplit(parts._replace(query=rest)),
            schema=schema,
            namespace=namespace,
            pool=_pool_of(ours.get("pool", "4")),
            listen=_listen_of(ours.get("listen", "on")),
        )


def _parts_of(url: str) -> SplitResult:
    """Split *url*, and say nothing of what is in it: it may be a part of a password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _refused("it", _NOT_READ) from None
    places = parts.netloc.rpartition("@")[2].split(",")
    if not all(map(_is_place, places)) or "@" in parts.path or parts.fragment:
        raise _refused("it", _NOT_READ)
    return parts


_NOT_READ = (
    "cannot be read: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in a password "
    "%40 for @, %3A for :, %2F for /, %3F for ?, %23 for # and %25 for %"
)


def _pool_of(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1000):  # noqa: PLR2004 - said
        raise _refused("pool", f"must be 1 to 1000, not {text!r}")
    return int(text)


def _listen_of(text: str) -> bool:
    if text not in {"on", "off"}:
        raise _refused("listen", f"must be on or off, not {text!r}")
    return text == "on"


def _refused(field: str, said: str) -> ValidationError:
    return ValidationError("store_url", f"{field} {said}")
