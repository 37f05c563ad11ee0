"""S15: what runs in this process connects to this machine, and to what was configured."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from durably.engine.invokers import Call, FunctionError
from durably.server.attached import FunctionSettings
from durably.server.http_target import HttpTarget
from durably.server.listening import bound_socket, port_of
from tests.network import OutboundError, is_guarded, only_this_machine

ELSEWHERE = ("192.0.2.1", 80)  # an address that is nobody's, for documentation
METADATA = ("169.254.169.254", 80)


def by_socket(address: tuple[str, int]) -> None:
    socket.create_connection(address, timeout=1).close()


def by_loop(address: tuple[str, int]) -> None:
    asyncio.run(_opened(address))


async def _opened(address: tuple[str, int]) -> None:
    _, writer = await asyncio.open_connection(*address)
    writer.close()


def by_datagram(address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.sendto(b"?", address)


def by_function(address: tuple[str, int]) -> None:
    target = HttpTarget(FunctionSettings(name="f"), "http://{}:{}".format(*address))
    asyncio.run(target.call(Call(request_id="r", function_arn="arn", payload=lambda: b"{}")))


@pytest.mark.parametrize("connect", [by_socket, by_loop, by_datagram, by_function])
@pytest.mark.parametrize("address", [ELSEWHERE, METADATA])
def test_s15_another_machine_is_refused(
    connect: Callable[[tuple[str, int]], None], address: tuple[str, int]
) -> None:
    with (
        pytest.raises(AssertionError, match=address[0]),
        only_this_machine(("192.0.2.2", 80), (ELSEWHERE[0], 81)),
        pytest.raises((OutboundError, FunctionError), match=address[0]),
    ):
        connect(address)


def test_s15_a_refusal_that_was_survived_is_told_at_the_end() -> None:
    with (
        pytest.raises(AssertionError, match="refused"),
        only_this_machine(),
        suppress(OSError),  # as code does that can do without
    ):
        by_socket(ELSEWHERE)


def test_s15_this_machine_and_what_was_configured_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with bound_socket() as bound, socket.socket(socket.AF_UNIX) as local:
        bound.listen()
        local.bind("s")
        local.listen()
        here: list[Any] = [(host, port_of(bound)) for host in ("127.0.0.1", "localhost")]
        anywhere = ("0.0.0.0", port_of(bound))  # noqa: S104 - leads here, and is not named loopback
        with only_this_machine(anywhere) as tried:
            for address in (*here, anywhere):
                by_socket(address)
            with socket.socket(socket.AF_UNIX) as made:
                made.connect("s")

    assert tried[-2:] == [anywhere, "s"]
    assert all(address in tried for address in here[:1])


def test_s15_every_test_of_the_server_is_held_to_it() -> None:
    assert is_guarded()
