"""What an error of SQLite or of its files means to whoever uses the store: the one place."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from durably.errors import (
    StoreCorruptedError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
)

_BY_CODE: Mapping[int, type[StoreError]] = {
    sqlite3.SQLITE_BUSY: StoreUnavailableError,
    sqlite3.SQLITE_CANTOPEN: StoreUnavailableError,
    sqlite3.SQLITE_CORRUPT: StoreCorruptedError,
    sqlite3.SQLITE_FULL: StoreFullError,
    sqlite3.SQLITE_IOERR: StoreUnavailableError,
    sqlite3.SQLITE_LOCKED: StoreUnavailableError,
    sqlite3.SQLITE_NOMEM: StoreUnavailableError,
    sqlite3.SQLITE_NOTADB: StoreCorruptedError,
    sqlite3.SQLITE_PERM: StoreReadOnlyError,
    sqlite3.SQLITE_PROTOCOL: StoreUnavailableError,
    sqlite3.SQLITE_READONLY: StoreReadOnlyError,
}
_BY_ERRNO: Mapping[int | None, type[StoreError]] = {
    errno.EACCES: StoreReadOnlyError,
    errno.EDQUOT: StoreFullError,
    errno.ENOSPC: StoreFullError,
    errno.EPERM: StoreReadOnlyError,
    errno.EROFS: StoreReadOnlyError,
}


def store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """Say what *error* means, in a new exception each time it is asked."""
    code = _code(error)
    kind = _BY_CODE.get(code, StoreError)
    told = kind(f"{path}: {error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})")
    told.__cause__ = error
    return told


def is_about_values(error: Exception) -> bool:
    """Tell an error of one statement's values from one of the database itself."""
    return not isinstance(error, sqlite3.Error) or _code(error) not in _BY_CODE


@contextmanager
def typed_errors(path: Path) -> Generator[None]:
    """Raise SQLite's and the operating system's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise store_error(error, path) from error
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
            said = f"{path}: there is no directory {str(path.parent)!r}"
            remedy = "Make it, as `mkdir -p` does, or name a file in another one."
            raise StoreUnavailableError(said, remedy=remedy) from error
        kind = _BY_ERRNO.get(error.errno, StoreUnavailableError)
        where = error.filename if isinstance(error.filename, str) else path
        raise kind(f"{where}: {error.strerror}") from error


def _code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF  # the primary code; the rest says where
