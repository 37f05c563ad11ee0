"""What is wrong with a PostgreSQL store: one sentence and a next step, at every door."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import psycopg
import pytest
from psycopg import sql

from durably import (
    Engine,
    StoreError,
    StoreTooNewError,
    StoreUnavailableError,
    SyncEngine,
    ValidationError,
)
from durably.app.settings import make_store
from durably.seams import RandomIds
from tests.cli.conftest import ORDERS, Shell
from tests.stores.postgres_server import OwnServer, in_schema

WORKERS = 8


@dataclass(frozen=True, slots=True)
class Case:
    """An address that will not do, the class of the error, and what it says."""

    url: str
    kind: type[StoreError]
    said: str
    step: str


@pytest.fixture(scope="module")
def server() -> Iterator[OwnServer]:
    server = OwnServer()
    yield server
    server.end()


@pytest.fixture
def admin(server: OwnServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        yield connection


def role(server: OwnServer, admin: psycopg.Connection, **parameters: str) -> tuple[str, str]:
    """Make a role without any right; give its name, and the address of a schema for it."""
    name = f"role{RandomIds().hex(8)}"
    admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'right'".encode())
    return name, in_schema(server.url.replace("//postgres:@", f"//{name}:wrong@"), **parameters)


def made(server: OwnServer) -> str:
    """Give the name of a schema that is there."""
    url = in_schema(server.url)
    schema = url.rpartition("schema=")[2]
    with SyncEngine(url):
        pass
    return schema


def wrong_password(server: OwnServer, admin: psycopg.Connection) -> Case:
    name, url = role(server, admin)
    server.want_password_of(name)
    said = f'password authentication failed for user "{name}"'
    return Case(url, StoreUnavailableError, said, "Check the user and the password in its address.")


def missing_role(server: OwnServer, admin: psycopg.Connection) -> Case:
    url = server.url.replace("//postgres:@", "//nobody@")
    said = 'role "nobody" does not exist'
    return Case(url, StoreUnavailableError, said, "Check the user and the password in its address.")


def missing_database(server: OwnServer, admin: psycopg.Connection) -> Case:
    url = server.url.replace("/postgres?", "/nowhere?")
    said = 'database "nowhere" does not exist'
    return Case(url, StoreUnavailableError, said, "Make the database with `createdb`")


def no_right_to_make(server: OwnServer, admin: psycopg.Connection) -> Case:
    _, url = role(server, admin)
    said = "permission denied for database postgres (42501)"
    return Case(url, StoreError, said, _RIGHTS)


def no_right_to_enter(server: OwnServer, admin: psycopg.Connection) -> Case:
    _, url = role(server, admin)
    url = url.rpartition("schema=")[0] + f"schema={made(server)}"
    return Case(url, StoreError, "permission denied for schema", _RIGHTS)


def no_right_to_read(server: OwnServer, admin: psycopg.Connection) -> Case:
    name, url = role(server, admin)
    schema = made(server)
    grant = sql.SQL("GRANT USAGE ON SCHEMA {} TO {}")
    admin.execute(grant.format(sql.Identifier(schema), sql.Identifier(name)))
    url = url.rpartition("schema=")[0] + f"schema={schema}"
    return Case(url, StoreError, "permission denied for table store (42501)", _RIGHTS)


def newer_schema(server: OwnServer, admin: psycopg.Connection) -> Case:
    schema = made(server)
    update = sql.SQL("UPDATE {} SET version = 99")
    admin.execute(update.format(sql.Identifier(schema, "store")))
    said = "has version 99, this code knows 1"
    url = f"{server.url}&schema={schema}"
    return Case(url, StoreTooNewError, said, "Install that version or a later one.")


_RIGHTS = 'Give the role the rights that the how-to "From one machine to many" lists.'
CASES = [
    wrong_password, missing_role, missing_database, no_right_to_make, no_right_to_enter,
    no_right_to_read, newer_schema,
]  # fmt: skip


@pytest.mark.parametrize("make", CASES)
async def test_a_database_that_will_not_do_is_told_of_in_a_sentence_and_a_step(
    shell: Shell, server: OwnServer, admin: psycopg.Connection, make: partial[Case]
) -> None:
    case = make(server, admin)

    for words in (("worker", ORDERS), ("run", f"{ORDERS}:fulfil"), ("serve", "--port", "0")):
        done = shell.run(*words, "--store", case.url)
        assert (done.code, done.out) == (2, "")
        assert case.said in done.err
        assert case.step in done.err
        assert done.err.count("Error:") == 1
        assert "wrong" not in done.err
    with pytest.raises(StoreError) as refused:
        async with Engine(case.url):
            pass
    assert type(refused.value) is case.kind
    assert case.said in str(refused.value)
    assert str(refused.value).endswith((case.step, "or name another one."))


def test_a_driver_that_is_not_installed_is_named_with_what_installs_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shell.folder / "psycopg.py").write_text("raise ImportError('there is no psycopg')")
    shell.env["PYTHONPATH"] = f"{shell.folder}:{shell.env['PYTHONPATH']}"

    done = shell.run("list", "--store", "postgresql://localhost/orders")

    assert (done.code, done.out) == (2, "")
    assert "pip install 'durably[postgres]'" in done.err
    monkeypatch.setitem(__import__("sys").modules, "durably.stores.postgres", None)
    with pytest.raises(ValidationError, match=r"pip install 'durably\[postgres\]'"):
        make_store("postgresql://localhost/orders")


# Eight at once


def test_eight_workers_make_the_schema_once_though_the_one_that_does_is_killed(
    shell: Shell, server: OwnServer, admin: psycopg.Connection
) -> None:
    url = in_schema(server.url)
    schema = url.rpartition("schema=")[2]
    locks = (
        "SELECT application_name, granted FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE locktype = 'advisory'"
    )
    with psycopg.connect(server.url) as rival:
        # Whoever is first waits for this, in the midst of it.
        rival.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        workers = {
            f"w{number}": shell.start(
                "worker", ORDERS, "--store", f"{url}&application_name=w{number}"
            )
            for number in range(WORKERS)
        }
        shell.wait_for(lambda: len(admin.execute(locks).fetchall()) == WORKERS)
        [first] = [name for name, is_first in admin.execute(locks) if is_first]
        workers[first].kill()
        rival.rollback()

    for name, worker in workers.items():
        if name != first:
            assert worker.stderr is not None
            assert "ready" in worker.stderr.readline()
    made = sql.SQL("SELECT version FROM {}").format(sql.Identifier(schema, "store"))
    assert admin.execute(made).fetchall() == [(1,)]
    listed = shell.run("workers", "--json", "--store", url)
    assert [one["State"] for one in listed.json["Workers"]] == ["alive"] * (WORKERS - 1)
