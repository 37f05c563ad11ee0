"""S15: an engine needs no network."""

from pathlib import Path

from durably import Engine
from tests.app.functions import echo
from tests.network import is_guarded, only_this_machine


async def test_s15_an_engine_connects_to_nobody(tmp_path: Path) -> None:
    assert is_guarded()
    with only_this_machine() as tried:
        async with Engine(f"sqlite:{tmp_path / 'd.db'}", [echo]) as engine:
            assert await (await engine.start(echo, 1)).result() == 1

    assert tried == []
