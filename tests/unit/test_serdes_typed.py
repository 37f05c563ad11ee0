"""Values with an annotation: plain JSON, read back by the annotation."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Optional, TypeVar
from uuid import UUID

import msgspec
import pytest

from durably.batch_result import BatchItem, BatchItemStatus, BatchResult
from durably.errors import ChildContextError, SerdesError, ValidationError
from durably.serdes import SerdesContext, json_serdes, typed_serdes
from tests.unit.serdes_samples import (
    Address,
    Box,
    Cached,
    Cat,
    Colour,
    Customer,
    Dog,
    Doubling,
    Growing,
    Holder,
    Kennel,
    Level,
    Loose,
    Mood,
    Order,
    OrderId,
    Parcel,
    Plain,
    Point,
    Ratio,
    Right,
    Shy,
    TaggedLeft,
    TaggedRight,
)

CONTEXT = SerdesContext("1", "arn:x")
AT = datetime(2025, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
ORDER = Order("order-7", Decimal("1.50"), AT, {"a"})
NAN = float("nan")


def written(annotation: Any, value: Any) -> str:
    return typed_serdes(annotation).serialize(value, CONTEXT)


def read(annotation: Any, text: str) -> Any:
    return typed_serdes(annotation).deserialize(text, CONTEXT)


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (str, "é\n", '"é\\n"'),
        (int, 2**70, str(2**70)),
        (float, 1.5, "1.5"),
        (float, -0.0, "-0.0"),
        (bool, True, "true"),
        (None, None, "null"),
        (bytes, b"\xff\x00", '"/wA="'),
        (bytearray, bytearray(b"x"), '"eA=="'),
        (datetime, AT, '"2025-01-02T03:04:05.000006Z"'),
        (datetime, AT.replace(tzinfo=None), '"2025-01-02T03:04:05.000006"'),
        (date, date(2025, 1, 2), '"2025-01-02"'),
        (time, time(3, 4, 5, 6), '"03:04:05.000006"'),
        (timedelta, timedelta(days=-3, microseconds=1), '"-P2DT86399.999999S"'),
        (Decimal, Decimal("1.50"), '"1.50"'),
        (Decimal, Decimal("sNaN"), '"sNaN"'),
        (UUID, UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
        (Colour, Colour.RED, '"red"'),
        (Level, Level.HIGH, "2"),
        (Mood, Mood.GOOD, '"good"'),
        (Right, Right.READ | Right.WRITE, "3"),
        (tuple[int, str], (1, "a"), '[1,"a"]'),
        (tuple[int, ...], (1, 2, 3), "[1,2,3]"),
        (set[int], {7}, "[7]"),
        (frozenset[str], frozenset({"a"}), '["a"]'),
        (list[date], [date(2025, 1, 2)], '["2025-01-02"]'),
        (dict[str, set[int]], {"a": {1}}, '{"a":[1]}'),
        (dict[int, str], {1: "a"}, '{"1":"a"}'),
        (dict[date, int], {date(2025, 1, 2): 1}, '{"2025-01-02":1}'),
        (Optional[int], None, "null"),  # noqa: UP045 - users write it
        (int | None, 3, "3"),
        (Literal["a", "b"], "a", '"a"'),
        (OrderId, OrderId("x"), '"x"'),
        (Annotated[int, msgspec.Meta(ge=0)], 3, "3"),
        (Annotated[int, ["a note that cannot be hashed"]], 3, "3"),
        (Address, {"street": "s"}, '{"street":"s"}'),
        (Point, Point(1, 2), "[1,2]"),
        (Order | None, None, "null"),
        (Parcel, Parcel("p"), '{"parcelId":"p","weight":1.0}'),
        (Box[int], Box(5), '{"content":5}'),
        (TaggedLeft | TaggedRight, TaggedRight(1), '{"type":"TaggedRight","x":1}'),
        (set[float], {1, 2.5}, "[1,2.5]"),
    ],
)
def test_a_concrete_type_is_written_as_plain_json_and_read_back(
    annotation: Any, value: Any, text: str
) -> None:
    assert written(annotation, value) == text
    back = read(annotation, text)
    assert str(back) == str(value) or back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Order, ORDER),
        (list[Order], [ORDER]),
        (dict[str, Order], {"a": ORDER}),
        (Customer, Customer(customerId="c", since=AT)),
        (list[Customer], [Customer(customerId="c", since=AT)]),
        (Box[Customer], Box(Customer(customerId="c", since=AT))),
        (Customer | None, Customer(customerId="c", since=AT)),
    ],
)
def test_dataclasses_and_models_come_back_as_what_they_were(annotation: Any, value: Any) -> None:
    assert read(annotation, written(annotation, value)) == value


def test_a_dataclass_is_an_object_that_anybody_can_read() -> None:
    assert json.loads(written(Order, ORDER)) == {
        "id": "order-7",
        "amount": "1.50",
        "at": "2025-01-02T03:04:05.000006Z",
        "tags": ["a"],
        "note": None,
    }


def test_plain_json_of_another_sdk_is_read_by_the_annotation() -> None:
    text = '{ "id": "x", "amount": 3, "at": "2025-01-02T00:00:00+02:00", "new": {} }'

    order = read(Order, text)

    assert order.amount == Decimal(3)
    assert order.at.utcoffset() == timedelta(hours=2)


def test_a_whole_number_may_stand_for_a_float() -> None:
    assert written(float, 3) == "3"
    assert read(float, "3") == 3.0


def test_a_time_zone_is_kept_as_its_offset() -> None:
    at = datetime(2025, 7, 1, 12, tzinfo=timezone(timedelta(hours=2), "CEST"))

    back = read(datetime, written(datetime, at))

    assert back == at
    assert back.utcoffset() == at.utcoffset()


def test_a_member_that_does_not_count_when_compared_need_not_survive() -> None:
    assert read(Cached, written(Cached, Cached(1, [2]))) == Cached(1)


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        (int, "1", "does not fit int"),
        (int, True, "does not fit int"),
        (int, 1.0, "does not fit int"),
        (str, b"x", "as str, \\$: bytes would come back as str"),
        (str, Colour.RED, "as str, \\$: Colour would come back as str"),
        (str, date(2025, 1, 2), "date would come back as str"),
        (str, "\ud800", "surrogates"),
        pytest.param(int, 10**5000, "does not fit int", id="too many digits"),
        (float, NAN, "does not fit float"),
        (float, 2**60 + 1, "int would come back as float"),
        (float | None, NAN, "float would come back as NoneType"),
        (list[int], (1,), "tuple would come back as list"),
        (list[int], {1}, "set would come back as list"),
        (tuple[int, ...], [1], "list would come back as tuple"),
        (set[int], frozenset({1}), "frozenset would come back as set"),
        (dict[str, int], {1: 2}, "the key 1 would come back as '1'"),
        (dict[int, int], {True: 2}, "does not fit"),
        (dict[str, int], OrderedDict(a=1), "OrderedDict would come back as dict"),
        (dict[str, int], {1: 2, "1": 3}, "two of its keys are the same in JSON"),
        (Order, {"id": "x"}, "does not fit Order"),
        (Order, Parcel("p"), "does not fit Order"),
        (Cat, Dog("d"), "does not fit Cat"),
        (Cat, Plain(), "Plain cannot be recorded"),
        (Order, Order("x", Decimal(1), AT, {1}), "does not fit Order"),  # type: ignore[arg-type]
        (datetime, AT.replace(tzinfo=timezone(timedelta(seconds=1050))), "come back changed"),
        (Shy, Shy(name="n", secret="s"), "as Shy, \\$.secret: would come back changed"),
        (Growing, Growing([1]), r"as Growing, \$\.numbers: would come back changed"),
        (Box[Any], Box({1}), "content: set would come back as list"),
        (Box[int], Box(Plain()), "Plain cannot be recorded"),
    ],
)
def test_a_value_that_its_annotation_would_change_is_refused(
    annotation: Any, value: Any, said: str
) -> None:
    with pytest.raises(SerdesError, match=said):
        written(annotation, value)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": {1}}, r"\$\.anything\['a'\]: set would come back as list"),
        ({"a": [1, {"b": (1,)}]}, r"\$\.anything\['a'\]\[1\]\['b'\]: tuple would come back"),
        ({"a": date(2025, 1, 2)}, r"\$\.anything\['a'\]: date would come back as str"),
        ({"a": NAN}, r"\$\.anything\['a'\]: float would come back as NoneType"),
        ({1: 2}, r"\$\.anything: the key 1 would come back as '1'"),
        (Cat(1), r"\$\.anything: Cat would come back as dict"),
        (b"x", r"\$\.anything: bytes would come back as str"),
    ],
)
def test_a_member_without_a_type_must_be_plain_and_the_place_is_named(
    value: Any, said: str
) -> None:
    assert read(Loose, written(Loose, Loose({"a": [1, 2.5, None, "x", True]}))) == Loose(
        {"a": [1, 2.5, None, "x", True]}
    )
    with pytest.raises(SerdesError, match=said):
        written(Loose, Loose(value))


@pytest.mark.parametrize(
    ("annotation", "text", "said"),
    [
        (int, "", "is not JSON"),
        (int, '"1"', "is not int"),
        (Order, '{"id":"x"}', r"Order: Object missing required field `amount`"),
        (Order, "{", "is not JSON"),
        (Customer, '{"customerId":5}', "is not Customer"),
        (dict[str, int], '{"a":1,"a":2}', "the same key twice"),
        (Address, '{"street":"a:b","street":"a:b"}', "the same key twice"),
        (list[list[int]], "[" * 600 + "]" * 600, "nested too deep|is not"),
        (Loose, '{"anything":' + "[" * 600 + "]" * 600 + "}", "nested too deep"),
        (Loose, '{"anything":' + "[" * 100_000, "nested too deep"),
        (str, '"\\ud800"', "is not JSON"),
        (Box[Plain], '{"content":{}}', "Plain.* cannot be read"),
        (int, '{"t":"x","v":1}', "'x' is not a tag"),
        (int, '{"t":"s","v":"1"}', "is not int"),
    ],
)
def test_text_that_is_not_of_the_type_is_refused(annotation: Any, text: str, said: str) -> None:
    with pytest.raises(SerdesError, match=said):
        read(annotation, text)


def test_what_was_written_before_there_was_an_annotation_can_still_be_read() -> None:
    old = typed_serdes(Any).serialize((1, AT), CONTEXT)

    assert read(tuple[int, datetime], old) == (1, AT)


def test_a_value_nested_too_deep_is_refused_when_it_is_written() -> None:
    deep: list[Any] = []
    for _ in range(600):
        deep = [deep]
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(SerdesError, match="nested too deep"):
        written(Loose, Loose(deep))
    with pytest.raises(SerdesError, match="nested too deep"):
        written(Loose, Loose(endless))


@pytest.mark.parametrize(
    "annotation",
    [
        Any,
        object,
        list,
        dict,
        tuple,
        set,
        list[Any],
        dict[str, Any],
        Optional[dict],  # noqa: UP045 - users write it
        Sequence[int],
        Mapping[str, int],
        TypeVar("T"),
        NoReturn,
        Path,
        Plain,
        "int",
        5,
        [int],
    ],
)
def test_an_annotation_that_leaves_the_type_open_is_no_annotation(annotation: Any) -> None:
    assert read(annotation, written(annotation, (1, {2}))) == (1, {2})


def test_the_serdes_of_an_annotation_is_made_once() -> None:
    assert typed_serdes(list[Order]) is typed_serdes(list[Order])
    assert typed_serdes(Any) is typed_serdes()


class TestPieces:
    """Annotations that msgspec cannot read as a whole."""

    @pytest.mark.parametrize(
        ("annotation", "value", "text"),
        [
            (Cat | Dog, Cat(9), '{"t":"Cat","v":{"lives":9}}'),
            (Cat | Dog | None, None, '{"t":"NoneType","v":null}'),
            (datetime | str, "x", '{"t":"str","v":"x"}'),
            (datetime | str, AT, '{"t":"datetime","v":"2025-01-02T03:04:05.000006Z"}'),
            (list[int] | set[int], {1}, '{"t":"set[int]","v":[1]}'),
            (list[Cat | Dog], [Cat(1)], '[{"t":"Cat","v":{"lives":1}}]'),
            (Ratio, Ratio.HALF, '"HALF"'),
            (dict[str, Ratio], {"a": Ratio.WHOLE}, '{"a":"WHOLE"}'),
        ],
    )
    def test_the_member_of_a_union_is_named(self, annotation: Any, value: Any, text: str) -> None:
        assert written(annotation, value) == text
        assert read(annotation, text) == value

    @pytest.mark.parametrize(
        "value",
        [
            Dog("a", Dog("b", Cat(3))),
            Kennel(
                animals=[Cat(1), Dog("d")],
                by_name={"d": Dog("d")},
                pair=(Cat(1), 2),
                many=(Cat(1), Dog("x")),
                unordered=frozenset({Cat(1), Dog("x")}),
            ),
        ],
    )
    def test_a_dataclass_may_have_such_members_and_even_itself(self, value: Any) -> None:
        assert read(type(value), written(type(value), value)) == value

    @pytest.mark.parametrize(
        ("annotation", "value", "said"),
        [
            (Cat | Dog, Parcel("p"), "Parcel is none of Cat, Dog"),
            (Cat | Dog, Cat("nine"), "Cat is none of"),  # type: ignore[arg-type]
            (list[Cat | Dog], (Cat(1),), "list was expected, not tuple"),
            (dict[str, Cat | Dog], {1: Cat(1)}, "str was expected, not int"),
            (tuple[Cat | Dog, int], (Cat(1),), "does not fit"),
            (Ratio, "HALF", "Ratio was expected, not str"),
            (Kennel, Cat(1), "Kennel was expected, not Cat"),
        ],
    )
    def test_a_value_that_fits_no_part_is_refused(
        self, annotation: Any, value: Any, said: str
    ) -> None:
        with pytest.raises(SerdesError, match=said):
            written(annotation, value)

    def test_a_chain_that_is_too_long_is_refused(self) -> None:
        chain: Cat | Dog = Cat(1)
        for _ in range(1000):
            chain = Dog("d", chain)

        with pytest.raises(SerdesError, match="nested too deep"):
            written(Cat | Dog, chain)

    def test_a_chain_that_is_too_long_for_the_stack_is_refused(self) -> None:
        text = '{"t":"Cat","v":{"lives":1}}'
        for _ in range(200):
            text = '{"t":"Dog","v":{"name":"d","friend":' + text + "}}"

        def read_below(frames: int) -> Any:
            return read_below(frames - 1) if frames else read(Cat | Dog, text)

        assert isinstance(read_below(0), Dog)
        with pytest.raises(SerdesError, match="nested too deep"):
            read_below(800)

    def test_a_dataclass_that_changes_its_members_is_refused(self) -> None:
        with pytest.raises(SerdesError, match=r"as Doubling, \$\.number: would come back changed"):
            written(Doubling, Doubling(Cat(1), 2))

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{}",
            "1",
            '{"t":"Bird","v":{}}',
            '{"t":["Cat"],"v":{}}',
            '{"t":"Cat","v":{}}',
            '{"t":"Dog","v":{"name":"x"}}',
            '{"t":"Dog","v":5}',
        ],
    )
    def test_text_that_names_no_part_is_refused(self, text: str) -> None:
        with pytest.raises(SerdesError):
            read(Cat | Dog, text)

    def test_what_neither_msgspec_nor_its_parts_can_do_is_refused_when_it_is_asked_for(
        self,
    ) -> None:
        with pytest.raises(ValidationError, match="annotation: cannot be recorded"):
            typed_serdes(dict[int, Cat | Dog])

    def test_an_annotation_that_names_nothing_is_refused_when_it_is_asked_for(self) -> None:
        lost = type("Lost", (msgspec.Struct,), {"__annotations__": {"x": "Nowhere"}})

        with pytest.raises(ValidationError, match="Nowhere"):
            typed_serdes(lost)
        with pytest.raises(ValidationError, match="Nowhere"):
            typed_serdes(lost | Cat | Dog)


class TestBatches:
    def test_a_batch_with_typed_results_comes_back(self) -> None:
        batch = BatchResult((BatchItem(0, BatchItemStatus.SUCCEEDED, ORDER),))

        assert read(BatchResult[Order], written(BatchResult[Order], batch)) == batch

    def test_a_batch_inside_a_dataclass_comes_back(self) -> None:
        error = ChildContextError("boom", operation="map-item-0", error_type="ValueError")
        holder = Holder(BatchResult((BatchItem(0, BatchItemStatus.FAILED, error=error),)))

        assert read(Holder, written(Holder, holder)) == holder

    def test_what_crosses_the_border_is_never_tagged(self) -> None:
        batch = BatchResult((BatchItem(0, BatchItemStatus.SUCCEEDED, (1, 2)),))

        text = json_serdes(BatchResult).serialize(batch, CONTEXT)

        assert json.loads(text)["all"] == [{"index": 0, "status": "SUCCEEDED", "result": [1, 2]}]
