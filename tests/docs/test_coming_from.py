"""The tables for those who come from another SDK are whole, and lead to what exists."""

from __future__ import annotations

import builtins
import importlib
import inspect
import keyword
import pkgutil
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from types import ModuleType

import aws_durable_execution_sdk_python as official
import pytest

import durably
from tests.docs.pages import DOCS, ROOT

PAGE = DOCS / "coming-from-another-sdk.md"
ROW = re.compile(r"^\| (?!-)(.+?) \| (.+) \|$", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
# What only has meaning inside of the other SDK.
WITHOUT_COUNTERPART = {"P", "R", "T", "U", "C_co", "C_contra", "Params"}


def rows(heading: str) -> list[tuple[str, str]]:
    """Give the rows of the tables below *heading*, a heading of the second level."""
    _, _, rest = PAGE.read_text().partition(f"\n## {heading}")
    return ROW.findall(rest.partition("\n## ")[0])


def here() -> list[str]:
    """Give everything that the right-hand columns name."""
    cells = [cell for heading in ("JavaScript", "Python", "Go") for _, cell in rows(heading)]
    return sorted({code for cell in cells for code in CODE.findall(cell)})


@pytest.mark.parametrize("name", here())
def test_what_the_right_hand_column_names_exists(name: str) -> None:
    plain = name.partition("(")[0]

    if plain.endswith(".py"):
        assert (ROOT / "src" / "durably" / plain).is_file()
    elif plain.startswith("ctx."):
        assert hasattr(durably.DurableContext, plain.removeprefix("ctx."))
    elif plain.startswith("durably."):
        assert resolves(plain)
    elif plain[0].isupper() or plain in durably.__all__:
        assert plain.partition(".")[0] in durably.__all__ or plain in ALLOWED
        assert plain in ALLOWED or resolves(f"durably.{plain}")
    elif plain.isidentifier() and plain not in STANDARD:
        assert plain in members() or plain in defined_inside()


STANDARD = {*dir(builtins), *keyword.kwlist, "logging", "timedelta"}


@cache
def defined_inside() -> frozenset[str]:
    """Every function and attribute of the package: a behaviour may live in a hidden one."""
    sources = (ROOT / "src" / "durably").rglob("*.py")
    text = "\n".join(path.read_text() for path in sources)
    return frozenset(re.findall(r"(?:\bdef |\bself\.)(\w+)", text))


@cache
def members() -> frozenset[str]:
    """Everything that public classes have and public callables take."""
    public = [getattr(durably, name) for name in durably.__all__]
    found = {name for one in public for name in dir(one)}
    for one in public:
        with suppress(TypeError, ValueError):
            found |= set(inspect.signature(one).parameters)
    return frozenset(found)


ALLOWED = {"CancelledError", "Park"}


def resolves(path: str) -> bool:
    """Whether *path*, from a module to a name in it and its members, exists."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part, None)
        return found is not None
    return False


@cache
def python_column() -> str:
    return " ".join(cell for cell, _ in rows("Python"))


def official_modules() -> Iterator[ModuleType]:
    yield official
    for found in pkgutil.walk_packages(official.__path__, f"{official.__name__}."):
        if ".operation" not in found.name and not found.name.endswith("__about__"):
            yield importlib.import_module(found.name)


def official_names() -> list[str]:
    """Give every public class and function of the official SDK, and its constants."""
    return sorted(
        {
            name
            for module in official_modules()
            for name, value in vars(module).items()
            if not name.startswith("_")
            and getattr(value, "__module__", "").startswith(official.__name__)
            and (inspect.isclass(value) or inspect.isfunction(value))
            and value.__name__ == name  # not an alias that a module gives it for itself
        }
        - WITHOUT_COUNTERPART
    )


@pytest.mark.parametrize("name", official_names())
def test_every_name_of_the_official_python_sdk_has_a_row(name: str) -> None:
    if name.endswith(("Details", "Options")):
        return  # named together
    assert re.search(rf"\b{name}\b", python_column())


@pytest.mark.parametrize("heading", ["JavaScript", "Python", "Go"])
def test_each_sdk_has_its_table(heading: str) -> None:
    assert len(rows(heading)) > 20
