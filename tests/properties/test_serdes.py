"""Whatever is recorded is read as it was, or refused when it is written; never changed."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durably.batch_result import (
    BatchCompletionReason,
    BatchItem,
    BatchItemStatus,
    BatchResult,
)
from durably.errors import ChildContextError, SerdesError, StepError, error_object
from durably.operation_errors import MAX_MESSAGE_BYTES
from durably.plugins.preview import PreviewConfig, PreviewField, PreviewMode, build_preview
from durably.serdes import JsonSerdes, SerdesContext, typed_serdes
from durably.wire.base import decode_wire, encode_api
from durably.wire.operation import ErrorObject
from tests.unit.serdes_samples import Cat, Colour, Dog, Order, Parcel, Point

CONTEXT = SerdesContext("1", "arn:x")
TAGGED = typed_serdes()

storable_text = st.text(st.characters(exclude_categories=["Cs"]))
any_text = st.text()
finite = st.floats(allow_nan=False, allow_infinity=False)
offsets = st.integers(-23 * 60, 23 * 60).map(lambda m: timezone(timedelta(minutes=m)))
scalars = st.none() | st.booleans() | st.integers() | finite | storable_text
plain = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(storable_text | st.sampled_from("tv"), inner),
    max_leaves=20,
)
hashable = (
    scalars
    | st.binary()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.datetimes(timezones=st.none() | st.just(UTC) | offsets)
)
batches = st.builds(
    BatchResult,
    st.lists(
        st.builds(BatchItem, st.integers(0), st.just(BatchItemStatus.SUCCEEDED), scalars)
        | st.builds(
            BatchItem,
            st.integers(0),
            st.just(BatchItemStatus.FAILED),
            st.none(),
            st.builds(ChildContextError, storable_text, operation=st.none() | storable_text),
        )
    ).map(tuple),
    st.sampled_from(BatchCompletionReason),
)
rich = st.recursive(
    hashable | batches,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(storable_text | st.sampled_from("tv"), inner)
        | st.dictionaries(hashable | st.tuples(hashable), inner)
        | st.sets(hashable)
        | st.frozensets(hashable)
    ),
    max_leaves=20,
)
hostile = st.recursive(
    rich
    | st.floats()
    | any_text
    | st.sampled_from([Colour.RED, Cat(1), Point(1), OrderedDict(a=1), 1j, object(), Cat]),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.integers() | any_text | st.floats(), inner)
    ),
    max_leaves=10,
)


def identical(one: Any, other: Any) -> bool:
    """Whether two values are of the same types and say the same all through."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        one, other = list(one.items()), list(other.items())
    if isinstance(one, set | frozenset):
        one, other = ({(type(item), item) for item in value} for value in (one, other))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(identical, one, other))
    if isinstance(one, float) and math.copysign(1, one) != math.copysign(1, other):
        return False
    return bool(one == other)


@given(plain | rich)
def test_what_python_can_say_comes_back_as_it_was(value: Any) -> None:
    text = TAGGED.serialize(value, CONTEXT)

    assert identical(TAGGED.deserialize(text, CONTEXT), value)


@given(plain)
def test_what_json_can_say_is_written_as_json(value: Any) -> None:
    text = JsonSerdes().serialize(value, CONTEXT)

    assert identical(json.loads(text), value)
    if not (isinstance(value, dict) and value.keys() == {"t", "v"}):
        assert TAGGED.serialize(value, CONTEXT) == text


@given(hostile)
def test_a_value_is_refused_or_comes_back_as_it_was(value: Any) -> None:
    try:
        text = TAGGED.serialize(value, CONTEXT)
    except SerdesError:
        return

    assert identical(TAGGED.deserialize(text, CONTEXT), value)


@given(any_text)
def test_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    for annotation in (Any, int, Order, list[int], Cat | Dog, BatchResult):
        with suppress(SerdesError):
            typed_serdes(annotation).deserialize(text, CONTEXT)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """JSON text as others might write it: blanks, escapes, and now and then a key twice."""
    keys = st.sampled_from(["a", "b", ":", '"', "\\", "{"])
    tree = st.recursive(
        st.integers() | st.sampled_from([":", "a:b", '":', "\\", "{", "é"]),
        lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(keys, inner), max_size=3),
        max_leaves=8,
    )
    escape = draw(st.booleans())
    blank = draw(st.sampled_from(["", " ", "\n\t"]))

    def said(value: Any) -> str:
        if isinstance(value, str):
            text = json.dumps(value, ensure_ascii=escape)
            return text.replace(":", "\\u003a") if draw(st.booleans()) else text
        if not isinstance(value, list):
            return str(value)
        if value and all(isinstance(item, tuple) for item in value):
            members = (f"{said(key)}{blank}:{blank}{said(item)}" for key, item in value)
            return "{" + f"{blank},".join(members) + "}"
        return "[" + f",{blank}".join(map(said, value)) + "]"

    return said(draw(tree))


@given(documents())
def test_a_key_that_occurs_twice_is_always_noticed_and_nothing_else_is_taken_for_it(
    text: str,
) -> None:
    doubled: list[str] = []

    def note_doubled(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            doubled.append("")
        return dict(pairs)

    expected = json.loads(text, object_pairs_hook=note_doubled)

    if doubled:
        with pytest.raises(SerdesError, match="twice"):
            JsonSerdes().deserialize(text, CONTEXT)
    else:
        assert JsonSerdes().deserialize(text, CONTEXT) == expected


orders = st.builds(
    Order,
    storable_text,
    st.decimals(allow_nan=False),
    st.datetimes(timezones=st.none() | offsets),
    st.sets(storable_text),
    st.none() | storable_text,
)
dogs = st.recursive(
    st.builds(Cat, st.integers()),
    lambda inner: st.builds(Dog, storable_text, st.none() | inner),
    max_leaves=5,
)
typed = st.one_of(
    st.tuples(st.just(str), storable_text),
    st.tuples(st.just(int), st.integers()),
    st.tuples(st.just(float), finite),
    st.tuples(st.just(bytes), st.binary()),
    st.tuples(st.just(list[int | None]), st.lists(st.none() | st.integers())),
    st.tuples(st.just(dict[str, float]), st.dictionaries(storable_text, finite)),
    st.tuples(st.just(dict[int, bytes]), st.dictionaries(st.integers(), st.binary())),
    st.tuples(st.just(tuple[int, str]), st.tuples(st.integers(), storable_text)),
    st.tuples(st.just(frozenset[str]), st.frozensets(storable_text)),
    st.tuples(st.just(Colour), st.sampled_from(Colour)),
    st.tuples(st.just(Point), st.builds(Point, st.integers(), st.integers())),
    st.tuples(st.just(Parcel), st.builds(Parcel, storable_text, finite)),
    st.tuples(st.just(list[Order]), st.lists(orders, max_size=3)),
    st.tuples(st.just(Cat | Dog), dogs),
    st.tuples(st.just(BatchResult[Any]), batches),
)


@given(typed)
def test_a_typed_value_comes_back_as_it_was(pair: tuple[Any, Any]) -> None:
    annotation, value = pair
    serdes = typed_serdes(annotation)

    assert identical(serdes.deserialize(serdes.serialize(value, CONTEXT), CONTEXT), value)


@given(typed, hostile)
def test_a_value_that_does_not_fit_its_type_is_refused_or_comes_back_as_it_was(
    pair: tuple[Any, Any], value: Any
) -> None:
    serdes = typed_serdes(pair[0])
    try:
        text = serdes.serialize(value, CONTEXT)
    except SerdesError:
        return

    back = serdes.deserialize(text, CONTEXT)
    assert back == value  # a whole number may stand for a float
    assert isinstance(value, int | dict) or identical(back, value)


@given(any_text, st.none() | any_text)
def test_every_error_can_be_recorded(message: str, data: str | None) -> None:
    record = error_object(ValueError(message), data)

    assert decode_wire(encode_api(record), ErrorObject) == record
    assert len((record.error_message or "").encode()) <= MAX_MESSAGE_BYTES


maybe_text = st.none() | storable_text


@given(
    st.builds(
        ErrorObject,
        error_type=maybe_text,
        error_message=maybe_text,
        error_data=maybe_text,
        stack_trace=st.none() | st.lists(storable_text).map(tuple),
    ),
    storable_text,
)
def test_first_run_and_replay_raise_equal_errors(error: ErrorObject, operation: str) -> None:
    first = StepError.from_wire(operation, error)
    replay = StepError.from_wire(operation, decode_wire(encode_api(error), ErrorObject))

    assert first == replay
    assert first.__cause__ == replay.__cause__


SECRET = "do-not-show-me"


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c.d"]), plain),
    st.sampled_from(PreviewMode),
    st.integers(2, 200),
)
def test_a_preview_is_short_and_shows_nothing_that_is_masked_or_excluded(
    value: dict[str, Any], mode: PreviewMode, limit: int
) -> None:
    secret = {"password": SECRET, "deeper": [{"token": [SECRET]}], "a": value}
    config = PreviewConfig(
        mode=mode,
        include=(PreviewField("a"), PreviewField("deeper")),
        exclude=(PreviewField("token"),),
        mask=(PreviewField("password"),),
        max_preview_bytes=limit,
    )

    for shown in (build_preview({"x": [secret]}, config), build_preview(secret, config)):
        text = msgspec.json.encode(shown)
        assert SECRET.encode() not in text
        assert shown is None or len(text) <= limit
