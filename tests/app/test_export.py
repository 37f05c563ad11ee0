"""A history outlives its store: it is exported, written, read, masked, and replayed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from durably import (
    DurableContext,
    Engine,
    History,
    ResourceNotFoundException,
    SyncEngine,
    ValidationError,
    durable_execution,
)
from durably.testing import assert_replayable


@durable_execution
async def greet(name: str, ctx: DurableContext) -> str:
    return await ctx.step("hello", "Hello, {}!".format, name)


async def exported() -> History:
    async with Engine("memory:", [greet]) as engine:
        run = await engine.start(greet, "Ada", name="g-1")
        await run.result()
        assert (await engine.export("greet/g-1")).facts == (await engine.export(run)).facts
        return await engine.export(run)


async def test_an_execution_is_exported_with_all_that_a_replay_needs() -> None:
    history = await exported()

    assert repr(history) == "<History of greet/g-1, 6 facts>"
    assert history.arn.split(":")[6] == history.function_name == "greet"
    assert history.execution_name == "g-1"
    assert_replayable(history, greet, same_end=True)


def test_an_engine_that_blocks_exports_the_same() -> None:
    with SyncEngine("memory:", [greet]) as engine:
        run = engine.start(greet, "Ada")
        run.result()

        assert engine.export(run).facts == engine.export(run.arn).facts


async def test_an_execution_that_there_is_not_cannot_be_exported() -> None:
    async with Engine("memory:", [greet]) as engine:
        with pytest.raises(ResourceNotFoundException):
            await engine.export("nobody")


async def test_a_file_gives_back_what_was_written_to_it(tmp_path: Path) -> None:
    history = await exported()

    for one in (history, history.masked()):
        one.write(tmp_path / "history.jsonl")
        found = History.read(tmp_path / "history.jsonl")
        assert (found.facts, found.is_masked) == (one.facts, one.is_masked)
        assert found.text == one.text


async def test_a_file_is_for_the_eyes_of_its_owner(tmp_path: Path) -> None:
    history, before = await exported(), os.umask(0)
    (tmp_path / "there.jsonl").touch(0o644)

    try:
        for name in ("new.jsonl", "there.jsonl"):
            history.write(tmp_path / name)
    finally:
        os.umask(before)

    for name in ("new.jsonl", "there.jsonl"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


async def test_a_masked_history_holds_no_text_of_the_original_and_replays() -> None:
    history = await exported()
    assert "Ada" in history.text

    masked = history.masked()

    assert "Ada" not in masked.text
    assert "Hello" not in masked.text
    assert masked.is_masked
    assert_replayable(masked, greet, same_end=True)


def test_what_is_no_history_is_refused() -> None:
    with pytest.raises(ValidationError, match="history: line 1 is not"):
        History.parse("nothing of the kind")
