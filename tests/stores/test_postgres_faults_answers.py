"""The answer to a statement is lost: what was to happen has happened once, or is told of."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from msgspec.structs import replace

from durably.engine.roster import Presence
from durably.engine.store import Query, VersionConflict, WakeAt
from durably.errors import StoreError, StoreUnavailableError
from durably.stores.postgres import PostgresStore
from durably.stores.postgres_address import PostgresAddress
from durably.stores.postgres_database import PostgresDatabase
from durably.stores.sql_files import statements_in
from durably.testing.store_values import LEASE, SECOND, T0, change, creation
from tests.stores.postgres_proxy import Fault, Proxy
from tests.stores.postgres_server import in_schema

pytestmark = pytest.mark.timeout(60)

BROKEN = (Fault.BEFORE, Fault.UNCOMMITTED, Fault.AFTER)
LOST = StoreUnavailableError
HERE = Presence(
    worker="w", functions=("f",), max_concurrency=1, started_at=datetime(2026, 1, 1, tzinfo=UTC),
    lease=timedelta(days=9),
)  # fmt: skip
CLOSED = {"status": "SUCCEEDED", "ended_at": T0, "delete_at": T0}


def kinds_of(address: PostgresAddress) -> dict[str, str]:
    """Give how each statement begins, up to its first parameter."""
    text = PostgresDatabase(address).text
    names = [name for name in statements_in("postgres.sql") if not name.startswith("list_")]
    return {name: text(name).decode().partition("%(")[0] for name in names}


def once(proxy: Proxy, fault: Fault, start: str) -> None:
    """Have *fault* befall the next request that starts like this."""
    waiting = [fault]

    def next_fault(statement: str) -> Fault | None:
        return waiting.pop() if waiting and statement.startswith(start) else None

    proxy.fault = next_fault


@pytest.fixture
async def opened() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def proxy(opened: AsyncExitStack, postgres: str) -> Proxy:
    return await opened.enter_async_context(Proxy(postgres))


@pytest.fixture
async def store(opened: AsyncExitStack, proxy: Proxy) -> PostgresStore:
    """A store behind the proxy: "a" is due, "held" is claimed, "old" is closed and expired."""
    store = PostgresStore(in_schema(proxy.url, pool="2"))
    await store.open()
    opened.push_async_callback(store.close)
    held = replace(creation("held"), wake=WakeAt(T0 - SECOND), callback_ids=("c-1",))
    old = creation("old")
    old = replace(old, wake=WakeAt(None), summary=replace(old.summary, **CLOSED))
    await store.append([held])
    await store.claim("w", ["f"], T0 - SECOND, 10 * LEASE, 1)
    await store.append([creation("a", wake=WakeAt(T0)), old])
    await store.announce(HERE)
    return store


async def epoch_of(store: PostgresStore, arn: str) -> int:
    found = await store.find(arn)
    assert found is not None
    assert found.claim_epoch is not None
    return found.claim_epoch


async def extended(store: PostgresStore) -> Any:
    mine = ("f/held", await epoch_of(store, "f/held"))
    return await store.extend("w", [mine, ("f/a", 1)], T0 + LEASE)


async def read_name(store: PostgresStore) -> Any:
    return await store.find_by_name("f", "a")


async def listed(store: PostgresStore) -> Any:
    return sorted(one.arn for one in (await store.list(Query())).executions)


async def counted(store: PostgresStore) -> Any:
    return (await store.census(["RUNNING", "SUCCEEDED"], 10)).by_status


async def roster(store: PostgresStore) -> Any:
    found = await store.roster()
    return [seen.held for seen in found.workers], [one.due for one in found.backlogs]


async def found(store: PostgresStore) -> Any:
    one = await store.find("f/a")
    return None if one is None else one.facts


async def rotated(store: PostgresStore) -> Any:
    [old] = await store.keys()
    await store.add_key(b"k" * 32)
    return await store.keys() == (b"k" * 32, old)


async def outlined(store: PostgresStore) -> Any:
    found = await store.outlines(["f/a", "x", "f/held", "f/old"])
    assert found["f/held"].claim_epoch == await epoch_of(store, "f/held")
    return [
        (arn, one.version, one.claim_epoch and True, one.is_at_rest)
        for arn, one in sorted(found.items())
    ]


async def appended(store: PostgresStore) -> Any:
    store.append_soon(change("a", 1, b"soon"))
    late = asyncio.gather(
        store.append([change("a", 2, b"more"), creation("new")]),
        store.append([change("a", 1, b"too late")]),
        return_exceptions=True,
    )
    done, refused = await late
    assert done is None
    assert isinstance(refused, VersionConflict)
    return await found(store)


# What each statement is for, and what comes of it when its answer is lost: the answer, since it is
# asked again; or an error, when only whoever asked can know whether to.
CASES: dict[str, tuple[Callable[[PostgresStore], Awaitable[Any]], Any]] = {
    "append": (appended, (b"started", b"soon", b"more")),
    "claim": (lambda s: s.claim("w", ["f"], T0, LEASE, 5), LOST),
    "extend": (extended, ["f/a"]),
    "next_wake_at": (lambda s: s.next_wake_at(["f"]), T0),
    "find": (found, (b"started",)),
    "find_by_name": (read_name, "f/a"),
    "find_by_callback": (lambda s: s.find_by_callback("c-1"), "f/held"),
    "list": (listed, ["f/a", "f/held", "f/old"]),
    "census": (counted, {"RUNNING": 2, "SUCCEEDED": 1}),
    "delete": (lambda s: s.delete("f/old", 1), LOST),
    "outlines": (outlined, [("f/a", 1, None, False), ("f/held", 1, True, False),
        ("f/old", 1, None, True)]),
    "announce": (lambda s: s.announce(HERE), None),
    "withdraw": (lambda s: s.withdraw("w"), None),
    "offers": (lambda s: s.offers(), ["f"]),
    "workers": (roster, ([1], [2])),
    "backlogs": (roster, ([1], [2])),
    "add_key": (rotated, True),
    "keys": (rotated, True),
}  # fmt: skip
AT_OPEN = (
    "has_schema", "schema_version", "begin_schema", "lock_schema", "make_schema", "commit_schema",
    "namespace", "make_namespace", "instant",
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "fault"),
    [pytest.param(*one, id=f"{one[0]}-{one[1].name}") for one in product(CASES, BROKEN)],
)
async def test_what_a_statement_is_for_is_done_once_or_an_error_is_told(
    proxy: Proxy, store: PostgresStore, name: str, fault: Fault
) -> None:
    do, expected = CASES[name]
    once(proxy, fault, kinds_of(store.address)[name])

    try:
        outcome = await do(store)
    except StoreError as error:
        outcome = type(error)

    assert proxy.fired == {fault: 1}
    assert proxy.rejected == 0
    assert outcome == expected


def test_every_statement_has_its_test() -> None:
    names = {name for name in statements_in("postgres.sql") if not name.startswith("list_")}

    tried_elsewhere = {"written", "delete_expired", "hint", "listen"}
    tried_elsewhere |= {
        "begin_step",
        "append_in_step",
        "undo_step",
        "forget_step",
    }  # in tests/steps
    assert names == {*CASES, *AT_OPEN, *tried_elsewhere}


@pytest.mark.parametrize("fault", BROKEN)
async def test_what_was_claimed_and_not_answered_comes_back_when_its_lease_ends(
    proxy: Proxy, store: PostgresStore, fault: Fault
) -> None:
    once(proxy, fault, kinds_of(store.address)["claim"])
    with pytest.raises(StoreUnavailableError):
        await store.claim("w", ["f"], T0, LEASE, 5)

    at_once = await store.claim("w", ["f"], T0, LEASE, 5)
    while not at_once and fault is not Fault.AFTER:  # until the server has heard that it is undone
        await asyncio.sleep(0.01)
        at_once = await store.claim("w", ["f"], T0, LEASE, 5)
    later = await store.claim("w", ["f"], T0 + LEASE, LEASE, 5)

    taken = [one for one in (*at_once, *later) if one.arn == "f/a"]
    assert [one.is_takeover for one in taken] == ([True] if fault is Fault.AFTER else [False, True])


@pytest.mark.parametrize("fault", BROKEN)
async def test_the_search_for_what_was_written_is_repeated(
    proxy: Proxy, store: PostgresStore, fault: Fault
) -> None:
    kinds = kinds_of(store.address)
    waiting = {"append": Fault.AFTER, "written": fault}

    def next_fault(statement: str) -> Fault | None:
        return next(
            (waiting.pop(name) for name in list(waiting) if statement.startswith(kinds[name])), None
        )

    proxy.fault = next_fault

    await store.append([change("a", 1, b"more")])

    assert not waiting
    assert await found(store) == (b"started", b"more")


async def test_what_another_wrote_meanwhile_is_not_taken_for_ones_own(
    opened: AsyncExitStack, proxy: Proxy, postgres: str, store: PostgresStore
) -> None:
    beside = PostgresStore(in_schema(postgres, schema=store.address.schema))
    await beside.open()
    opened.push_async_callback(beside.close)
    start, lost = kinds_of(store.address)["append"], asyncio.Event()

    def next_fault(statement: str) -> Fault | None:
        lost.set()
        return Fault.BEFORE if statement.startswith(start) else None

    async def write() -> None:
        await lost.wait()
        await beside.append([change("a", 1, b"another's")])
        proxy.fault = lambda _: None

    proxy.fault = next_fault
    outcome, _ = await asyncio.gather(
        store.append([change("a", 1, b"mine")]), write(), return_exceptions=True
    )

    assert proxy.fired[Fault.BEFORE] > 0
    assert isinstance(outcome, VersionConflict)
    assert await found(store) == (b"started", b"another's")


@pytest.mark.parametrize("fault", BROKEN)
async def test_of_what_expired_everything_is_removed_in_the_end(
    proxy: Proxy, store: PostgresStore, fault: Fault
) -> None:
    once(proxy, fault, kinds_of(store.address)["delete_expired"])

    amount = await store.delete_expired(T0, 5)

    assert proxy.fired == {fault: 1}
    assert amount == (0 if fault is Fault.AFTER else 1)
    assert await listed(store) == ["f/a", "f/held"]


@pytest.mark.parametrize(
    ("name", "fault"),
    [pytest.param(*one, id=f"{one[0]}-{one[1].name}") for one in product(AT_OPEN, BROKEN)],
)
async def test_a_store_that_could_not_be_opened_can_be_opened(
    opened: AsyncExitStack, proxy: Proxy, name: str, fault: Fault
) -> None:
    url = in_schema(proxy.url)
    if name == "schema_version":
        first = PostgresStore(url)
        await first.open()
        await first.close()
    store = PostgresStore(url)
    once(proxy, fault, kinds_of(store.address)[name])
    is_asked_again = name in {"namespace", "make_namespace", "instant"}

    if not is_asked_again:
        with pytest.raises(StoreUnavailableError):
            await store.open()
    await store.open()
    opened.push_async_callback(store.close)

    assert sum(proxy.fired.values()) == 1
    await store.append([creation("a")])
    assert len(await store.keys()) == 1


@pytest.mark.parametrize("fault", [Fault.HOLE, Fault.SILENCE])
async def test_nobody_waits_for_a_schema_whose_commit_is_not_heard_of(
    opened: AsyncExitStack, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr("durably.stores.postgres_database._ANSWER_SECONDS", 0.5)
    store = PostgresStore(in_schema(proxy.url))
    once(proxy, fault, kinds_of(store.address)["commit_schema"])

    with pytest.raises(StoreUnavailableError):
        await store.open()
    await store.open()
    opened.push_async_callback(store.close)

    assert proxy.fired == {fault: 1}


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.AFTER])
async def test_whoever_listens_listens_again(
    opened: AsyncExitStack, proxy: Proxy, postgres: str, fault: Fault
) -> None:
    url = in_schema(proxy.url)
    heard: asyncio.Queue[str] = asyncio.Queue()
    store = PostgresStore(url)
    store.on_hint(heard.put_nowait)
    once(proxy, fault, kinds_of(store.address)["listen"])
    await store.open()
    opened.push_async_callback(store.close)

    assert await heard.get() == ""
    assert proxy.fired == {fault: 1}
    beside = PostgresStore(in_schema(postgres, schema=store.address.schema, listen="off"))
    await beside.open()
    opened.push_async_callback(beside.close)
    await beside.append([replace(creation("a"), wake=WakeAt(T0))])
    assert await heard.get() == ""


async def test_an_answer_that_never_comes_is_told_as_what_may_have_happened(
    proxy: Proxy, store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = kinds_of(store.address)["append"]
    monkeypatch.setattr("durably.stores.postgres_writer._MAX_TRIES", 2)
    proxy.fault = lambda statement: Fault.AFTER if statement.startswith(start) else None

    with pytest.raises(StoreUnavailableError, match="may have been written"):
        await store.append([change("a", 1, b"more")])

    proxy.fault = lambda _: None
    assert proxy.fired == {Fault.AFTER: 2}
    assert await found(store) == (b"started", b"more")
