"""One request of the API, as its operation reads it; and how replies are written."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar, cast
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from starlette.datastructures import Headers
from starlette.responses import Response

from durably.engine.limits import MAX_AMOUNT
from durably.engine.service import Service
from durably.errors import InvalidParameterValueException, SerdesError
from durably.serdes_json import check_amount, read_json
from durably.server.access import Permission
from durably.server.auth import Caller
from durably.server.errors import JSON
from durably.server.functions import Functions
from durably.wire.arns import title_of
from durably.wire.base import convert_wire, encode_api, parse_timestamp

audit = logging.getLogger("durably.audit")

T = TypeVar("T")
EnumT = TypeVar("EnumT", bound=StrEnum)

GONE = 499
"""The status of a reply that nobody reads."""

MAX_ITEMS = 1000
_MAX_QUERY_FIELDS = 100
_MAX_MARKER = 4096

_is_instant = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?"
).fullmatch
_is_count = re.compile(r"[0-9]{1,4}").fullmatch
_PLACE = re.compile(r" - at `(?:key in )?\$(?P<path>[^`]*)`$")
_EXPECTED = re.compile(
    r"Expected `[a-z| ]+`(?:, got `[a-z]+`)?|Object missing required field `\w+`"
)
_TRUTH = {"true": True, "false": False}


def refuse(field: str, text: str) -> InvalidParameterValueException:
    """Refuse what was given for *field*."""
    return InvalidParameterValueException(f"{field} {text}.")


class Query:
    """The members of a query string.

    Raises:
        InvalidParameterValueException: it is not one in UTF-8, or has too many members.
    """

    def __init__(self, raw: bytes) -> None:
        try:
            pairs = parse_qsl(
                raw.decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=_MAX_QUERY_FIELDS,
            )
        except ValueError:
            raise InvalidParameterValueException("The query string cannot be read.") from None
        self._members: dict[str, list[str]] = {}
        for name, value in pairs:
            self._members.setdefault(name, []).append(value)

    def all(self, name: str) -> list[str]:
        """Give every value of *name*."""
        return self._members.get(name, [])

    def text(self, name: str) -> str | None:
        """Give the value of *name*; none and an empty one are the same."""
        values = self.all(name)
        if len(values) > 1:
            raise refuse(name, "is given more than once")
        return values[0] or None if values else None

    def marker(self) -> str | None:
        """Give the marker of the page before."""
        marker = self.text("Marker")
        if marker is not None and len(marker) > _MAX_MARKER:
            raise refuse("Marker", "is not one that this listing has given")
        return marker

    def flag(self, name: str, *, default: bool) -> bool:
        """Give the truth of *name*."""
        text = self.text(name)
        if text is None:
            return default
        if text not in _TRUTH:
            raise refuse(name, "must be true or false")
        return _TRUTH[text]

    def count(self, name: str = "MaxItems", maximum: int = MAX_ITEMS) -> int | None:
        """Give a number from 0 to *maximum*."""
        text = self.text(name)
        if text is None:
            return None
        if _is_count(text) is None or int(text) > maximum:
            raise refuse(name, f"must be 0 to {maximum}")
        return int(text)

    def instant(self, name: str) -> datetime | None:
        """Give an instant, written as ISO 8601."""
        text = self.text(name)
        if text is None:
            return None
        at = None if _is_instant(text) is None else parse_timestamp(text)
        if at is None:
            raise refuse(name, "must be an instant as ISO 8601 writes it")
        return at

    def choices(self, name: str, among: type[EnumT], maximum: int) -> tuple[EnumT, ...]:
        """Give up to *maximum* values out of *among*."""
        values = self.all(name)
        if len(values) > maximum:
            raise refuse(name, f"must be at most {maximum}")
        known = {str(one): one for one in among}
        if not known.keys() >= set(values):
            raise refuse(name, f"must be among {', '.join(known)}")
        return tuple(known[value] for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request.

    Attributes:
        caller: who makes it; `None` where nobody is asked for credentials.
        labels: the variable parts of its path, still encoded.
        gone: returns when the caller has gone away.
    """

    service: Service
    functions: Functions
    caller: Caller | None
    labels: Mapping[str, str]
    query: Query
    headers: Headers
    body: bytes
    gone: Callable[[], Awaitable[None]]

    def is_with_data(self) -> bool:
        """Say whether payloads are asked for, too.

        Raises:
            ApiError: they are, and the caller may not read them.
        """
        is_with_data = self.query.flag("IncludeExecutionData", default=True)
        if is_with_data and self.caller is not None:
            self.caller.check_allowed(Permission.READ_PAYLOAD)
        return is_with_data

    def record(self, deed: str, arn: str) -> None:
        """Note in the audit log that the caller has done this to an execution, of any text."""
        who = "anybody on this machine" if self.caller is None else self.caller.credential.name
        audit.info("%s: %s by %s", title_of(arn), deed, who, extra={"executionArn": arn})

    def label(self, name: str) -> str:
        """Give a variable part of the path. Whatever it holds is data: slashes, dots, zeros.

        Raises:
            InvalidParameterValueException: it is not UTF-8.
        """
        try:
            return unquote_to_bytes(self.labels[name]).decode()
        except UnicodeDecodeError:
            raise refuse(name, "is not UTF-8") from None

    def text(self, field: str) -> str | None:
        """Give the body as text, `None` when there is none.

        Raises:
            InvalidParameterValueException: it is not UTF-8.
        """
        try:
            return self.body.decode() or None
        except UnicodeDecodeError:
            raise refuse(field, "is not UTF-8") from None

    def read(self, as_type: type[T], **members: str) -> T:
        """Read the body as a JSON object, with *members* that the path has given.

        Raises:
            InvalidParameterValueException: it is not one, or a member is not legal; the text says
                which, and never what it was.
        """
        text = self.text("The body") or "{}"
        try:
            check_amount(text, MAX_AMOUNT)
        except SerdesError as error:
            raise InvalidParameterValueException(f"The body {error}.") from None
        try:
            value: object = read_json(text)
        except SerdesError:
            raise InvalidParameterValueException("The body is not JSON that can be read.") from None
        if not isinstance(value, dict):
            raise InvalidParameterValueException("The body is not a JSON object.")
        try:
            return convert_wire({**cast("dict[str, object]", value), **members}, as_type)
        except msgspec.ValidationError as error:
            raise InvalidParameterValueException(_misfit(str(error))) from None


def _misfit(text: str) -> str:
    """Say where a member does not fit, and what was expected. Its value is not repeated."""
    place = _PLACE.search(text)
    expected = _EXPECTED.match(text)
    path = place["path"].lstrip(".") if place is not None else ""
    said = expected[0] if expected is not None else "The value is not a legal one"
    return f"{path or 'The body'}: {said}."


def reply(value: object, status: int = 200) -> Response:
    """Write a wire value as a reply."""
    return Response(encode_api(value), status_code=status, media_type=JSON)


def empty(status: int = 200) -> Response:
    """Write a reply that says no more than that it was done."""
    return Response(b"{}", status_code=status, media_type=JSON)
