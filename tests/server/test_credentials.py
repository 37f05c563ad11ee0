"""Credentials in a file: what it says, and who may read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from durably.errors import ValidationError
from durably.server.access import AccessKey, BearerToken, Permission
from durably.server.credentials import read_credentials

SECRET = "canary-that-is-long-enough"
KEY = f"""
[[keys]]
id = "AKIDORDERS"
secret = "{SECRET}"
permissions = ["start", "read"]
"""
TOKEN = f"""
[[tokens]]
name = "dashboards"
secret = "{SECRET}-2"
permissions = ["read", "read-payload"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "credentials.toml"
    path.write_text(KEY + TOKEN)
    path.chmod(0o600)
    return path


def test_keys_and_tokens_are_read_with_what_they_allow(file: Path) -> None:
    start, read = Permission.START, Permission.READ
    key = AccessKey("AKIDORDERS", SECRET, frozenset({start, read}))
    allowed = frozenset({read, Permission.READ_PAYLOAD})
    token = BearerToken(f"{SECRET}-2", allowed, "dashboards")
    assert read_credentials(file) == ((key,), (token,))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o610])
def test_a_file_that_others_can_use_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(ValidationError, match=r"can be read by others; chmod 600 .*\.toml"):
        read_credentials(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no keys and no tokens"),
        (f"secret = {SECRET}", "is not TOML"),
        (f"[[keys]]\nsecret = '{SECRET}'", "missing required field"),
        (KEY.replace("permissions", "permission"), "unknown field `permission`"),
        (KEY.replace("permissions =", "#"), "missing required field `permissions`"),
        (KEY.replace('"read"', '"write"'), "Invalid enum value 'write'"),
        (KEY.replace(f'"{SECRET}"', "7"), "Expected `str`, got `int`"),
        (KEY.replace(SECRET, SECRET[:15]), "at least 16 characters"),
        (KEY + KEY, "gives two of them the same name"),
        (KEY + TOKEN.replace("dashboards", "AKIDORDERS"), "gives two of them the same name"),
        (TOKEN.replace("dashboards", "a b"), "name: must be"),
        (KEY.replace("AKIDORDERS", "a b"), "key_id: must be"),
    ],
)
def test_what_is_no_list_of_credentials_is_refused_and_not_repeated(
    file: Path, text: str, said: str
) -> None:
    file.write_text(text)
    with pytest.raises(ValidationError) as refused:
        read_credentials(file)
    assert said in str(refused.value)
    assert SECRET[:15] not in str(refused.value)


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"a = 1\x00"])
def test_what_is_no_text_is_refused(file: Path, raw: bytes) -> None:
    file.write_bytes(raw)
    with pytest.raises(ValidationError, match="is not TOML"):
        read_credentials(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"nowhere cannot be read: No such file"):
        read_credentials(tmp_path / "nowhere")
