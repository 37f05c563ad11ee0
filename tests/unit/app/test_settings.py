"""What an engine is told, and what it refuses to be told."""

from datetime import timedelta
from typing import Any

import pytest

from durably import DurableContext, SyncDurableContext, ValidationError, durable_execution
from durably.app.settings import EngineSettings, functions_by_name, make_store
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
        ("postgresql://db/orders", "no PostgreSQL store yet"),
        ("postgres://db/orders", "no PostgreSQL store yet"),
        ("orders.db", "must be sqlite:PATH or memory:"),
        ("", "must be sqlite:PATH or memory:"),
        ("memory", "must be sqlite:PATH or memory:"),
        ("sqlite:///var/orders.db", "write sqlite:/var/orders.db"),
        ("sqlite://orders.db", "write sqlite:orders.db"),
        (b"memory:", "must be text"),
    ],
)
def test_a_url_that_names_no_store_is_refused_with_what_to_write(url: Any, advice: str) -> None:
    with pytest.raises(ValidationError, match=advice) as refused:
        make_store(url)

    assert refused.value.field == "store_url"


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
