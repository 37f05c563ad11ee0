"""One process at a time: the lock beside a database file."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from durably.errors import StoreLockedError
from durably.stores.sqlite_presence import identity_of


class OwnerLock:
    """Held by the one process that may write. The kernel frees it when that process dies.

    Its file lies beside the database, which is what errors name. It stays when the lock is free:
    removing it would let two processes lock two files of the same name.

    Args:
        database: the file that it is for.

    Attributes:
        path: its own file.
        is_new: there was no such file. If there is a database, somebody may have removed the file
            under a process that holds it.

    Raises:
        StoreLockedError: another process, or another store of this one, holds it.
        OSError: the file may not be written, or there is no directory for it.
    """

    def __init__(self, database: Path) -> None:
        if is_held_here(database):
            raise StoreLockedError(f"{database} is held by this very process", remedy=_OURS)
        self.path = path = _lock_of(database)
        self._database = database
        self.is_new = not path.exists()
        self._descriptor = self._open()
        while identity_of(self._descriptor) != identity_of(path):  # replaced just now
            os.close(self._descriptor)
            self._descriptor = self._open()
        _held.add(self)

    def _open(self) -> int:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(descriptor, self._database)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def release(self) -> None:
        """Let another process have it."""
        if self in _held:
            _held.discard(self)
            os.close(self._descriptor)

    def forget(self) -> None:
        """Close a child process's copy: while it is open, the lock outlives the parent."""
        os.close(self._descriptor)


_held: WeakSet[OwnerLock] = WeakSet()

_OURS = "Use the engine or store that has it open already, or close that one first."


def refuse_links(path: Path) -> None:
    """Refuse a database that has two names: the lock beside each of them would be another one.

    Raises:
        StoreLockedError: it has.
    """
    with suppress(FileNotFoundError):
        if path.stat().st_nlink > 1:
            raise StoreLockedError(f"{path} has another name, a hard link that a process may hold")


def is_held_here(database: Path) -> bool:
    """Whether a store of this process holds the lock of *database*."""
    return any(lock.path == _lock_of(database) for lock in _held)


def _lock_of(database: Path) -> Path:
    return Path(f"{database}.lock")


def _lock(descriptor: int, database: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        raise StoreLockedError(f"{database} is held by process {owner or 'unknown'}") from None
    os.fchmod(descriptor, 0o600)  # whatever the umask
    with suppress(OSError):  # no room for a number that only people read
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)


def _forget_in_child() -> None:
    for lock in list(_held):
        lock.forget()
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)
