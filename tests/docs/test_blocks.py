"""Every block of Python in the documentation runs, in the order of its page."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from tests.docs import drives
from tests.docs.pages import Block, blocks_of, name_of, pages

TUTORIALS = {"docs/tutorial.md"}  # run by test_tutorial, as a person would
RUN = {"python", "check"}
HELPERS = {name: getattr(drives, name) for name in ("Failed", "names", "operations", "run")}
SHOWN = {"", "console", "py", "pycon", "sh", "sql", "text", "toml", "json"}


def with_code() -> list[Path]:
    """Give the pages of which something is run here."""
    return [
        page
        for page in pages()
        if name_of(page) not in TUTORIALS and any(one.kind in RUN for one in blocks_of(page))
    ]


@pytest.fixture
def module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> types.ModuleType:
    """Make the module that a page is run in, with a name and a directory of its own."""
    monkeypatch.chdir(tmp_path)
    made = types.ModuleType(re.sub(r"\W+", "_", request.node.name))
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


@pytest.mark.parametrize("page", with_code(), ids=name_of)
def test_the_blocks_of_a_page_run(page: Path, module: types.ModuleType) -> None:
    for block in blocks_of(page):
        if block.kind in RUN:
            _run(block, page, module)


def _run(block: Block, page: Path, module: types.ModuleType) -> None:
    lines = "\n" * (block.line - 1)  # so that a traceback names the line of the page
    code = compile(lines + block.text, str(page), "exec")
    names = vars(module)
    if block.kind == "check":
        names = {**names, **HELPERS}
    exec(code, names)  # noqa: S102 - that is what this test is for


@pytest.mark.parametrize("page", pages(generated=True), ids=name_of)
def test_every_block_is_of_a_kind_that_is_known(page: Path) -> None:
    kinds = {block.kind for block in blocks_of(page)}

    assert kinds <= RUN | SHOWN, f"mark what cannot run as one of {sorted(SHOWN)}"
