"""Who may use a server, as a file says it that nobody else can read."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from durably.errors import ValidationError
from durably.server.access import AccessKey, BearerToken, Permission

_OF_OTHERS = 0o077
_PLACE = re.compile(r"\(at (line \d+, column \d+|end of document)\)")


class _Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    secret: str
    permissions: frozenset[Permission]


class _Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    secret: str
    permissions: frozenset[Permission]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[_Key, ...] = ()
    tokens: tuple[_Token, ...] = ()


def read_credentials(path: Path) -> tuple[tuple[AccessKey, ...], tuple[BearerToken, ...]]:
    """Read the keys and the tokens of a file of TOML.

    Raises:
        ValidationError: it cannot be read, or others can read it; or it is not what it must be. The
            text repeats no secret.
    """
    try:
        said = msgspec.toml.decode(_read(path), type=_File)
    except msgspec.ValidationError as error:
        permissions = ", ".join(Permission)
        text = f"is not as it must be: {error}; permissions are {permissions}"
        raise _refusal(path, text) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        at = _PLACE.search(str(error))  # all else might repeat a secret
        raise _refusal(path, f"is not TOML{f' {at[0]}' if at else ''}") from None
    keys = tuple(AccessKey(one.id, one.secret, one.permissions) for one in said.keys)
    tokens = tuple(BearerToken(one.secret, one.permissions, one.name) for one in said.tokens)
    _check_names(path, [key.name for key in keys] + [token.name for token in tokens])
    return keys, tokens


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & _OF_OTHERS:
                raise _refusal(path, f"can be read by others; chmod 600 {path}")
            return file.read()
    except OSError as error:
        raise _refusal(path, f"cannot be read: {error.strerror}") from error


def _check_names(path: Path, names: Sequence[str]) -> None:
    if not names:
        raise _refusal(path, "names no keys and no tokens")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _refusal(path, f"gives two of them the same name: {twice[0]}")


def _refusal(path: Path, text: str) -> ValidationError:
    return ValidationError("credentials", f"{path} {text}")
