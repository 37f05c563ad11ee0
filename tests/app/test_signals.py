"""SIGINT and SIGTERM, as something to wait for."""

import asyncio
import os
import signal

import pytest

from durably.app.signals import StopSignals


async def test_the_first_signal_and_the_second_are_told_apart_and_more_are_ignored() -> None:
    async with StopSignals() as signals:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.01)

        assert (await signals.first, await signals.second) == (signal.SIGTERM, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


async def test_work_is_done_to_its_end_when_nobody_hurries() -> None:
    done = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append(1)

    async with StopSignals() as signals:
        await signals.hurry(work())

    assert done == [1]


async def test_a_second_signal_cancels_the_work_which_still_ends_well() -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(1)

    async with StopSignals() as signals:
        signals.first.set_result(signal.SIGINT)
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        await signals.hurry(work())

    assert ended == [1]


async def test_work_that_fails_says_so() -> None:
    async def work() -> None:
        raise ValueError("broken")

    async with StopSignals() as signals:
        with pytest.raises(ValueError, match="broken"):
            await signals.hurry(work())
