"""The reference says what the docstrings say, and is complete."""

from __future__ import annotations

import durably
from docs.build import write_pages
from tests.docs.pages import REFERENCE


def test_the_reference_is_up_to_date() -> None:
    made = write_pages()

    written = {path.name: path.read_text() for path in REFERENCE.glob("*.md")}
    assert sorted(written) == sorted(made), "run `make docs`"
    stale = [name for name, text in made.items() if written[name] != text]
    assert stale == [], "run `make docs`"


def test_every_public_name_stands_in_the_reference() -> None:
    index = (REFERENCE / "README.md").read_text()

    assert [name for name in durably.__all__ if f"[`{name}`]" not in index] == []
