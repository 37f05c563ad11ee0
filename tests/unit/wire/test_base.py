from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from durably.wire.base import (
    Timestamp,
    WireStruct,
    convert_wire,
    decode_wire,
    encode_api,
    encode_invocation,
    parse_timestamp,
)
from durably.wire.operation import Operation, WaitDetails

AT = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
SECONDS = 1_700_000_000


class Sample(WireStruct, frozen=True):
    some_name: str
    left_out: int = 0


class Payload(WireStruct, frozen=True):
    truncated: bool
    details: WaitDetails


class Curious(WireStruct, frozen=True):
    anything: complex


def test_members_are_written_in_pascal_case_and_defaults_are_left_out() -> None:
    assert encode_api(Sample(some_name="x")) == b'{"SomeName":"x"}'


def test_a_member_without_a_default_is_always_written() -> None:
    payload = Payload(truncated=False, details=WaitDetails())

    assert encode_api(payload) == b'{"Truncated":false,"Details":{}}'


def test_a_wire_value_cannot_be_changed() -> None:
    sample = Sample(some_name="x")

    with pytest.raises(AttributeError):
        sample.some_name = "y"  # type: ignore[misc]


def test_unknown_members_are_ignored() -> None:
    assert decode_wire(b'{"SomeName":"x","New":{"a":[1]}}', Sample) == Sample(some_name="x")


def test_a_missing_required_member_is_refused_by_name() -> None:
    with pytest.raises(msgspec.ValidationError, match="SomeName"):
        decode_wire(b"{}", Sample)


def test_a_member_of_the_wrong_type_is_refused_by_path() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.SomeName"):
        convert_wire({"SomeName": 1}, Sample)


@pytest.mark.parametrize("raw", [b"", b"{", b"nonsense", "\ud800"])
def test_what_is_not_json_is_refused(raw: bytes | str) -> None:
    with pytest.raises(ValueError, match=r"JSON|truncated|surrogates"):
        decode_wire(raw, Sample)


@pytest.mark.parametrize("before", [b'{"SomeName":"x","New":', b'{"SomeName":1,"New":', b""])
def test_json_nested_too_deep_is_refused_and_does_not_crash(before: bytes) -> None:
    with pytest.raises(msgspec.DecodeError, match="deep"):
        decode_wire(before + b"[" * 100_000, Sample)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("2023-11-14T22:13:20Z", id="ISO 8601 in UTC"),
        pytest.param(" 2023-11-14T23:13:20+01:00 ", id="ISO 8601 with an offset and blanks"),
        pytest.param("2023-11-14T22:13:20", id="ISO 8601 without an offset is UTC"),
        pytest.param(SECONDS, id="seconds"),
        pytest.param(float(SECONDS), id="seconds as a float"),
        pytest.param(SECONDS * 1000, id="milliseconds"),
        pytest.param({"Seconds": SECONDS}, id="Seconds"),
        pytest.param({"seconds": SECONDS, "nanos": 0}, id="seconds and nanos"),
        pytest.param({"EpochSeconds": str(SECONDS)}, id="EpochSeconds as text"),
        pytest.param({"epochSeconds": SECONDS, "epochNanos": 0}, id="epochSeconds"),
        pytest.param({"$date": "2023-11-14T22:13:20Z"}, id="$date as text"),
        pytest.param({"$date": SECONDS * 1000}, id="$date as a number"),
        pytest.param(
            {"$date": {"$numberLong": 1}, "millis": SECONDS * 1000}, id="$date as neither"
        ),
        *(
            pytest.param({name: value}, id=f"{name}, {type(value).__name__}")
            for name in (
                "$numberLong",
                "millis",
                "milliseconds",
                "epochMillis",
                "EpochMillis",
                "timestamp",
                "Timestamp",
                "time",
                "Time",
            )
            for value in (SECONDS, SECONDS * 1000, str(SECONDS * 1000))
        ),
        pytest.param(AT, id="an aware datetime"),
        pytest.param(AT.replace(tzinfo=None), id="a datetime without an offset is UTC"),
        pytest.param(AT.astimezone(timezone(timedelta(hours=5))), id="a datetime elsewhere"),
        pytest.param(Timestamp.of(AT), id="a timestamp"),
    ],
)
def test_every_form_of_an_instant_is_read(value: object) -> None:
    at = parse_timestamp(value)

    assert at == AT
    assert at is not None
    assert at.tzinfo is UTC


def test_fractions_of_a_second_are_kept() -> None:
    assert parse_timestamp(SECONDS + 0.25) == AT + timedelta(milliseconds=250)
    assert parse_timestamp(SECONDS * 1000 + 123) == AT + timedelta(milliseconds=123)
    assert parse_timestamp({"Seconds": SECONDS, "Nanos": 7000}) == AT + timedelta(microseconds=7)


BAD_TIMESTAMPS: list[Any] = [
    None,
    True,
    False,
    "",
    "  ",
    "yesterday",
    "9999-99-99",
    1e300,
    -1e300,
    [],
    [1],
    {},
    {"Seconds": True},
    {"Seconds": "soon"},
    {"Seconds": 1e300},
    {"$date": None},
    {"$date": True},
    {"millis": None},
    {"millis": "soon"},
    {"other": 1},
]


@pytest.mark.parametrize("value", [*BAD_TIMESTAMPS, float("nan"), float("inf"), object(), b"1"])
def test_what_is_no_instant_reads_as_none(value: object) -> None:
    assert parse_timestamp(value) is None


@pytest.mark.parametrize("value", BAD_TIMESTAMPS)
@pytest.mark.parametrize(
    "name",
    [
        ("StartTimestamp",),
        ("EndTimestamp",),
        ("StepDetails", "NextAttemptTimestamp"),
        ("WaitDetails", "ScheduledEndTimestamp"),
        ("CallbackDetails", "ScheduledTimeoutTimestamp"),
    ],
)
def test_a_bad_timestamp_never_fails_the_value_around_it(name: tuple[str, ...], value: Any) -> None:
    operation: dict[str, Any] = {"Id": "1", "Type": "STEP", "Status": "STARTED"}
    member: Any = value
    for part in reversed(name[1:]):
        member = {part: member}
    operation[name[0]] = member

    assert decode_wire(json.dumps([operation]), list[Operation])[0].id == "1"
    assert convert_wire([operation], list[Operation])[0].id == "1"


def test_a_bad_timestamp_becomes_none_and_a_good_one_beside_it_stays() -> None:
    raw = b'{"Id":"1","Type":"WAIT","Status":"STARTED","StartTimestamp":1700000000,'
    raw += b'"EndTimestamp":"never","WaitDetails":{"ScheduledEndTimestamp":[]}}'

    operation = decode_wire(raw, Operation)

    assert operation.start_timestamp == AT
    assert operation.end_timestamp is None
    assert operation.wait_details == WaitDetails()


def test_a_bad_timestamp_hides_no_other_mistake() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.Status"):
        decode_wire(b'{"Id":"1","Type":"STEP","Status":5,"EndTimestamp":"never"}', Operation)


def test_invocation_payloads_carry_milliseconds_and_api_replies_seconds() -> None:
    details = WaitDetails(scheduled_end_timestamp=Timestamp.of(AT + timedelta(milliseconds=123)))

    assert encode_invocation(details) == b'{"ScheduledEndTimestamp":1700000000123}'
    assert encode_api(details) == b'{"ScheduledEndTimestamp":1700000000.123}'


def test_an_instant_before_the_epoch_is_negative() -> None:
    at = Timestamp.of(datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC))

    assert (at.epoch_milliseconds, at.epoch_seconds) == (-1000, -1.0)


def test_a_timestamp_is_an_aware_datetime_in_utc() -> None:
    at = Timestamp.of(AT.astimezone(timezone(timedelta(hours=2))))

    assert at == AT
    assert at.utcoffset() == timedelta(0)
    assert Timestamp.of(at) is at


def test_a_class_that_the_protocol_does_not_know_is_neither_written_nor_read() -> None:
    with pytest.raises(NotImplementedError):
        encode_api(Curious(anything=1j))
    with pytest.raises(NotImplementedError):
        encode_invocation(Curious(anything=1j))
    with pytest.raises(NotImplementedError):
        decode_wire(b'{"Anything":1}', Curious)
