"""The rights that the how-to lists are enough to work, and for nothing else."""

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from durably import SyncEngine
from durably.cli.stores import read
from durably.engine.service import Service
from durably.engine.store import Query
from durably.errors import StoreError
from durably.seams import RandomIds
from durably.stores.postgres import PostgresStore
from durably.testing.store_values import T0, creation
from tests.stores.postgres_load import check, fleet, order, start
from tests.stores.postgres_server import in_schema

PAGE = Path(__file__).parents[2] / "docs/how-to/many-machines.md"

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def admin(postgres: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgres, autocommit=True) as connection:
        yield connection


@pytest.fixture
def schema(postgres: str) -> str:
    """Give the name of a schema that its owner has made."""
    schema = f"s{RandomIds().hex(12)}"
    with SyncEngine(in_schema(postgres, schema=schema)):
        pass
    return schema


@contextmanager
def role_of_page(name: str, admin: psycopg.Connection, schema: str) -> Generator[str]:
    """Make a role of the page, with the rights that it has there."""
    [block] = re.findall(rf"```sql\n(CREATE ROLE {name} .*?)```", PAGE.read_text(), re.DOTALL)
    role = f"r{RandomIds().hex(12)}"
    text = re.sub(r"\bdurably\b", schema, re.sub(rf"\b{name}\b", role, block))
    for statement in filter(str.strip, text.split(";")):
        admin.execute(statement.encode())
    yield role
    admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


@pytest.fixture
def role(admin: psycopg.Connection, schema: str) -> Iterator[str]:
    with role_of_page("orders", admin, schema) as role:
        yield role


@pytest.fixture
def reader(admin: psycopg.Connection, schema: str) -> Iterator[str]:
    with role_of_page("support", admin, schema) as role:
        yield role


async def test_a_role_with_the_rights_of_the_page_can_do_all_of_the_work(
    postgres: str, schema: str, role: str
) -> None:
    url = in_schema(postgres, schema=schema, user=role)
    new = f"{url}&namespace=n{RandomIds().hex(8)}"
    async with fleet(url, url) as engines:
        arns = await start(engines[0], 5)
        await check(engines[1], arns)
        await engines[0].delete(arns[0])
        stopped = await engines[0].start(order, 1)
        await engines[0].stop(stopped)
        await engines[0].service.rotate_key()
        assert await engines[0].service.delete_expired() == 0
        assert len((await engines[0].list(Query())).executions) == 5
        sharing = engines[0].service.sharing
        assert sharing is not None
        assert len((await sharing.roster()).workers) == 2
    async with fleet(new) as [engine]:
        await check(engine, await start(engine, 1))
    store = PostgresStore(url)
    await store.open()
    await store.append([creation("a", function="g")])
    assert await store.find_by_name("g", "a") == "g/a"
    assert await store.next_wake_at(["g"]) is None
    assert await store.delete_expired(T0, 1) == 0
    await store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE {}.more ()",
        "CREATE SCHEMA more",
        "DROP TABLE {}.facts",
        "TRUNCATE {}.facts",
        "ALTER TABLE {}.facts ADD more integer",
        "UPDATE {}.facts SET body = ''",
        "UPDATE {}.store SET version = 2",
        "DELETE FROM {}.namespaces",
        "CREATE OR REPLACE FUNCTION {}.is_mine() RETURNS text LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_it_cannot_do_anything_else(postgres: str, schema: str, role: str, statement: str) -> None:
    with (
        psycopg.connect(postgres, user=role) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.format(schema).encode())


async def looked(service: Service) -> int:
    """Look at everything that can be looked at, and say how many executions there are."""
    page = await service.list(Query())
    for one in page.executions:
        assert (await service.get(one.arn)).result is not None
        assert (await service.why(one.arn)).next is None
        assert (await service.history(one.arn)).events
    assert service.sharing is not None
    await service.sharing.roster()
    await service.store.census(["RUNNING"], 10)
    return len(page.executions)


def test_a_role_that_may_read_sees_everything_but_the_keys(
    postgres: str, schema: str, reader: str
) -> None:
    with SyncEngine(in_schema(postgres, schema=schema), functions=[order]) as engine:
        engine.start(order, 1).result()
    url = in_schema(postgres, schema=schema, user=reader)

    assert read(url, looked) == 1

    with pytest.raises(StoreError, match="permission denied for table namespaces"):
        read(url, lambda service: service.store.keys())
    with pytest.raises(StoreError, match="permission denied"):
        read(url, lambda service: service.rotate_key())
