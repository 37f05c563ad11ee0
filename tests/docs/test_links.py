"""Links lead somewhere, and words that promise too much are backed by a promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, anchors_of, links_of, name_of, pages

BIG_WORDS = re.compile(
    r"exactly[ -]once|guaranteed|never[ -]fails|reliable[ -]delivery", re.IGNORECASE
)
PROMISE = re.compile(r"\W{0,6}P\d")
EXTRA = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "changelog.d" / "README.md"]


@pytest.mark.parametrize("page", [*pages(generated=True), *EXTRA], ids=name_of)
def test_links_resolve(page: Path) -> None:
    broken = [link for link in links_of(page) if not resolves(link, page)]

    assert broken == []


def resolves(link: str, page: Path) -> bool:
    """Whether *link* on *page* leads to a file of the repository, and to a place in it."""
    if re.match(r"https?://", link):
        return True
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    return not anchor or (target.suffix == ".md" and anchor in anchors_of(target))


@pytest.mark.parametrize("page", pages(generated=True), ids=name_of)
def test_big_words_are_followed_by_a_promise(page: Path) -> None:
    text = " ".join(page.read_text().split())

    offences = [
        text[max(0, word.start() - 40) : word.end() + 20]
        for word in BIG_WORDS.finditer(text)
        if PROMISE.match(text, word.end()) is None
    ]

    assert offences == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        for link in links_of(page):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists():
                todo.append(target)

    assert set(pages(generated=True)) <= seen
