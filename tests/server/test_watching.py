"""Noticing that source files have changed."""

from __future__ import annotations

import asyncio
from pathlib import Path

from durably.server.watching import changes, snapshot


def test_only_source_files_of_ones_own_are_looked_at(tmp_path: Path) -> None:
    for name in (
        "app.py",
        "lib/deep/index.mjs",
        "data.json",
        "node_modules/x/index.js",
        ".venv/lib/x.py",
        "__pycache__/app.py",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")

    found = {path.relative_to(tmp_path).as_posix() for path in snapshot([tmp_path])}

    assert found == {"app.py", "lib/deep/index.mjs"}


async def test_what_is_changed_made_or_removed_is_told(tmp_path: Path) -> None:
    changed, removed, made = (tmp_path / name for name in ("a.py", "b.py", "c.py"))
    changed.write_text("1")
    removed.write_text("1")
    told = changes([tmp_path], (looked := asyncio.Event()).set)
    news = asyncio.ensure_future(anext(told))
    await looked.wait()

    changed.write_text("22")
    removed.unlink()
    made.touch()

    seen = set(await news)
    while seen < {changed, removed, made}:  # they may be met one by one
        seen |= await anext(told)
    assert seen == {changed, removed, made}
    await told.aclose()
