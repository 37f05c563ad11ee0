"""The page about the linter has every rule, and its examples are what the rules find and leave."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from durably.lint.linter import lint_text
from durably.lint.rules import ALLOW, RULES, UNREADABLE
from tests.docs.pages import DOCS, Block, blocks_of, name_of, pages

PAGE = DOCS / "how-to" / "lint.md"
HEADING = re.compile(r"^### (.+)$", re.MULTILINE)


@cache
def sections() -> dict[str, list[Block]]:
    """Give the blocks below each heading, and those before the first under no name."""
    lines = PAGE.read_text().splitlines()
    found: dict[str, list[Block]] = {"": []}
    for block in blocks_of(PAGE):
        above = [one for one in map(HEADING.fullmatch, lines[: block.line]) if one is not None]
        found.setdefault(above[-1][1] if above else "", []).append(block)
    return found


def program(block: Block) -> str:
    """Give *block* behind what all examples begin with."""
    [beginning] = [one for one in sections()[""] if one.kind == "python"]
    return f"{beginning.text}\n{block.text}"


def test_the_page_has_every_rule_and_no_other() -> None:
    assert set(HEADING.findall(PAGE.read_text())) == set(RULES)
    assert {ALLOW, UNREADABLE} <= set(re.findall(r"`(\w+)`", PAGE.read_text()))


@pytest.mark.parametrize("rule", RULES)
def test_the_wrong_example_of_a_rule_breaks_it_alone(rule: str) -> None:
    [wrong] = [block for block in sections()[rule] if block.kind == "py"]

    assert [finding.rule for finding in lint_text(program(wrong), "page.py")] == [rule]


@pytest.mark.parametrize("rule", RULES)
def test_the_right_example_of_a_rule_breaks_none(rule: str) -> None:
    [right] = [block for block in sections()[rule] if block.kind == "python"]

    assert lint_text(program(right), "page.py") == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_the_documentation_shows_nothing_that_breaks_a_rule(page: Path) -> None:
    text = "\n".join(block.text for block in blocks_of(page) if block.kind == "python")

    assert lint_text(text, "page.py") == []
