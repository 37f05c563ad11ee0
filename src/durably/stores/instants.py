"""Instants as whole microseconds since 1970: how databases and markers hold them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(at: datetime) -> int:
    """Count the microseconds from 1970 to *at*, exactly."""
    return (at - EPOCH) // _MICROSECOND


def from_us(microseconds: int) -> datetime:
    """Give the instant that `to_us` counted to."""
    return EPOCH + timedelta(microseconds=microseconds)
