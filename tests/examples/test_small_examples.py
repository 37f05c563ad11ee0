"""Each small example gives the same in both flavours."""

import asyncio
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from durably import Engine

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(path for path in EXAMPLES.glob("*.py") if path.stem != "__init__")
MAX_LINES = 40
SECONDS = 9

in_both_flavours = pytest.mark.parametrize("flavour", ["", "_sync"], ids=["async def", "def"])


def load(name: str, flavour: str) -> ModuleType:
    return import_module(f"examples.{name}{flavour}")


async def run(module: ModuleType, function: str, event: object) -> Any:
    async with Engine("memory:", functions=[getattr(module, function)]) as engine:
        execution = await engine.start(function, event)
        return await execution.result(timeout=SECONDS)


def printed(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[str]:
    """Catch what *module* prints, from whichever thread."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def put(line: str) -> None:
        loop.call_soon_threadsafe(lines.put_nowait, line)

    monkeypatch.setattr(module, "print", put, raising=False)
    return lines


async def next_callback_id(lines: asyncio.Queue[str]) -> str:
    """Wait for a line, and give the callback id that it ends with."""
    async with asyncio.timeout(SECONDS):
        line = await lines.get()
    return line.rpartition(" to ")[2]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_small_example_is_short_and_has_both_flavours(path: Path) -> None:
    twin = path.stem.removesuffix("_sync") if "_sync" in path.stem else f"{path.stem}_sync"

    assert len(path.read_text().splitlines()) <= MAX_LINES
    assert (EXAMPLES / f"{twin}.py").exists()


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
@pytest.mark.parametrize(("answer", "expected"), [("true", "approved"), ("false", "refused")])
async def test_an_approval_is_what_the_manager_answers(
    flavour: str, answer: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("approval", flavour)
    lines = printed(module, monkeypatch)
    async with Engine("memory:", functions=[module.approve]) as engine:
        execution = await engine.start(module.approve, {"amount": 500})

        await engine.callback_succeed(await next_callback_id(lines), answer)

        assert await execution.result(timeout=SECONDS) == expected


@in_both_flavours
async def test_an_approval_is_refused_by_silence(flavour: str) -> None:
    expense = {"amount": 500, "patience_seconds": 1}

    assert await run(load("approval", flavour), "approve", expense) == "nobody answered"


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
async def test_a_draft_is_written_again_until_its_reader_is_content(
    flavour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("review", flavour)
    lines = printed(module, monkeypatch)
    async with Engine("memory:", functions=[module.write]) as engine:
        execution = await engine.start(module.write, "tea")

        for wish in ("shorter", "funnier", "ok"):
            await engine.callback_succeed(await next_callback_id(lines), wish)

        assert await execution.result(timeout=SECONDS) == "On tea (shorter) (funnier)"
