"""What an engine is told, and what it refuses to be told."""

from datetime import timedelta
from typing import Any, cast

import pytest

from durably import DurableContext, SyncDurableContext, ValidationError, durable_execution
from durably.app.settings import EngineSettings, functions_by_name, make_store, shown_url
from durably.stores.memory import MemoryStore
from durably.stores.sqlite import SqliteStore


@durable_execution
async def fulfil(event: dict[str, Any], ctx: DurableContext) -> None: ...


@durable_execution
def refund(event: dict[str, Any], ctx: SyncDurableContext) -> None: ...


async def plain(event: dict[str, Any], ctx: DurableContext) -> None: ...


# The store


def test_the_two_kinds_of_store_are_made_by_their_urls(tmp_path: Any) -> None:
    assert isinstance(make_store("memory:"), MemoryStore)

    store = make_store(f"sqlite:{tmp_path}/orders.db")

    assert isinstance(store, SqliteStore)
    assert store.path == tmp_path / "orders.db"


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("postgresql://db/orders?shema=s", 'invalid URI query parameter: "shema"'),
        ("postgresql://db/orders?pool=0", "pool must be 1 to 1000, not '0'"),
        ("postgresql://db/orders?pool=many", "pool must be 1 to 1000, not 'many'"),
        ("postgresql://db/orders?listen=no", "listen must be on or off, not 'no'"),
        ("postgresql://db/orders?schema=", "schema must have 1 to 63 bytes"),
        ("postgresql://db/orders?namespace=a%20b", "namespace must be 1 to 64 letters"),
        ("postgresql://[db/orders", "cannot be read: write postgresql://USER:PASSWORD@HOST"),
        ("mysql://db/orders", "must be sqlite:PATH, postgresql://… or memory:"),
        ("orders.db", "must be sqlite:PATH, postgresql://… or memory:, .*: write sqlite:orders.db"),
        ("", "must be sqlite:PATH, postgresql://… or memory:"),
        ("memory", "must be sqlite:PATH, postgresql://… or memory:"),
        ("sqlite:///var/orders.db", "write sqlite:/var/orders.db"),
        ("sqlite://orders.db", "write sqlite:orders.db"),
        (b"memory:", "must be text"),
    ],
)
def test_a_url_that_names_no_store_is_refused_with_what_to_write(url: Any, advice: str) -> None:
    with pytest.raises(ValidationError, match=advice) as refused:
        make_store(url)

    assert refused.value.field == "store_url"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:top/secret@db/orders",
        "postgresql://me:1/secret@db/orders",
        "postgresql://me:top?secret@db/orders",
        "postgresql://me:top#secret@db/orders",
        "postgresql://me:%zzsecret@db/orders",
        "postgresql://me:secret@db/orders?pool=0",
        "postgresql+psycopg://me:sec@ret@db/orders",
        "mysql://db/orders?password=secret",
    ],
)
def test_no_refusal_tells_a_password(url: str) -> None:
    with pytest.raises(ValidationError) as refused:
        make_store(url)

    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_a_password_is_not_shown() -> None:
    url = "postgresql://me:secret@db/orders?schema=s&sslpassword=secret"

    assert shown_url(url) == "postgresql://me:…@db/orders?schema=s&sslpassword=…"
    assert "secret" not in repr(EngineSettings(store_url=url))
    assert "secret" not in repr(make_store(url))


# What holds where several workers share a store


def test_a_version_is_a_number_and_needs_a_store_for_many() -> None:
    for version in ("v7", "", "0", 7):
        with pytest.raises(ValidationError, match="must be a number, as in '42'"):
            EngineSettings(store_url="postgresql://db/orders", version=cast("str", version))
    with pytest.raises(ValidationError, match="needs a store that several workers share"):
        EngineSettings(version="7")

    assert EngineSettings(store_url="postgresql://db/orders", version="7").version == "7"


def test_a_lease_has_a_second_at_least() -> None:
    with pytest.raises(ValidationError, match="must be at least one second"):
        EngineSettings(lease=timedelta(seconds=0.5))


# The functions


def test_functions_are_known_by_the_names_of_their_handlers() -> None:
    assert functions_by_name([fulfil, refund]) == {"fulfil": fulfil, "refund": refund}


def test_the_same_function_twice_is_one() -> None:
    assert functions_by_name([fulfil, fulfil]) == {"fulfil": fulfil}


def test_two_functions_of_one_name_are_refused() -> None:
    other = durable_execution(fulfil.handler)

    with pytest.raises(ValidationError, match="two of them are called 'fulfil'"):
        functions_by_name([fulfil, other])


def test_a_function_that_is_not_durable_is_refused_with_what_to_write() -> None:
    with pytest.raises(ValidationError, match="plain needs @durable_execution"):
        functions_by_name([plain])


def test_a_lonely_function_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be a list"):
        functions_by_name(fulfil)


def test_a_name_that_no_arn_can_carry_is_refused() -> None:
    def size(event: object, ctx: object) -> None: ...

    size.__name__ = "größe"

    with pytest.raises(ValidationError, match="'größe' is no name"):
        functions_by_name([durable_execution(size)])


# The rest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_concurrency", 0),
        ("max_concurrency", True),
        ("region", "eu west"),
        ("region", ""),
        ("account", "1234"),
        ("account", "12345678901²"),
        ("grace", timedelta(seconds=-1)),
    ],
)
def test_a_setting_that_is_no_legal_one_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        EngineSettings(**{field: value})

    assert refused.value.field == field
