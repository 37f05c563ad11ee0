"""The SQL of the SQLite store, read from its files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, TypeAlias

from durably.stores.sql_files import read_sql, statements_in

# One row of a table, or the parameters of one statement.
Row: TypeAlias = tuple[Any, ...]
Statement: TypeAlias = tuple[str, Sequence[Any]]

_PARAMETERS = re.compile(r"\(\?(?:, \?)*\)")
_MAX_ROWS = 64


def schema(version: int) -> str:
    """Give the script that makes version *version* out of the one before."""
    return read_sql(f"sqlite_schema_{version}.sql")


@cache
def statement(name: str) -> str:
    """Give the statement of this name."""
    return statements_in("sqlite.sql")[name]


def for_rows(name: str, rows: Sequence[Row]) -> Iterator[Statement]:
    """Write *rows* by as few statements as possible.

    Every run of a statement lets go of the interpreter's lock, and where other threads compute it
    takes milliseconds to get it back. Numbers of rows are powers of two, so that few texts exist
    and all of them stay prepared.
    """
    if len(rows) == 1:
        yield statement(name), rows[0]
        return
    start = 0
    while start < len(rows):
        amount = min(_MAX_ROWS, 1 << ((len(rows) - start).bit_length() - 1))
        chunk = rows[start : start + amount]
        yield _for_amount(name, amount), tuple(chain.from_iterable(chunk))
        start += amount


@cache
def _for_amount(name: str, amount: int) -> str:
    text = statement(name)
    [parameters] = _PARAMETERS.findall(text)
    return text.replace(parameters, ", ".join([parameters] * amount))
