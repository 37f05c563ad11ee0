from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from durably.errors import RetryableSerdesError, SerdesError
from durably.plugins.offload import (
    MAX_INLINE_BYTES,
    FileSystemSerdes,
    OffloadMode,
    PathEncoding,
)
from durably.plugins.preview import PreviewConfig, PreviewField, PreviewMode
from durably.serdes import JsonSerdes, SerdesContext, typed_serdes

ARN = (
    "arn:aws:lambda:eu-central-1:123456789012:function:fulfil:1"
    "/durable-execution/order-7/8f14e45f-ceea-467f-a9c5-22b2f4b1a3a1"
)
CONTEXT = SerdesContext("2-1", ARN)
HASH = PathEncoding.HASH
NAMES = [
    "../../../etc/passwd",
    "..",
    ".",
    "",
    "/etc/passwd",
    "a/../../b",
    "a\\..\\b",
    "%2e%2e%2f",
    "nul\0byte",
    "~",
    "-rf",
    "x" * 60,
    "é",
]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    inside = tmp_path / "payloads"
    inside.mkdir()
    (tmp_path / "outside.json").write_text('"secret"')
    return inside


@pytest.fixture(autouse=True)
def _no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def files(directory: Path) -> list[Path]:
    return sorted(path.relative_to(directory) for path in directory.rglob("*") if path.is_file())


def test_a_value_goes_to_a_file_and_comes_back(directory: Path) -> None:
    serdes = FileSystemSerdes[Any](directory)
    value = {"a": [1, (2,), date(2025, 1, 2)]}

    text = serdes.serialize(value, CONTEXT)

    assert json.loads(text).keys() == {"file"}
    assert serdes.deserialize(text, CONTEXT) == value


def test_files_are_named_by_where_the_value_belongs(directory: Path) -> None:
    FileSystemSerdes[Any](directory).serialize(1, CONTEXT)

    (path,) = files(directory)

    assert path.parent == Path("fulfil/order-7/8f14e45f-ceea-467f-a9c5-22b2f4b1a3a1")
    assert path.name.startswith("2-1.")
    assert path.name.endswith(".json")


def test_names_can_be_hashed(directory: Path) -> None:
    serdes = FileSystemSerdes[Any](directory, path_encoding=HASH)
    context = SerdesContext("x" * 1000, "y" * 1000)

    text = serdes.serialize(1, context)

    assert serdes.deserialize(text, context) == 1
    assert all(len(part) < 100 for part in files(directory)[0].parts)


def test_an_arn_of_another_form_is_one_folder(directory: Path) -> None:
    for arn in ("no arn", "arn:a:function:f/durable-execution/only-one", ""):
        FileSystemSerdes[Any](directory).serialize(1, SerdesContext("1", arn))

    assert {path.parts[0] for path in files(directory)} == {
        "no%20arn",
        "arn%3Aa%3Afunction%3Af%2Fdurable-execution%2Fonly-one",
        "no-execution",
    }


def test_a_small_value_stays_in_the_record_when_only_overflow_goes_to_files(
    directory: Path,
) -> None:
    serdes = FileSystemSerdes[Any](directory, mode=OffloadMode.OVERFLOW)
    small, large = "x" * (MAX_INLINE_BYTES - 30), "x" * MAX_INLINE_BYTES

    records = [serdes.serialize(value, CONTEXT) for value in (small, large)]

    assert [list(json.loads(record)) for record in records] == [["data"], ["file"]]
    assert len(files(directory)) == 1
    assert [serdes.deserialize(record, CONTEXT) for record in records] == [small, large]


def test_files_and_folders_are_for_their_owner_only(directory: Path) -> None:
    FileSystemSerdes[Any](directory).serialize(1, CONTEXT)

    for path in directory.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600)


def test_another_value_of_the_same_operation_never_overwrites_the_first(directory: Path) -> None:
    serdes = FileSystemSerdes[Any](directory)

    winner = serdes.serialize("first", CONTEXT)
    serdes.serialize("second", CONTEXT)

    assert serdes.deserialize(winner, CONTEXT) == "first"


def test_the_same_value_is_written_once(directory: Path) -> None:
    serdes = FileSystemSerdes[Any](directory)

    assert serdes.serialize(1, CONTEXT) == serdes.serialize(1, CONTEXT)
    assert len(files(directory)) == 1


def test_a_preview_stands_beside_the_file(directory: Path) -> None:
    preview = PreviewConfig(mode=PreviewMode.INCLUDE_ALL, mask=(PreviewField("card"),))
    serdes = FileSystemSerdes[Any](directory, preview=preview)

    plain = serdes.serialize({"id": 7, "card": "4111"}, CONTEXT)
    tagged = serdes.serialize({"at": date(2025, 1, 2), "card": "4111"}, CONTEXT)

    assert json.loads(plain)["preview"] == {"id": 7, "card": "***"}
    assert json.loads(tagged)["preview"] == {"at": "2025-01-02", "card": "***"}
    assert serdes.deserialize(plain, CONTEXT) == {"id": 7, "card": "4111"}


def test_what_is_not_json_has_no_preview(directory: Path) -> None:
    class Shouting:
        def serialize(self, value: str, context: SerdesContext) -> str:
            return value.upper()

        def deserialize(self, text: str, context: SerdesContext) -> str:
            return text

    preview = PreviewConfig(mode=PreviewMode.INCLUDE_ALL)
    serdes = FileSystemSerdes(directory, serdes=Shouting(), preview=preview)

    text = serdes.serialize("hello", CONTEXT)

    assert json.loads(text)["preview"] is None
    assert serdes.deserialize(text, CONTEXT) == "HELLO"


def test_what_was_recorded_before_values_went_to_files_can_still_be_read(directory: Path) -> None:
    serdes = FileSystemSerdes[Any](directory)

    for value in (1, {"a": 1}, {"data": 5}, {"file": "x", "more": 1}, (1, 2)):
        assert serdes.deserialize(typed_serdes().serialize(value, CONTEXT), CONTEXT) == value


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("encoding", PathEncoding)
def test_no_id_leads_out_of_the_directory(
    directory: Path, name: str, encoding: PathEncoding
) -> None:
    serdes = FileSystemSerdes[Any](directory, path_encoding=encoding)
    before = sorted(directory.parent.iterdir())

    for arn in (ARN, name, f"arn:function:{name}:1/durable-execution/{name}/{name}"):
        context = SerdesContext(name, arn)
        assert serdes.deserialize(serdes.serialize(1, context), context) == 1

    assert sorted(directory.parent.iterdir()) == before


@pytest.mark.parametrize(
    "path",
    [
        "../outside.json",
        "a/../../outside.json",
        "/etc/passwd",
        "a//b",
        "",
        ".",
        "a/./b",
        "nul\0byte",
        "a/..",
    ],
)
def test_no_record_leads_out_of_the_directory(directory: Path, path: str) -> None:
    with pytest.raises(SerdesError, match="not below the directory") as caught:
        FileSystemSerdes[Any](directory).deserialize(json.dumps({"file": path}), CONTEXT)

    assert not isinstance(caught.value, RetryableSerdesError)


def test_no_link_leads_out_of_the_directory(directory: Path) -> None:
    serdes = FileSystemSerdes[Any](directory)
    (directory / "fulfil").symlink_to(directory.parent, target_is_directory=True)
    (directory / "link.json").symlink_to(directory.parent / "outside.json")

    for path in ("fulfil/outside.json", "link.json"):
        with pytest.raises(SerdesError) as caught:
            serdes.deserialize(json.dumps({"file": path}), CONTEXT)
        assert not isinstance(caught.value, RetryableSerdesError)
    with pytest.raises(SerdesError):
        serdes.serialize(1, CONTEXT)
    assert sorted(path.name for path in directory.parent.iterdir()) == ["outside.json", "payloads"]


def test_a_file_that_was_changed_is_not_believed(directory: Path) -> None:
    serdes = FileSystemSerdes[Any](directory)
    text = serdes.serialize("pay 5", CONTEXT)
    (directory / files(directory)[0]).write_text('"pay 500"')

    with pytest.raises(SerdesError, match="is not what was written"):
        serdes.deserialize(text, CONTEXT)


def test_a_file_that_is_missing_may_come_back(directory: Path) -> None:
    serdes = FileSystemSerdes[Any](directory)
    text = serdes.serialize(1, CONTEXT)
    (directory / files(directory)[0]).unlink()

    with pytest.raises(RetryableSerdesError, match="cannot be read"):
        serdes.deserialize(text, CONTEXT)


def test_a_directory_that_is_missing_is_not_made(directory: Path) -> None:
    serdes = FileSystemSerdes[Any](directory / "not-mounted")

    with pytest.raises(RetryableSerdesError, match="cannot be written"):
        serdes.serialize(1, CONTEXT)
    assert files(directory) == []


def test_a_name_that_is_too_long_is_refused_for_good(directory: Path) -> None:
    with pytest.raises(SerdesError, match="cannot be written") as caught:
        FileSystemSerdes[Any](directory).serialize(1, SerdesContext("x" * 300, ARN))

    assert not isinstance(caught.value, RetryableSerdesError)


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_leaves_nothing_behind_and_is_tried_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    serdes = FileSystemSerdes[Any](directory)
    serdes.serialize("first", CONTEXT)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)

    with pytest.raises(RetryableSerdesError, match="No space left"):
        serdes.serialize("second", CONTEXT)
    assert len(files(directory)) == 1


def test_the_values_themselves_may_be_written_by_any_serdes(directory: Path) -> None:
    serdes = FileSystemSerdes[Any](directory, serdes=JsonSerdes())

    assert serdes.deserialize(serdes.serialize((1, 2), CONTEXT), CONTEXT) == [1, 2]
