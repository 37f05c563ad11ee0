"""SQL as it is kept in files: named statements, and the scripts that make a schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def statements_in(file: str) -> Mapping[str, str]:
    """Give the statements of a file by the names that stand above them."""
    _, *parts = _NAME.split(read_sql(file))
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def read_sql(file: str) -> str:
    """Give the text of a file."""
    return (files("durably.stores") / "sql" / file).read_text(encoding="utf-8")
