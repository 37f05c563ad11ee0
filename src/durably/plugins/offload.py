"""A serdes that keeps large values in files and records where they are.

The files must be reachable by every invocation, so the directory belongs on storage that all share,
never on a sandbox's own disk. Writing blocks until the file is safely on disk.

What is recorded is `{"data": text}`, or `{"file": path}` with the path below the directory and
perhaps a `"preview"`. A file's name ends with the hash of its content: it is never overwritten
with something else, and what is read is what was written.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec

from durably.errors import RetryableSerdesError, SerdesError
from durably.plugins.preview import PreviewConfig, build_preview
from durably.seams import IdSource, RandomIds
from durably.serdes import Serdes, SerdesContext, storable, typed_serdes
from durably.serdes_json import read_json
from durably.serdes_tagged import is_envelope

T = TypeVar("T")

MAX_INLINE_BYTES = 256 * 1024 - 1024
"""In OVERFLOW, a longer record goes to a file."""

_HASH_DIGITS = 32
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FINAL = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL})


class OffloadMode(StrEnum):
    """Which values go to files: all, or those that are too large to be recorded."""

    ALWAYS = "ALWAYS"
    OVERFLOW = "OVERFLOW"


class PathEncoding(StrEnum):
    """How files are named.

    URI: `function/execution/invocation/operation`, for people to read. HASH: by SHA-256, for file
    systems that take only short names.
    """

    URI = "URI"
    HASH = "HASH"


class FileSystemSerdes(Generic[T]):
    """Keeps values in files below a directory, which must exist.

    Args:
        directory: on storage that all invocations share.
        serdes: how the values themselves are written; without one, as `typed_serdes()` does.
        mode: which values go to files.
        path_encoding: how the files are named.
        preview: what the record shows of a value that went to a file.
        ids: names temporary files.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        serdes: Serdes[T] | None = None,
        mode: OffloadMode = OffloadMode.ALWAYS,
        path_encoding: PathEncoding = PathEncoding.URI,
        preview: PreviewConfig | None = None,
        ids: IdSource | None = None,
    ) -> None:
        self._directory = Path(directory)
        self._serdes: Serdes[T] = serdes or typed_serdes()
        self._mode = mode
        self._path_encoding = path_encoding
        self._preview = preview
        self._ids: IdSource = ids or RandomIds()

    def serialize(self, value: T, context: SerdesContext, /) -> str:
        """Write *value*, if need be to a file.

        Raises:
            SerdesError: it cannot be written, or its path cannot be.
            RetryableSerdesError: the file cannot be written now.
        """
        text = storable(self._serdes.serialize(value, context))
        if self._mode is OffloadMode.OVERFLOW:
            inline = msgspec.json.encode({"data": text})
            if len(inline) <= MAX_INLINE_BYTES:
                return inline.decode()
        content = text.encode()
        path = (*self._folders(context), _file_name(self._name(context), content))
        with _file_errors("written"):
            self._write(path, content)
        record: dict[str, Any] = {"file": "/".join(path)}
        if self._preview is not None:
            record["preview"] = build_preview(_as_json(text, value), self._preview)
        return msgspec.json.encode(record).decode()

    def deserialize(self, text: str, context: SerdesContext, /) -> T:
        """Read what `serialize` wrote, or what was recorded before values went to files.

        Raises:
            SerdesError: *text* names no file below the directory, or one that was changed.
            RetryableSerdesError: the file cannot be read now.
        """
        match read_json(text):
            case {"data": str(inline), **rest} if not rest.keys() - {"preview"}:
                return self._serdes.deserialize(inline, context)
            case {"file": str(path), **rest} if not rest.keys() - {"preview"}:
                with _file_errors("read"):
                    content = self._read(_checked(path))
                return self._serdes.deserialize(content, context)
            case _:
                return self._serdes.deserialize(text, context)

    def _folders(self, context: SerdesContext) -> tuple[str, ...]:
        arn = context.durable_execution_arn
        if self._path_encoding is PathEncoding.HASH:
            return (sha256(arn.encode()).hexdigest(),)
        head, _, tail = arn.partition("/durable-execution/")
        names = (head.rpartition(":function:")[2].partition(":")[0], *tail.split("/"))
        is_arn = len(names) == len(("function", "execution", "invocation")) and all(names)
        return tuple(_quoted(name) for name in (names if is_arn else (arn or "no-execution",)))

    def _name(self, context: SerdesContext) -> str:
        if self._path_encoding is PathEncoding.HASH:
            return sha256(context.entity_id.encode()).hexdigest()[:_HASH_DIGITS]
        return _quoted(context.entity_id)

    def _write(self, path: tuple[str, ...], content: bytes) -> None:
        *folders, name = path
        with self._opened(folders, _make_folder) as folder:
            if _exists(name, folder):
                return
            temporary = f".{self._ids.hex(32)}.tmp"
            try:
                _write_new(temporary, folder, content)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                if _exists(temporary, folder):
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def _read(self, path: tuple[str, ...]) -> str:
        *folders, name = path
        with self._opened(folders) as folder:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
                content = file.read()
        if not name.endswith(f".{_digest(content)}.json"):
            raise SerdesError(f"the file {'/'.join(path)} is not what was written")
        return content.decode()

    @contextmanager
    def _opened(
        self, folders: list[str], prepare: Callable[[str, int], None] | None = None
    ) -> Generator[int, None, None]:
        """Open the folder below the directory step by step, so that no link leads out of it."""
        at = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                if prepare is not None:
                    prepare(folder, at)
                inner = os.open(folder, _DIRECTORY, dir_fd=at)
                os.close(at)
                at = inner
            yield at
        finally:
            os.close(at)


def _make_folder(name: str, at: int) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=at)
    except FileExistsError:
        return
    os.fsync(at)


def _write_new(name: str, folder: int, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _file_name(name: str, content: bytes) -> str:
    return f"{name}.{_digest(content)}.json"


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:_HASH_DIGITS]


def _quoted(name: str) -> str:
    return quote(name, safe="").replace(".", "%2E")


def _checked(path: str) -> tuple[str, ...]:
    names = tuple(path.split("/"))
    if any(name in {"", ".", ".."} or "\0" in name for name in names):
        raise SerdesError("a file was recorded that is not below the directory")
    return names


def _as_json(text: str, value: Any) -> Any:
    """Give *value* as plain JSON, for people to look at."""
    try:
        plain = read_json(text)
        return msgspec.to_builtins(value, str_keys=True) if is_envelope(plain) else plain
    except (SerdesError, TypeError, ValueError):
        return None


@contextmanager
def _file_errors(verb: str) -> Generator[None, None, None]:
    """Say of an error of the file system whether trying again may help."""
    try:
        yield
    except OSError as error:
        kind = SerdesError if error.errno in _FINAL else RetryableSerdesError
        raise kind(f"the file of the value cannot be {verb}: {error.strerror}") from error
