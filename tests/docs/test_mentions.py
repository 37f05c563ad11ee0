"""What a user can meet is written about by a person, and not only in the generated reference."""

from __future__ import annotations

import dataclasses
import re
from functools import cache

import click
import pytest

import durably
from docs.build import commands
from durably.cli.main import cli
from tests.docs.pages import DOCS, pages


@cache
def words_of(*names: str) -> frozenset[str]:
    """Give every word of the pages written by hand, or of those of these *names*."""
    chosen = [page for page in pages() if "decisions" not in page.parts]
    if names:
        chosen = [page for page in chosen if page.name in names]
    return frozenset(re.findall(r"\w+", " ".join(page.read_text() for page in chosen)))


def errors() -> list[str]:
    return [
        name
        for name in durably.__all__
        if isinstance(value := getattr(durably, name), type) and issubclass(value, BaseException)
    ]


def settings() -> list[tuple[str, str]]:
    """Give every setting of every public configuration."""
    return [
        (name, field.name)
        for name in durably.__all__
        if name.endswith(("Config", "Settings"))
        and dataclasses.is_dataclass(getattr(durably, name))
        for field in dataclasses.fields(getattr(durably, name))
    ]


@pytest.mark.parametrize("name", errors())
def test_every_error_is_written_about(name: str) -> None:
    assert name in words_of("errors.md")


@pytest.mark.parametrize(("config", "setting"), settings())
def test_every_setting_is_written_about(config: str, setting: str) -> None:
    assert setting in words_of()


@pytest.mark.parametrize("name", sorted(durably.__all__))
def test_every_public_name_is_written_about(name: str) -> None:
    assert name in words_of()


@pytest.mark.parametrize(("path", "command"), list(commands(cli)), ids=str)
def test_every_command_and_option_is_written_about(path: str, command: click.Command) -> None:
    text = (DOCS / "how-to" / "command-line.md").read_text()
    spelled = [max(one.opts, key=len) for one in command.params if isinstance(one, click.Option)]

    assert path in text
    assert [option for option in spelled if option not in text] == []
