"""Tokens and ids that nobody can make up: S04, S05."""

import base64
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from random import Random

import pytest

from durably import Engine
from durably.engine.tokens import NONCE_BYTES, TokenParts, mint_callback_id, seal_token
from durably.seams import RandomIds
from durably.server.access import Access, BearerToken
from durably.server.app import make_app
from tests.app.functions import ALL
from tests.server.fuzz import Request, ask
from tests.server.hostile import Target, check_refusal, target

FORGERIES = 10_000


@pytest.fixture
async def api() -> AsyncIterator[Target]:
    async with target() as made:
        yield made


def forged_ids(real: str, random: Random) -> list[str]:
    """Give callback ids that look like *real*: changed, cut, made with other keys."""
    changed = []
    for _ in range(FORGERIES // 2):
        place = random.randrange(len(real))
        digit = random.choice([one for one in "0123456789abcdef" if one != real[place]])
        changed.append(real[:place] + digit + real[place + 1 :])
    made = [
        mint_callback_id((random.randbytes(32),), random.randbytes(NONCE_BYTES))
        for _ in range(FORGERIES // 2 - len(real))
    ]
    return [*changed, *made, *(real[:n] for n in range(1, len(real))), real + "00", real.upper()]


@pytest.mark.timeout(60)
async def test_s04_no_forged_callback_id_is_accepted(api: Target) -> None:
    random = Random(4)  # noqa: S311 - a seed is there to be used again
    before = await api.state()
    ids = forged_ids(api.callback_id, random)
    for one in ids:
        request = Request(method="POST", path=api.callback("succeed", one), body=b"1")
        assert (await ask(api.app, request, random)).status == 404
    assert len(ids) >= FORGERIES
    assert await api.state() == before


@pytest.mark.timeout(60)
async def test_s04_no_forged_checkpoint_token_is_accepted(api: Target) -> None:
    random = Random(4)  # noqa: S311 - as above
    before = await api.state()
    raw = base64.b64decode(api.token)
    for number in range(FORGERIES):
        place, bit = random.randrange(len(raw)), 1 << random.randrange(8)
        forged = base64.b64encode(
            raw[:place] + bytes([raw[place] ^ bit]) + raw[place + 1 :]
        ).decode()
        if number % 4 == 0:
            forged = seal_token((random.randbytes(32),), api.running, TokenParts(1, number // 4))
        body = f'{{"CheckpointToken": "{forged}"}}'.encode()
        request = Request(method="POST", path=api.execution(verb="/checkpoint"), body=body)
        assert (await ask(api.app, request, random)).status == 400
    assert await api.state() == before


async def test_s04_tokens_are_good_for_their_own_execution_only(api: Target) -> None:
    before = await api.state()
    path = api.execution(api.waiting, "/checkpoint")
    reply = await api.client.post(path, json={"CheckpointToken": api.token})
    assert reply.json()["message"] == "Invalid checkpoint token"
    assert await api.state() == before


@pytest.mark.parametrize("added", ["=", "==", "\n", "A", "AAAA"])
async def test_s04_a_token_is_written_in_one_way(api: Target, added: str) -> None:
    before = await api.state()
    body = {"CheckpointToken": api.token + added}
    reply = await api.client.post(api.execution(verb="/checkpoint"), json=body)
    assert reply.json()["message"] == "Invalid checkpoint token"
    assert await api.state() == before


async def test_s04_a_token_that_is_cut_short_is_none(api: Target) -> None:
    before = await api.state()
    for length in range(len(api.token)):
        body = {"CheckpointToken": api.token[:length]}
        reply = await api.client.post(api.execution(verb="/checkpoint"), json=body)
        check_refusal(reply)
    assert await api.state() == before


async def test_s04_a_token_is_good_until_the_next_one_is_given(api: Target) -> None:
    step = {"Id": "a", "Type": "STEP", "Action": "START", "SubType": "Step"}
    first = {"CheckpointToken": api.token, "Updates": [step]}
    given = await api.client.post(api.execution(verb="/checkpoint"), json=first)
    assert given.json()["CheckpointToken"] != api.token
    before = await api.state()

    stale = {"CheckpointToken": api.token, "Updates": [{**step, "Id": "b"}]}
    reply = await api.client.post(api.execution(verb="/checkpoint"), json=stale)

    check_refusal(reply)
    assert reply.json()["message"] == "Invalid checkpoint token"
    assert await api.state() == before


async def test_a_new_key_leaves_those_under_way_alone_and_a_second_one_does_not(
    api: Target,
) -> None:
    service, body = api.engine.service, {"CheckpointToken": api.token}

    async def heartbeat() -> int:
        return (await api.client.post(api.callback("heartbeat"))).status_code

    await service.rotate_key()
    assert await heartbeat() == 200
    reply = await api.client.post(api.execution(verb="/checkpoint"), json=body)
    assert reply.status_code == 200
    body = {"CheckpointToken": reply.json()["CheckpointToken"]}  # made with the new key

    await service.rotate_key()
    assert await heartbeat() == 404
    reply = await api.client.post(api.execution(verb="/checkpoint"), json=body)
    assert reply.status_code == 200

    await service.rotate_key()
    await service.rotate_key()
    body = {"CheckpointToken": reply.json()["CheckpointToken"]}
    reply = await api.client.post(api.execution(verb="/checkpoint"), json=body)
    assert reply.json()["message"] == "Invalid checkpoint token"


def test_s05_callback_ids_do_not_repeat_and_show_no_pattern() -> None:
    keys, ids, count = (b"k" * 32,), RandomIds(), 100_000
    made = [bytes.fromhex(mint_callback_id(keys, ids.nonce(NONCE_BYTES))) for _ in range(count)]
    assert len(set(made)) == count
    for place in range(len(made[0])):
        seen = Counter(one[place] for one in made)
        expected = count / 256
        square = sum((seen[value] - expected) ** 2 / expected for value in range(256))
        # Chi-squared with 255 degrees of freedom: above 400 once in ten million.
        assert square < 400, f"byte {place}"


async def test_s05_a_callback_id_does_not_follow_from_what_it_is_for(api: Target) -> None:
    """Two callbacks of one operation id, in executions begun alike, have nothing in common."""
    known = (api.waiting, "ask", f"{api.waiting}\0ask", f"{api.waiting}/ask", f"{api.waiting}ask")
    derived = {
        hashlib.new(kind, text.encode()).hexdigest()[:32]
        for kind in ("md5", "sha1", "sha256", "blake2b")
        for text in known
    }
    assert api.callback_id[:32] not in derived
    async with target() as other:
        assert other.callback_id[:32] != api.callback_id[:32]
        reply = await api.client.post(api.callback("heartbeat", other.callback_id))
        assert reply.status_code == 404


async def test_s04_no_guessed_bearer_token_is_accepted() -> None:
    random = Random(4)  # noqa: S311 - as above
    secret = "0123456789abcdef"
    async with Engine("memory:", ALL, grace=0) as engine:
        app = make_app(engine, access=Access(tokens=(BearerToken(secret),)))
        for place in range(len(secret)):
            for guess in (secret[:place], secret[:place] + "g" + secret[place + 1 :]):
                request = Request(method="GET", path="/2015-03-31/functions")
                request = request.with_header("authorization", f"Bearer {guess}".encode())
                assert (await ask(app, request, random)).status == 403
