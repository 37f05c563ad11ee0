"""What the SQLite store makes of files: its own, damaged ones, other programs', newer ones."""

import os
import re
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from durably.engine.store import Query, WakeAt
from durably.errors import (
    InvalidStateError,
    StoreCorruptedError,
    StoreError,
    StoreLockedError,
    StoreReadOnlyError,
    StoreTooNewError,
    StoreUnavailableError,
    ValidationError,
)
from durably.stores.sqlite import SqliteStore
from durably.stores.sqlite_file import SCHEMA_VERSION, open_for_writing
from durably.stores.sqlite_statements import schema
from durably.testing.store_values import LEASE, T0, change, creation, facts_of

# ruff: noqa: ASYNC240 - these tests are about files, and nothing else runs meanwhile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "durably.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def make(path: Path, *facts: bytes) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.append([creation("a", *facts)])
    await store.close()


@pytest.mark.usefixtures("no_umask")
async def test_every_file_is_for_its_owner_alone_whatever_the_umask(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.append([creation("a")])

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    await store.close()

    assert modes == {f"durably.db{end}": 0o600 for end in ("", ".lock", "-wal", "-shm")}


def test_commits_are_synced(path: Path) -> None:
    path.touch()
    connection = open_for_writing(path)

    pragmas = ("journal_mode", "synchronous", "fullfsync")
    values = [connection.execute(f"PRAGMA {pragma}").fetchone()[0] for pragma in pragmas]
    connection.close()

    assert values == ["wal", 2, 1]


@pytest.mark.parametrize("location", ["sqlite:{}", "{}"])
async def test_a_store_is_named_by_path_or_url(path: Path, location: str) -> None:
    await make(path)
    store = SqliteStore(location.format(path))
    await store.open()

    assert await facts_of(store, "f/a") == (b"started",)

    await store.close()


@pytest.mark.parametrize("location", ["", "sqlite:", ":memory:", "sqlite::memory:", "a\0b"])
def test_a_location_must_name_a_file(location: str) -> None:
    with pytest.raises(ValidationError):
        SqliteStore(location)


async def test_any_file_name_will_do(tmp_path: Path) -> None:
    path = tmp_path / "it's 100%? #1&mode=ro \u00e9.db"

    await make(path)

    assert path.exists()


async def test_a_folder_is_not_made(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "missing" / "durably.db")

    with pytest.raises(StoreUnavailableError, match="there is no directory"):
        await store.open()

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wal", [False, True])
async def test_a_file_whose_maker_died_is_made_anew(path: Path, wal: bool) -> None:  # noqa: FBT001 - a parameter of the test
    path.touch()
    if wal:
        open_for_writing(path).close()

    await make(path)


async def test_a_newer_schema_is_refused_and_not_touched(path: Path) -> None:
    await make(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = contents(path.parent)

    for read_only in (False, True):
        with pytest.raises(StoreTooNewError, match="later"):
            await SqliteStore(path, read_only=read_only).open()

    assert contents(path.parent) == before


async def test_a_newer_schema_is_found_in_the_log(path: Path, tmp_path: Path) -> None:
    await make(path)
    newer = tmp_path / "newer"
    newer.mkdir()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    for end in ("", "-wal"):
        (newer / f"x.db{end}").write_bytes(Path(f"{path}{end}").read_bytes())
    connection.close()

    with pytest.raises(StoreTooNewError):
        await SqliteStore(newer / "x.db").open()


async def test_an_older_schema_cannot_be_read_before_it_is_brought_up_to_date(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(path)
    monkeypatch.setattr("durably.stores.sqlite_file.SCHEMA_VERSION", SCHEMA_VERSION + 1)

    with pytest.raises(StoreReadOnlyError, match=f"schema {SCHEMA_VERSION}; open it for writing"):
        await SqliteStore(path, read_only=True).open()


async def test_the_first_schema_is_brought_up_to_date_and_keeps_its_key(path: Path) -> None:
    old, new = bytes(range(32)), bytes(32)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(schema(1))
        connection.execute("INSERT INTO store (only_row, secret) VALUES (1, ?)", (old,))
        connection.commit()

    store = SqliteStore(path)
    await store.open()
    assert await store.keys() == (old,)
    await store.add_key(new)
    assert await store.keys() == (new, old)
    await store.close()


@pytest.mark.parametrize("version", [0, -5])
@pytest.mark.parametrize("read_only", [False, True])
async def test_a_schema_that_no_version_has_written_is_refused_and_not_touched(
    path: Path, version: int, *, read_only: bool
) -> None:
    await make(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    before = contents(path.parent)

    with pytest.raises(StoreCorruptedError, match=f"has schema {version}, which no version"):
        await SqliteStore(path, read_only=read_only).open()

    assert contents(path.parent) == before


async def test_a_schema_is_made_whole_or_not_at_all(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            "durably.stores.sqlite_file.schema", lambda version: "CREATE TABLE t (x);\nOOPS;\n"
        )
        with pytest.raises(StoreError, match="OOPS"):
            await SqliteStore(path).open()
    connection = sqlite3.connect(path)
    tables = connection.execute("SELECT * FROM sqlite_schema").fetchall()
    connection.close()

    assert not tables
    await make(path)


@pytest.mark.parametrize("content", [b"x", b"SQLite format 3\0", b"notes\n" * 1_000])
async def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(StoreCorruptedError):
        await SqliteStore(path).open()

    assert contents(path.parent) == {path.name: content}


async def test_another_program_s_database_is_refused(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE facts (x)")
    connection.close()
    before = contents(path.parent)

    with pytest.raises(StoreCorruptedError, match="another program"):
        await SqliteStore(path).open()

    assert contents(path.parent) == before


@pytest.mark.parametrize("offset", [16, 18, 100])
async def test_a_damaged_header_is_found(path: Path, offset: int) -> None:
    await make(path)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xee" * 40)

    with pytest.raises(StoreCorruptedError):
        await SqliteStore(path).open()


async def test_damaged_pages_are_found_when_they_are_read(path: Path) -> None:
    await make(path, b"fact")
    content = path.read_bytes()
    size = int.from_bytes(content[16:18], "big")
    pages = len(content) // size
    found = []
    for page in range(1, pages):
        path.write_bytes(content[: page * size] + b"\xee" * size + content[(page + 1) * size :])
        store = SqliteStore(path)
        try:
            await store.open()
            assert await facts_of(store, "f/a") == (b"fact",)
            await store.list(Query())
        except StoreCorruptedError as error:
            found.append(error)
        finally:
            await store.close()

    assert len(found) >= 7  # the others are pages of indexes that nobody asked


async def test_a_damaged_fact_is_never_handed_out(path: Path) -> None:
    await make(path, b"a fact of which one bit changes")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"one bit", b"one byt"))
    store = SqliteStore(path)
    await store.open()

    stored = await store.find("f/a")

    assert stored is not None
    assert (stored.facts, stored.version) == ((), 1)
    assert stored.damage == "facts from 0 on are not what was written"
    await store.close()


# The checksum is that of the byte.
UNREADABLE_ROW = "UPDATE facts SET body = x'c1', checksum = 1046551979 WHERE position = 1"


@pytest.mark.parametrize(
    ("harm", "left", "version", "said"),
    [
        ("DELETE FROM facts WHERE position = 1", (b"started",), 3, "facts from 1 on"),
        ("DELETE FROM facts WHERE position = 0", (), 3, "facts from 0 on"),
        ("DELETE FROM facts", (), 1, "facts from 0 on"),
        ("UPDATE facts SET amount = 0 WHERE position = 1", (b"started",), 3, "facts from 1 on"),
        (UNREADABLE_ROW, (b"started",), 3, "facts from 1 on"),
    ],
)
async def test_an_execution_with_damaged_facts_can_still_be_closed_and_deleted(
    path: Path, harm: str, left: tuple[bytes, ...], version: int, said: str
) -> None:
    await make(path)
    store = SqliteStore(path)
    await store.open()
    await store.append([change("a", 1, b"1")])
    await store.append([change("a", 2, b"2")])
    await store.close()
    connection = sqlite3.connect(path)
    connection.execute(harm)
    connection.commit()
    connection.close()
    await store.open()

    stored = await store.find("f/a")
    assert stored is not None
    await store.append([change("a", stored.version, b"the end", wake=WakeAt(None))])
    later = await store.find("f/a")
    assert later is not None
    await store.delete("f/a", later.version)

    assert (stored.facts, stored.version) == (left, version)
    assert stored.damage is not None
    assert said in stored.damage
    assert (later.version, later.damage) == (version + 1, stored.damage)
    assert await store.find("f/a") is None
    await store.close()


async def test_only_one_store_has_a_file(store: SqliteStore, path: Path) -> None:
    link = path.parent / "link.db"
    link.symlink_to(path)

    for other in (path, link):
        with pytest.raises(StoreLockedError, match="held by this very process"):
            await SqliteStore(other).open()

    await store.append([creation("a")])


async def test_a_store_that_could_not_be_opened_leaves_nothing_open(path: Path) -> None:
    path.write_bytes(b"notes")
    store = SqliteStore(path)
    with pytest.raises(StoreCorruptedError):
        await store.open()
    path.unlink()

    await store.open()
    await store.append([creation("a")])
    await store.close()


async def test_closing_leaves_neither_files_nor_threads_open(path: Path) -> None:
    def open_files() -> set[str]:
        links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]  # noqa: PTH208 - short
        return {os.readlink(link) for link in links if os.path.exists(link)}  # noqa: PTH110, PTH115 - the same

    store = SqliteStore(path)
    await store.open()
    store.append_soon(creation("a"))
    assert any(thread.name == "durably-writer" for thread in threading.enumerate())

    await store.close()

    assert not any(thread.name == "durably-writer" for thread in threading.enumerate())
    if Path("/proc/self/fd").exists():
        assert not [name for name in open_files() if name.startswith(str(path))]
    assert set(contents(path.parent)) == {"durably.db", "durably.db.lock"}


async def test_a_store_that_is_not_open_says_so(path: Path) -> None:
    store = SqliteStore(path)
    with pytest.raises(InvalidStateError, match="not open"):
        await store.append([creation("a")])
    with pytest.raises(InvalidStateError, match="not open"):
        store.append_soon(creation("a"))
    with pytest.raises(InvalidStateError, match="not open"):
        await store.find("f/a")


async def test_a_store_is_opened_once(store: SqliteStore) -> None:
    with pytest.raises(InvalidStateError, match="open already"):
        await store.open()

    await store.append([creation("a")])


async def test_a_reader_sees_what_the_owner_acknowledged(store: SqliteStore, path: Path) -> None:
    reader = SqliteStore(path, read_only=True)
    await store.append([creation("a")])
    await reader.open()
    await store.append([change("a", 1, b"1")])

    assert await facts_of(reader, "f/a") == (b"started", b"1")
    assert len((await reader.list(Query())).executions) == 1

    await reader.close()


async def test_a_reader_needs_no_owner_and_leaves_nothing_behind(path: Path) -> None:
    await make(path)
    before = set(contents(path.parent))
    reader = SqliteStore(path, read_only=True)
    await reader.open()

    assert await facts_of(reader, "f/a") == (b"started",)
    assert await reader.keys() == await reader.keys()

    await reader.close()
    await make(path.with_name("other.db"))
    assert set(contents(path.parent)) >= before


async def test_a_reader_makes_no_file(path: Path) -> None:
    with pytest.raises(StoreUnavailableError):
        await SqliteStore(path, read_only=True).open()

    assert not contents(path.parent)


async def test_a_reader_cannot_write(path: Path) -> None:
    await make(path)
    reader = SqliteStore(path, read_only=True)
    await reader.open()

    with pytest.raises(StoreReadOnlyError):
        await reader.append([change("a", 1, b"1")])
    with pytest.raises(StoreReadOnlyError):
        reader.append_soon(change("a", 1, b"1"))
    with pytest.raises(StoreReadOnlyError):
        await reader.claim("w", ["f"], T0, LEASE, 1)
    with pytest.raises(StoreReadOnlyError):
        await reader.extend("w", [], T0)
    with pytest.raises(StoreReadOnlyError):
        await reader.delete("f/a", 1)
    with pytest.raises(StoreReadOnlyError):
        await reader.delete_expired(T0, 1)

    await reader.close()


async def test_claims_and_listings_use_an_index(store: SqliteStore, path: Path) -> None:
    queries = Path(store_sql()).read_text(encoding="utf-8")
    statements = dict(
        re.findall(r"^-- name: (\w+)\n(.*?)(?=^-- name|\Z)", queries, re.MULTILINE | re.DOTALL)
    )
    connection = sqlite3.connect(path)

    def plan(*names: str) -> str:
        text = "\n".join(statements[name] for name in names)
        parameters = dict.fromkeys(re.findall(r":(\w+)", text), 1) or [1] * text.count("?")
        rows = connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters)
        return "\n".join(row[3] for row in rows)

    expected = {
        ("due",): "executions_to_wake (function_id=? AND wake_at<?)",
        ("next_wake_at",): "executions_to_wake (function_id=? AND wake_at>?)",
        ("expired",): "executions_to_delete (delete_at<?)",
        ("void_claims",): "executions_claimed",
        ("find_by_callback",): "PRIMARY KEY (id=?)",
        ("list", "list_newest_first"): "executions_by_start",
        ("list", "list_older", "list_newest_first"): "executions_by_start (started_at<?)",
        ("list", "list_newer", "list_oldest_first"): "executions_by_start (started_at>?)",
        ("list", "list_function_name", "list_newest_first"): "executions_by_function",
        ("list", "list_status", "list_newest_first"): "executions_by_status (status=?)",
        ("list", "list_statuses", "list_newest_first"): "executions_by_start",
        ("list", "list_parent_arn", "list_newest_first"): "executions_by_parent (parent_arn=?)",
        ("list", "list_parked", "list_newest_first"): "executions_parked",
    }
    plans = {names: plan(*names) for names in expected}
    connection.close()

    assert {names: index in plans[names] for names, index in expected.items()} == dict.fromkeys(
        expected, True
    )
    assert not [names for names, text in plans.items() if "TEMP B-TREE FOR ORDER BY" in text]
    each = plans["due",] + plans["next_wake_at",]
    assert not re.search("SCAN (functions|executions)", each), "each function is looked up"


def store_sql() -> Path:
    return Path(__file__).parents[2] / "src" / "durably" / "stores" / "sql" / "sqlite.sql"


async def test_a_database_with_a_second_name_is_refused(tmp_path: Path) -> None:
    """The lock lies beside a name, so that two names would have two owners."""
    path = tmp_path / "one.db"
    store = SqliteStore(path)
    await store.open()
    await store.close()
    os.link(path, tmp_path / "other.db")

    with pytest.raises(StoreLockedError, match="hard link"):
        await SqliteStore(path).open()
