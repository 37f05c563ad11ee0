"""What every wire value has in common, and how one is read from and written to JSON."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

import msgspec

MAX_EPOCH_SECONDS = 1e12
"""A bare number above this is milliseconds since the epoch, below it seconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WireStruct(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="pascal",
    omit_defaults=True,
    repr_omit_defaults=True,
    gc=False,
):
    """A value that crosses the wire: immutable, PascalCase, defaults left out.

    A member that must always be written (`Truncated: false`, an empty details object) has no
    default. It can be part of no cycle, so the garbage collector need not look at it.
    """


def _since_epoch(at: datetime) -> timedelta:
    return at - _EPOCH


class Timestamp(datetime):
    """An instant, always in UTC. How it is written depends on the channel.

    Invocation payloads carry whole milliseconds since the epoch, API replies seconds with a
    fraction. It is a class of its own so that msgspec asks us, and not its own ISO 8601 codec.
    """

    __slots__ = ()

    @classmethod
    def of(cls, at: datetime) -> Self:
        """Give *at*, an aware datetime, as a timestamp."""
        if type(at) is cls:
            return at
        utc = at.astimezone(UTC)
        return cls(
            utc.year,
            utc.month,
            utc.day,
            utc.hour,
            utc.minute,
            utc.second,
            utc.microsecond,
            UTC,
        )

    @property
    def epoch_milliseconds(self) -> int:
        """Whole milliseconds since the epoch, as invocation payloads carry them."""
        return _since_epoch(self) // timedelta(milliseconds=1)

    @property
    def epoch_seconds(self) -> float:
        """Seconds since the epoch with a fraction, as API replies carry them."""
        return _since_epoch(self).total_seconds()


T = TypeVar("T")


def parse_timestamp(value: object) -> Timestamp | None:
    """Read an instant in any form a backend has been seen to send; `None` when it is not one.

    The forms are those that the service and its SDKs write. A bad timestamp fails no
    invocation.
    """
    try:
        if isinstance(value, datetime):
            return _from_datetime(value)
        read = _FORMS.get(type(value))
        return None if read is None else read(value)
    except (ValueError, OverflowError):
        return None


def _from_datetime(at: datetime) -> Timestamp:
    return Timestamp.of(at if at.tzinfo else at.replace(tzinfo=UTC))


def _from_iso(text: str) -> Timestamp | None:
    return _from_datetime(datetime.fromisoformat(text.strip())) if text.strip() else None


def _from_number(number: float) -> Timestamp:
    is_milliseconds = abs(number) > MAX_EPOCH_SECONDS
    since = timedelta(milliseconds=number) if is_milliseconds else timedelta(seconds=number)
    return Timestamp.of(_EPOCH + since)


_SECONDS = ("Seconds", "seconds", "EpochSeconds", "epochSeconds")
_NANOS = ("Nanos", "nanos", "EpochNanos", "epochNanos")
_MOMENTS = (
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


def _from_members(members: dict[str, Any]) -> Timestamp | None:
    seconds = _first_number(members, _SECONDS)
    if seconds is not None:
        nanos = _first_number(members, _NANOS) or 0
        return Timestamp.of(_EPOCH + timedelta(seconds=seconds, microseconds=nanos / 1000))
    inner = members.get("$date")
    if isinstance(inner, str | int | float):
        return parse_timestamp(inner)
    moment = _first_number(members, _MOMENTS)
    return None if moment is None else _from_number(moment)


_FORMS: dict[type, Callable[[Any], Timestamp | None]] = {
    str: _from_iso,
    int: _from_number,
    float: _from_number,
    dict: _from_members,
}


def _first_number(members: dict[str, Any], names: tuple[str, ...]) -> float | None:
    for name in names:
        value = members.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        if isinstance(value, str):
            return float(value)
    return None


def _as_milliseconds(value: object) -> int:
    if isinstance(value, Timestamp):
        return value.epoch_milliseconds
    raise NotImplementedError


def _as_seconds(value: object) -> float:
    if isinstance(value, Timestamp):
        return value.epoch_seconds
    raise NotImplementedError


def _read(wanted: type, value: object) -> object:
    if wanted is not Timestamp:
        raise NotImplementedError
    at = parse_timestamp(value)
    if at is None:
        raise ValueError("not an instant")
    return at


encode_invocation: Callable[[object], bytes] = msgspec.json.Encoder(
    enc_hook=_as_milliseconds
).encode
"""Write a wire value as JSON for an invocation payload: instants in milliseconds."""

encode_api: Callable[[object], bytes] = msgspec.json.Encoder(enc_hook=_as_seconds).encode
"""Write a wire value as JSON for an API request or reply: instants in seconds."""


def decode_wire(raw: bytes | str, as_type: type[T]) -> T:
    """Read JSON as *as_type*. A timestamp that cannot be read becomes `None`.

    Raises:
        msgspec.ValidationError: a member has the wrong type; the text names its path.
        msgspec.DecodeError: *raw* is not JSON, or nested too deep.
    """
    try:
        try:
            return msgspec.json.decode(raw, type=as_type, dec_hook=_read)
        except msgspec.ValidationError:
            return convert_wire(msgspec.json.decode(raw), as_type)
    except RecursionError:
        raise msgspec.DecodeError("JSON is nested too deep") from None


def convert_wire(value: object, as_type: type[T]) -> T:
    """Build *as_type* from plain dicts and lists, such as an event that Lambda has decoded.

    A timestamp that cannot be read becomes `None`.

    Raises:
        msgspec.ValidationError: a member has the wrong type; the text names its path.
    """
    try:
        return msgspec.convert(value, type=as_type, dec_hook=_read)
    except msgspec.ValidationError:
        # msgspec takes no `None` for an answer of the hook, so a bad timestamp goes first.
        return msgspec.convert(_without_bad_timestamps(value), type=as_type, dec_hook=_read)


_TIMESTAMPS = frozenset(
    {
        "StartTimestamp",
        "EndTimestamp",
        "NextAttemptTimestamp",
        "ScheduledEndTimestamp",
        "ScheduledTimeoutTimestamp",
    }
)


def _without_bad_timestamps(value: object) -> Any:
    clean = _CONTAINERS.get(type(value))
    return value if clean is None else clean(value)


def _clean_items(items: list[Any]) -> list[Any]:
    return [_without_bad_timestamps(item) for item in items]


def _clean_members(members: dict[str, Any]) -> dict[str, Any]:
    return {
        name: parse_timestamp(member) if name in _TIMESTAMPS else _without_bad_timestamps(member)
        for name, member in members.items()
    }


_CONTAINERS: dict[type, Callable[[Any], Any]] = {list: _clean_items, dict: _clean_members}
