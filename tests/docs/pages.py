"""The documentation, read as Markdown: its pages, their blocks of code, their links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"

_MARKDOWN = MarkdownIt("commonmark").enable("table")
_CHECK = re.compile(r"<!-- check\n(.*?)-->", re.DOTALL)
_ANCHOR = re.compile(r'<a id="([^"]+)"></a>')


@dataclass(frozen=True)
class Block:
    """Something on a page that is run: *kind* is `python`, `console` or `check`."""

    kind: str
    text: str
    line: int


def pages(*, generated: bool = False) -> list[Path]:
    """Give every page, those made from docstrings only if *generated*."""
    found = [path for path in DOCS.rglob("*.md") if generated or REFERENCE not in path.parents]
    return sorted([ROOT / "README.md", ROOT / "ARCHITECTURE.md", *found])


def name_of(page: Path) -> str:
    """Give the name of *page* in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> Iterator[Block]:
    """Give what is run of *page*, in order: its blocks of code, and its hidden checks."""
    for token in _tokens(page):
        first_line = token.map[0] + 1 if token.map else 0
        if token.type == "fence":
            yield Block(token.info.strip(), token.content, first_line + 1)
        elif token.type == "html_block" and (check := _CHECK.search(token.content)):
            yield Block("check", check[1], first_line + 1)


def links_of(page: Path) -> set[str]:
    """Give the targets of all links on *page*."""
    return {
        str(inline.attrs["href"])
        for token in _tokens(page)
        for inline in token.children or ()
        if inline.type == "link_open"
    }


def anchors_of(page: Path) -> set[str]:
    """Give what a link into *page* can name: its headings, and the anchors it sets."""
    tokens = _tokens(page)
    headings = [tokens[place + 1] for place, one in enumerate(tokens) if one.type == "heading_open"]
    return {_slug(heading.content) for heading in headings} | set(_ANCHOR.findall(page.read_text()))


def _tokens(page: Path) -> list[Token]:
    return _MARKDOWN.parse(page.read_text())


def _slug(heading: str) -> str:
    plain = re.sub(r"<[^>]+>|[^\w\- ]", "", heading.lower())
    return plain.strip().replace(" ", "-")
