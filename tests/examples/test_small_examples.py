"""Each small example runs as it says, bears a crash anywhere, replays, and is listed."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from durably.testing import TestEngine, TestRun
from tests.examples.commands import EXAMPLES, FILES, command_of

MAX_LINES = 50
ANSWERS: dict[str, dict[str, object]] = {
    "approval": {"manager": True},
    "escalation": {"Ada": True},
    "review": {"reader": "ok"},
    "signatures": {"Ada": "Ada L.", "Bob": "Bob M."},
    "transcode": {"blue": "holiday.mp4"},
}

in_both_flavours = pytest.mark.parametrize("flavour", ["", "_sync"], ids=["async def", "def"])
each_example = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@each_example
def test_a_small_example_is_short_and_listed(path: Path) -> None:
    name = path.stem.removesuffix("_sync")

    assert len(path.read_text().splitlines()) <= MAX_LINES
    assert f"| [`{name}.py`]({name}.py) |" in (EXAMPLES / "README.md").read_text()


@each_example
async def test_a_small_example_bears_a_crash_anywhere_and_replays(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = command_of(path)

    async with TestEngine(command.functions, replay=True) as t:
        for name, answer in ANSWERS.get(path.stem.removesuffix("_sync"), {}).items():
            t.answer_callbacks(name, answer)
        report = await t.crash_everywhere(command.function, command.event)

    assert report.all_points


# Those in both flavours


def load(name: str, flavour: str) -> ModuleType:
    return import_module(f"examples.{name}{flavour}")


async def run(module: ModuleType, function: str, event: object) -> Any:
    async with TestEngine([getattr(module, function)]) as t:
        return (await t.run(function, event)).result


@in_both_flavours
async def test_hello_greets_twice(flavour: str) -> None:
    result = await run(load("hello", flavour), "hello", "Ada")

    assert result == ["Hello, Ada!", "Goodbye, Ada!"]


@in_both_flavours
@pytest.mark.parametrize(
    ("city", "expected"),
    [
        ("Oslo", ["flight to Oslo", "hotel to Oslo", "dinner to Oslo"]),
        ("Atlantis", ["cancelled: flight to Atlantis"]),
    ],
)
async def test_a_saga_books_everything_or_cancels_what_it_booked(
    flavour: str, city: str, expected: list[str]
) -> None:
    assert await run(load("saga", flavour), "book_trip", city) == expected


@in_both_flavours
@pytest.mark.parametrize(
    ("answer", "expected"), [("true", "approved"), ("false", "refused"), (None, "nobody answered")]
)
async def test_an_approval_is_what_the_manager_answers(
    flavour: str, answer: str | None, expected: str
) -> None:
    approve = load("approval", flavour).approve

    async with TestEngine([approve]) as t:
        if answer is not None:
            t.answer_callbacks("manager", answer, after=1800)
        assert (await t.run(approve, {"amount": 500})).result == expected


@in_both_flavours
async def test_polling_ends_when_the_work_is_done(flavour: str) -> None:
    result = await run(load("polling", flavour), "render", "holiday.mov")

    assert result == "holiday.mov: 100 %"


@in_both_flavours
@pytest.mark.parametrize(
    ("pages", "sizes", "lost"),
    [
        (["home", "about", "lost"], [4, 5], ["lost"]),
        (["home", "about"], [4, 5], []),
    ],
)
async def test_a_fan_out_goes_on_although_some_fail(
    flavour: str, pages: list[str], sizes: list[int], lost: list[str]
) -> None:
    result = await run(load("fan_out", flavour), "crawl", pages)

    assert result == {"sizes": sizes, "lost": lost}


@in_both_flavours
async def test_a_fan_out_stops_when_most_fail(flavour: str) -> None:
    result = await run(load("fan_out", flavour), "crawl", ["lost"] * 6 + ["home"] * 4)

    assert result["lost"] == ["lost"] * 6
    assert len(result["sizes"]) < 4


@in_both_flavours
async def test_a_draft_is_written_again_until_its_reader_is_content(flavour: str) -> None:
    write = load("review", flavour).write

    async with TestEngine([write]) as t:
        written = await t.start(write, "tea")
        for wish in ("shorter", "funnier", "ok"):
            await t.run_until_suspended()
            await t.callback_succeed(open_callback_of(written), wish)
        await t.finish(written)

        assert written.result == "On tea (shorter) (funnier)"


def open_callback_of(written: TestRun) -> str:
    """Give the id of the round that is not answered yet."""
    rounds = [one.callback_id for one in written.operations if one.callback_id]
    return str(rounds[-1])
