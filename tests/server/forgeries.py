"""Forges callback ids and checkpoint tokens: `python -m tests.server.forgeries --count 1000000`.

None may be taken, and how long one is looked at must not say how much of it is right (S04). Each
kind is forged as often as asked for against the check itself, and a hundredth of that over HTTP.
"""

import argparse
import asyncio
import base64
import gc
import http.client
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import sqrt
from random import Random
from statistics import NormalDist, fmean, quantiles, variance
from typing import TypeAlias

from durably.engine.tokens import (
    NONCE_BYTES,
    TokenParts,
    is_callback_id,
    mint_callback_id,
    seal_token,
    unseal_token,
)
from durably.errors import InvalidParameterValueException
from durably.server.listening import bound_socket, listening, port_of
from tests.server.hostile import Target, target

ALPHA = 0.001
SIGNIFICANT = NormalDist().inv_cdf(1 - ALPHA / 2)
"""Of samples as large as ours, Welch's t is normal: it is beyond this once in a thousand times."""

SAMPLES = 20_000
KEY_BYTES = 32
OF_HTTP = 100
REFUSED = {400, 404}

Check: TypeAlias = Callable[[str], bool]
Forge: TypeAlias = Callable[[], str]
Clock: TypeAlias = Callable[[], int]


class ForgeryError(AssertionError):
    """A forgery was taken, or could be told from another one by the time that it took."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Something that can be forged.

    Attributes:
        make: gives a good one, each time another.
        guess: gives one of the same length by chance.
        spoil: changes one of its digits.
        is_good: whether it is taken.
    """

    name: str
    make: Forge
    guess: Forge
    spoil: Callable[[str, int], str]
    is_good: Check

    def almost(self) -> str:
        """Give one that is right but for its last digit."""
        good = self.make()
        return self.spoil(good, len(good) - 1)

    def forgeries(self, random: Random, other: "Kind") -> Iterator[str]:
        """Give forgeries without end: changed somewhere, guessed, made with another key."""
        while True:
            good = self.make()
            yield self.spoil(good, random.randrange(len(good)))
            yield self.guess()
            yield other.make()


def callback_ids(keys: Sequence[bytes], random: Random) -> Kind:
    """Give what forges callback ids of a store with *keys*."""

    def spoil(good: str, place: int) -> str:
        digit = random.choice([one for one in "0123456789abcdef" if one != good[place]])
        return good[:place] + digit + good[place + 1 :]

    return Kind(
        name="callback id",
        make=lambda: mint_callback_id(keys, random.randbytes(NONCE_BYTES)),
        guess=lambda: random.randbytes(32).hex(),
        spoil=spoil,
        is_good=lambda text: is_callback_id(keys, text),
    )


def tokens(keys: Sequence[bytes], arn: str, random: Random) -> Kind:
    """Give what forges checkpoint tokens of one execution."""

    def make() -> str:
        return seal_token(keys, arn, TokenParts(random.randrange(9), random.randrange(99)))

    def spoil(good: str, place: int) -> str:
        raw = bytearray(base64.b64decode(good))
        raw[place * len(raw) // len(good)] ^= 1 << random.randrange(8)
        return base64.b64encode(raw).decode()

    def is_good(text: str) -> bool:
        try:
            unseal_token(keys, arn, text)
        except InvalidParameterValueException:
            return False
        return True

    return Kind(
        name="checkpoint token",
        make=make,
        guess=lambda: base64.b64encode(random.randbytes(36)).decode(),
        spoil=spoil,
        is_good=is_good,
    )


def refuse_all(name: str, is_good: Check, forgeries: Iterable[str]) -> None:
    """Try *forgeries*.

    Raises:
        ForgeryError: one of them is good.
    """
    for one in forgeries:
        if is_good(one):
            raise ForgeryError(f"a forged {name} was taken: {one}")


def welch(first: Sequence[float], second: Sequence[float]) -> float:
    """Give Welch's t: how far apart two means are, in standard errors of their difference."""
    error = variance(first) / len(first) + variance(second) / len(second)
    return (fmean(first) - fmean(second)) / sqrt(error) if error else 0.0


def tell_apart(kind: Kind, is_good: Check, count: int, random: Random, clock: Clock) -> float:
    """Give Welch's t of what almost right ones and guessed ones take, *count* of each.

    They come in an order of chance, so that whatever else slows the machine meets both alike. The
    slowest tenth of all is left out: that is the machine, and a leak would drown in it.
    """
    waiting = [(True, kind.almost()) for _ in range(count)]
    waiting += [(False, kind.guess()) for _ in range(count)]
    random.shuffle(waiting)
    taken: dict[bool, list[float]] = {True: [], False: []}
    gc.disable()
    try:
        for is_almost, text in waiting:
            began = clock()
            is_good(text)
            taken[is_almost].append(clock() - began)
    finally:
        gc.enable()
    limit = quantiles([*taken[True], *taken[False]], n=10)[-1]
    return welch(*([one for one in values if one <= limit] for values in taken.values()))


def cannot_be_told_apart(
    kind: Kind, is_good: Check, count: int, random: Random, clock: Clock = time.perf_counter_ns
) -> float:
    """Give Welch's t of almost right and guessed ones, if it is that of noise.

    One beyond the bound is looked at again: chance is not on the same side twice, a leak is.

    Raises:
        ForgeryError: they can be told apart.
    """
    first = tell_apart(kind, is_good, count, random, clock)
    if abs(first) < SIGNIFICANT:
        return first
    second = tell_apart(kind, is_good, count, random, clock)
    if abs(second) < SIGNIFICANT or (first > 0) is not (second > 0):
        return second
    raise ForgeryError(
        f"how long a {kind.name} is looked at says how much of it is right: "
        f"Welch's t is {first:.1f}, and {second:.1f} again"
    )


def forge(seed: int, count: int, samples: int = SAMPLES) -> Iterator[str]:
    """Forge, and say what came of it.

    Raises:
        ForgeryError: something was taken, or can be told from something else.
    """
    random = Random(seed)  # noqa: S311 - a seed is there to be used again
    keys, others = ((random.randbytes(KEY_BYTES),) for _ in range(2))
    kinds = (callback_ids(keys, random), tokens(keys, "an arn", random))
    made_by_others = (callback_ids(others, random), tokens(others, "an arn", random))
    for kind, other in zip(kinds, made_by_others, strict=True):
        refuse_all(kind.name, kind.is_good, islice(kind.forgeries(random, other), count))
        t = cannot_be_told_apart(kind, kind.is_good, samples, random) if samples else 0.0
        yield f"{count} {kind.name}s, none taken; almost right beside guessed: t {t:.2f}"
    yield from asyncio.run(_over_http(random, max(count // OF_HTTP, 1), samples // OF_HTTP))


async def _over_http(random: Random, count: int, samples: int) -> list[str]:
    async with target() as api:
        bound = bound_socket()
        async with listening(api.app, [bound]):
            keys = await api.engine.service.store.keys()
            before = await _recorded(api)
            said = await asyncio.to_thread(
                _send_all, api, port_of(bound), keys, random, count, samples
            )
            if await _recorded(api) != before:
                raise ForgeryError("a forgery over HTTP was refused, and has changed something")
            return said


async def _recorded(api: Target) -> list[tuple[bytes, ...]]:
    """Give what has happened to every execution. Who works on it until when goes on meanwhile."""
    return [stored.facts for stored in await api.state()]


def _send_all(
    api: Target, port: int, keys: Sequence[bytes], random: Random, count: int, samples: int
) -> list[str]:
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def post(path: str, body: str) -> bool:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        reply.read()
        return reply.status not in REFUSED

    others = (random.randbytes(KEY_BYTES),)
    checkpoint = api.execution(verb="/checkpoint")
    tried: tuple[tuple[Kind, Kind, Check], ...] = (
        (
            callback_ids(keys, random),
            callback_ids(others, random),
            lambda text: post(api.callback("succeed", text), "1"),
        ),
        (
            tokens(keys, api.running, random),
            tokens(others, api.running, random),
            lambda text: post(checkpoint, f'{{"CheckpointToken": "{text}"}}'),
        ),
    )
    said = []
    for kind, other, is_good in tried:
        refuse_all(kind.name, is_good, islice(kind.forgeries(random, other), count))
        t = cannot_be_told_apart(kind, is_good, samples, random) if samples else 0.0
        said.append(f"{count} {kind.name}s over HTTP, none taken; the same: t {t:.2f}")
    connection.close()
    return said


def main() -> int:
    """Forge, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=None)
    chosen = parser.parse_args()
    seed = Random().randrange(2**32) if chosen.seed is None else chosen.seed  # noqa: S311 - as above
    try:
        for line in forge(seed, chosen.count):
            sys.stdout.write(f"fuzz: {line}\n")
            sys.stdout.flush()
    except ForgeryError as error:
        sys.stdout.write(f"{error}\nseed {seed}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
