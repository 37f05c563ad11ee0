"""What the database does to find something: it looks it up, however much there is."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from durably.engine.store import Query
from durably.stores.instants import to_us
from durably.stores.paging import list_parts
from durably.stores.postgres import PostgresStore
from durably.testing.store_values import SECOND, T0, creation

pytestmark = pytest.mark.timeout(60)

MANY = 20_000
NOW = to_us(T0)
LATER = to_us(T0.replace(year=2100))  # by the database's own clock, too
PARAMETERS: dict[str, dict[str, object]] = {
    "claim": {
        "worker": "w", "functions": ["f", "g"], "versions": ["$LATEST", "$LATEST"], "now": NOW,
        "ends_at": NOW + 1, "limit": 100,
    },
    "next_wake_at": {"functions": ["f", "g"], "versions": ["$LATEST", "$LATEST"]},
    "find": {"arns": ["f/7"]},
    "find_by_name": {"function": "f", "name": "7"},
    "find_by_callback": {"id": "c-7"},
    "delete": {"arn": "f/7", "version": 1},
    "delete_expired": {"now": NOW, "limit": 1000},
    "census": {"statuses": ["RUNNING", "SUCCEEDED", "FAILED"], "limit": 100},
    "outlines": {"arns": ["f/7", "f/8"]},
}  # fmt: skip
IN_FUNCTIONS: dict[str, dict[str, object]] = {
    "extend": {"worker": "w", "arns": ["f/7", "f/8"], "epochs": [1, 1], "until": NOW},
    "announce": {
        "worker": "w", "functions": ["f"], "max_concurrency": 1, "started_at": NOW, "lease": 1,
        "is_draining": False,
    },
}  # fmt: skip
LISTINGS = [
    Query(),
    Query(oldest_first=True),
    Query(function_name="f"),
    Query(statuses=("SUCCEEDED",)),
    Query(parent_arn="p-7"),
    Query(is_parked=True),
    Query(started_after=T0 + 5 * SECOND, oldest_first=True),
]


@pytest.fixture
async def store(address: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(address)
    await store.open()
    await store.append([creation("first"), creation("first", function="g")])
    yield store
    await store.close()


@pytest.fixture
def connection(store: PostgresStore) -> Iterator[psycopg.Connection]:
    with psycopg.connect(store.address.dsn, autocommit=True) as connection:
        yield connection


def fill(connection: psycopg.Connection, schema: str, amount: int) -> None:
    """Have so many executions sleep; some of them are closed, parked, or children."""
    text = """
        INSERT INTO {schema}.executions (
          namespace_id, arn, function_id, version, name, parent_arn, status, parked_reason,
          started_at, ended_at, delete_at, wake_at, fact_count
        )
        SELECT 1, 'f/' || one, 1, '$LATEST', one::text,
          CASE WHEN one %% 10 = 7 THEN 'p-' || one END,
          CASE WHEN one %% 100 = 0 THEN 'SUCCEEDED' ELSE 'RUNNING' END,
          CASE WHEN one %% 100 = 1 THEN 'too many' END,
          %(now)s + one, CASE WHEN one %% 100 = 0 THEN %(now)s END,
          CASE WHEN one %% 100 = 0 THEN %(now)s + one END,
          CASE WHEN one %% 100 > 1 THEN %(later)s + 1000000 * (one %% 1000) END, 1
        FROM generate_series(1, %(amount)s) AS one;
    """
    others = """
        INSERT INTO {schema}.facts
        SELECT id, 0, 1, 0, 'x' FROM {schema}.executions ON CONFLICT DO NOTHING;
        INSERT INTO {schema}.callbacks SELECT 1, 'c-' || name, id FROM {schema}.executions
        WHERE id % 10 = 7 ON CONFLICT DO NOTHING;
    """
    names = {"schema": sql.Identifier(schema)}
    connection.execute(
        sql.SQL(text).format(**names), {"now": NOW, "later": LATER, "amount": amount}
    )
    for one in filter(str.strip, others.split(";")):
        connection.execute(sql.SQL(one).format(**names))


def analyse(connection: psycopg.Connection, schema: str) -> None:
    for table in ("executions", "facts", "callbacks", "functions"):
        connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(schema, table)))


def plan_of(connection: psycopg.Connection, text: Any, parameters: dict[str, object]) -> list[Any]:
    """Give every step of what the database would do, outermost first."""
    with connection.transaction(force_rollback=True):
        explained = b"EXPLAIN (ANALYZE, FORMAT JSON) " + text
        row = connection.execute(explained, parameters).fetchone()
    assert row is not None
    steps = [row[0][0]["Plan"]]
    for step in steps:
        steps += step.get("Plans", ())
    return steps


def check(steps: list[Any], most: int) -> None:
    """See that nothing is read from its beginning, and that no more rows than that are touched."""
    shown = [{key: step[key] for key in _SHOWN if key in step} for step in steps]
    for step in steps:
        is_small = step.get("Relation Name") in {None, "functions", "namespaces", "workers"}
        assert step["Node Type"] != "Seq Scan" or is_small, shown
        touched = step["Actual Rows"] + step.get("Rows Removed by Filter", 0)
        assert touched * step["Actual Loops"] <= most, shown


_SHOWN = ("Node Type", "Relation Name", "Index Name", "Actual Rows", "Rows Removed by Filter")


@pytest.mark.parametrize("statistics", ["fresh", "stale"])
async def test_what_workers_need_is_looked_up_among_many(
    store: PostgresStore, connection: psycopg.Connection, statistics: str
) -> None:
    schema = store.address.schema
    if statistics == "stale":
        analyse(connection, schema)  # while there is next to nothing
    fill(connection, schema, MANY)
    if statistics == "fresh":
        analyse(connection, schema)

    for name, parameters in PARAMETERS.items():
        steps = plan_of(connection, store._opened().text(name), {**parameters, "space": 1})
        check(steps, 1000)
        if name == "claim":
            used = {step["Index Name"] for step in steps if "Index Name" in step}
            used.discard("functions_namespace_id_name_key")  # of a few rows it reads all
            assert used == {"executions_to_wake", "executions_pkey"}


@pytest.mark.parametrize("name", IN_FUNCTIONS)
async def test_what_functions_of_ours_need_is_looked_up_as_well(
    store: PostgresStore, connection: psycopg.Connection, name: str
) -> None:
    schema = store.address.schema
    analyse(connection, schema)  # while there is next to nothing
    fill(connection, schema, MANY)
    read = (
        "SELECT sum(seq_tup_read) FROM pg_stat_xact_user_tables"
        " WHERE schemaname = %s AND relname IN ('executions', 'facts', 'callbacks')"
    )

    with psycopg.connect(store.address.dsn) as fresh:  # what it has read is counted by itself
        fresh.execute(store._opened().text(name), {**IN_FUNCTIONS[name], "space": 1})
        rows = fresh.execute(read, [schema]).fetchone()
        fresh.rollback()

    assert rows == (0,)


@pytest.mark.parametrize("query", LISTINGS, ids=str)
async def test_a_page_of_a_listing_costs_no_more_than_itself(
    store: PostgresStore, connection: psycopg.Connection, query: Query
) -> None:
    fill(connection, store.address.schema, MANY)
    analyse(connection, store.address.schema)
    statuses = {"statuses": list(query.statuses)} if query.statuses else {}
    parts, parameters = list_parts(query, **statuses)

    steps = plan_of(connection, store._opened().text(*parts), {**parameters, "space": 1})

    check(steps, 3 * query.limit)


async def test_what_has_expired_is_removed_in_batches(
    store: PostgresStore, connection: psycopg.Connection
) -> None:
    fill(connection, store.address.schema, MANY)
    amounts = [await store.delete_expired(T0 + 1000 * SECOND, 80) for _ in range(4)]

    assert amounts == [80, 80, 40, 0]
    assert await store.find("f/100") is None
    assert await store.find("f/101") is not None


async def test_pages_go_on_where_the_one_before_ended(
    store: PostgresStore, connection: psycopg.Connection
) -> None:
    fill(connection, store.address.schema, 2500)
    analyse(connection, store.address.schema)
    seen: list[str] = []
    query = Query(limit=1000)
    while True:
        page = await store.list(query)
        seen += [one.arn for one in page.executions]
        if page.next_marker is None:
            break
        await store.append([creation(f"newer-{len(seen)}", started_at=T0 + 9 * SECOND)])
        query = Query(limit=1000, after=page.next_marker)

    assert len(seen) == len(set(seen)) == 2502
