"""The file of a SQLite store: found, checked, made, opened and brought up to date."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from durably.errors import (
    StoreCorruptedError,
    StoreReadOnlyError,
    StoreTooNewError,
    StoreUnavailableError,
    ValidationError,
)
from durably.stores.sqlite_statements import schema, statement

ConnectionT = TypeVar("ConnectionT", bound=sqlite3.Connection)

SCHEMA_VERSION = 2

_APPLICATION_ID = 0x64757261  # "dura"
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_OTHER = "Name another file. If it was a store of durably, restore a backup of it."
_BUSY_SECONDS = 1.0  # only a program that is not ours can keep a writer waiting


def database_path(location: str | os.PathLike[str]) -> Path:
    """Give the path that *location*, a path or `sqlite:PATH`, stands for, links resolved.

    Raises:
        ValidationError: it names no file.
    """
    text = os.fspath(location).removeprefix("sqlite:")
    if not text or text.startswith(":") or "\0" in text:
        raise ValidationError("store_url", f"{text!r} is no file; write sqlite:PATH or memory:")
    try:
        return Path(text).resolve()
    except (OSError, RuntimeError) as error:  # links that lead to one another
        raise ValidationError("store_url", f"{text!r} cannot be followed: {error}") from error


def check_header(path: Path) -> None:
    """Refuse a file that is not ours, or that a newer version wrote, without touching it.

    Raises:
        StoreCorruptedError: it is not a database of ours.
        StoreTooNewError: its schema is newer than this library.
    """
    try:
        if not path.is_file() and path.exists():
            remedy = "Name another file; it is made if it is not there."
            raise StoreUnavailableError(f"{path} is no regular file", remedy=remedy)
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        return
    if not header:
        return  # made, and then its maker died
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise StoreCorruptedError(f"{path} is not a SQLite database", remedy=_OTHER)
    application_id = _number(header, 68)
    if application_id or not _is_unmarked(path):
        _check_version(path, application_id, _number(header, 60))


def make_file(path: Path) -> None:
    """Make the file, for its owner alone, if it is not there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not os.fstat(descriptor).st_size:
            os.fchmod(descriptor, 0o600)  # whatever the umask; SQLite's other files follow it
    finally:
        os.close(descriptor)


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the file, which must be there."""
    connection = _connect(path, "mode=rw")
    try:
        _configure(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_step(path: Path, kind: type[ConnectionT]) -> ConnectionT:
    """Open the file for the code of a step, which writes in a transaction that begins here."""
    connection = _connect(path, "mode=rw", factory=kind)
    assert isinstance(connection, kind), "it is made by it"
    try:
        _configure(connection, path)
        connection.execute("PRAGMA foreign_keys = ON")  # nobody can within a transaction
        connection.execute(statement("begin"))
    except BaseException:
        sqlite3.Connection.close(connection)
        raise
    return connection


def reopen_for_writing(path: Path) -> sqlite3.Connection:
    """Open the file again after a commit has failed.

    What the commit left in the log is cut off if there is room for that, or a crash might bring
    it back. Otherwise the next commit overwrites it.
    """
    connection = open_for_writing(path)
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return connection


def bring_up_to_date(connection: sqlite3.Connection, path: Path, key: bytes) -> None:
    """Make the newest schema out of whatever is there, in one transaction, and void all claims."""
    connection.execute(statement("begin"))
    try:
        [version] = connection.execute("PRAGMA user_version").fetchone()
        [application_id] = connection.execute("PRAGMA application_id").fetchone()
        is_empty = connection.execute("SELECT 1 FROM sqlite_schema").fetchone() is None
        if not is_empty:
            _check_version(path, application_id, version)
        for number in range(version + 1, SCHEMA_VERSION + 1):
            for text in _statements_of(schema(number)):
                connection.execute(text)
        if is_empty:
            connection.execute(statement("insert_key"), (key,))
        connection.execute(statement("void_claims"))
        connection.execute(statement("commit"))
    except BaseException:
        with suppress(sqlite3.Error):
            connection.rollback()
        raise


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the file beside its owner or alone, without a right to write.

    Raises:
        StoreUnavailableError: there is no such file.
        StoreReadOnlyError: it must first be brought up to date, which needs a writer.
    """
    connection = _connect(path, "mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError:
        # Without a right to write in the directory, SQLite cannot share the file with a writer.
        # Where there is no log there is none, and nothing to share.
        connection.close()
        if Path(f"{path}-wal").exists():
            raise
        connection = _connect(path, "immutable=1")
    try:
        [version] = connection.execute("PRAGMA user_version").fetchone()
        [application_id] = connection.execute("PRAGMA application_id").fetchone()
        _check_version(path, application_id, version, oldest=SCHEMA_VERSION)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_unmarked(path: Path) -> bool:
    """Say whether a file without a mark of ours is ours: all of it in the log, or not made yet."""
    with closing(_connect(path, "mode=ro")) as connection:
        [application_id] = connection.execute("PRAGMA application_id").fetchone()
        tables = connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    return application_id == _APPLICATION_ID or not tables


def _check_version(path: Path, application_id: int, version: int, oldest: int = 0) -> None:
    if application_id != _APPLICATION_ID:
        raise StoreCorruptedError(f"{path} is a database of another program", remedy=_OTHER)
    if version < 1:
        raise StoreCorruptedError(f"{path} has schema {version}, which no version ever wrote")
    if version > SCHEMA_VERSION:
        known = f"this library knows up to {SCHEMA_VERSION}"
        raise StoreTooNewError(f"{path} has schema {version}, and {known}")
    if version < oldest:
        raise StoreReadOnlyError(f"{path} has schema {version}; open it for writing once")


def _connect(path: Path, how: str, **kind: type[sqlite3.Connection]) -> sqlite3.Connection:
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect
    return connect(
        f"file:{quote(str(path))}?{how}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_BUSY_SECONDS,
        **kind,
    )


def _configure(connection: sqlite3.Connection, path: Path) -> None:
    [mode] = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreUnavailableError(f"{path}: its file system cannot share memory ({mode})")
    for pragma in (
        "PRAGMA synchronous = FULL",  # every commit is on the disk when it returns
        "PRAGMA fullfsync = ON",  # on macOS too
        "PRAGMA checkpoint_fullfsync = ON",
        "PRAGMA cell_size_check = ON",
        "PRAGMA trusted_schema = OFF",
    ):
        connection.execute(pragma)


def _number(header: bytes, offset: int) -> int:
    return int.from_bytes(header[offset : offset + 4], "big", signed=True)


def _statements_of(script: str) -> Iterator[str]:
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""
