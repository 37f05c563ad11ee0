"""The serdes that are not told a type: tagged, plain JSON, pass-through, batches."""

from __future__ import annotations

import gc
import json
import math
from collections import OrderedDict, UserDict
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from durably.batch_result import (
    BatchCompletionReason,
    BatchItem,
    BatchItemStatus,
    BatchResult,
)
from durably.errors import ChildContextError, SerdesError
from durably.serdes import (
    BatchResultSerdes,
    JsonSerdes,
    PassThroughSerdes,
    SerdesContext,
    json_serdes,
    storable,
    typed_serdes,
)
from durably.serdes_json import read_json, write_json
from tests.unit.serdes_samples import Cat, Colour, Customer, Level, Order, Point

CONTEXT = SerdesContext("1", "arn:x")
AT = datetime(2025, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
TAGGED = typed_serdes()
JSON = JsonSerdes()
ERROR = ChildContextError(
    "boom",
    operation="map-item-1",
    error_type="ValueError",
    data="{}",
    stack_trace=('File "a.py", line 1, in f',),
)
BATCH: BatchResult[Any] = BatchResult(
    (
        BatchItem(0, BatchItemStatus.SUCCEEDED, (1, "a")),
        BatchItem(1, BatchItemStatus.FAILED, error=ERROR),
        BatchItem(2, BatchItemStatus.STARTED),
        BatchItem(3, BatchItemStatus.SUCCEEDED, None),
    ),
    BatchCompletionReason.FAILURE_TOLERANCE_EXCEEDED,
)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def endless() -> list[Any]:
    value: list[Any] = []
    value.append({"again": value})
    return value


HOSTILE = [
    pytest.param(math.nan, "JSON cannot say nan", id="nan"),
    pytest.param({"a": [1, math.inf]}, r"\$\['a'\]\[1\]: JSON cannot say inf", id="inf inside"),
    pytest.param("\ud800", "surrogates", id="lone surrogate"),
    pytest.param({"\udfff": 1}, "surrogates", id="lone surrogate in a key"),
    pytest.param(10**5000, "4300 digits", id="too many digits"),
    pytest.param(endless(), "contains itself", id="cycle"),
    pytest.param(nested(501), "nested too deep", id="501 levels"),
    pytest.param(nested(5000), "nested too deep", id="5000 levels"),
    pytest.param({"a": [object()]}, r"\$\['a'\]\[0\]: ", id="object"),
    pytest.param(Cat, "type", id="class"),
    pytest.param(OrderedDict(a=1), "OrderedDict", id="subclass of dict"),
    pytest.param([UserDict(a=1)], r"\$\[0\]: ", id="mapping"),
    pytest.param(lambda: None, "function", id="function"),
]


class TestTagged:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, "null"),
            (True, "true"),
            (2**70, str(2**70)),
            (-0.0, "-0.0"),
            ("é\U0001f600", '"é\U0001f600"'),
            ([1, [2.5, None]], "[1,[2.5,null]]"),
            ({"a": {"b": []}}, '{"a":{"b":[]}}'),
            ({"t": 1, "v": 2, "x": 3}, '{"t":1,"v":2,"x":3}'),
            ({"t": 1}, '{"t":1}'),
            ({"x": {"t": "s", "v": 1}}, '{"x":{"t":"s","v":1}}'),
            ([{"t": "s", "v": 1}], '[{"t":"s","v":1}]'),
        ],
    )
    def test_what_json_can_say_is_plain_json(self, value: Any, text: str) -> None:
        assert TAGGED.serialize(value, CONTEXT) == text
        assert TAGGED.deserialize(text, CONTEXT) == value

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ({"t": "s", "v": 1}, '{"t":"m","v":{"t":{"t":"s","v":"s"},"v":{"t":"i","v":1}}}'),
            ((1, True), '{"t":"t","v":[{"t":"i","v":1},{"t":"b","v":true}]}'),
            ([(None,)], '{"t":"l","v":[{"t":"t","v":[{"t":"n","v":null}]}]}'),
            ({"a": b"x"}, '{"t":"m","v":{"a":{"t":"B","v":"eA=="}}}'),
            (UUID(int=5), '{"t":"u","v":"00000000-0000-0000-0000-000000000005"}'),
            (Decimal("1.50"), '{"t":"d","v":"1.50"}'),
            (AT, '{"t":"dt","v":"2025-01-02T03:04:05.000006+00:00"}'),
            (date(2025, 1, 2), '{"t":"D","v":"2025-01-02"}'),
            (time(3, 4), '{"t":"time","v":"03:04:00"}'),
            (timedelta(days=-1, microseconds=2), '{"t":"td","v":[-1,0,2]}'),
            ({1}, '{"t":"set","v":[{"t":"i","v":1}]}'),
            (frozenset({1.5}), '{"t":"frozenset","v":[{"t":"f","v":1.5}]}'),
            ({1: "a"}, '{"t":"pairs","v":[[{"t":"i","v":1},{"t":"s","v":"a"}]]}'),
            (
                {(1,): 3},
                '{"t":"pairs","v":[[{"t":"t","v":[{"t":"i","v":1}]},{"t":"i","v":3}]]}',
            ),
        ],
    )
    def test_what_json_would_change_is_tagged_throughout(self, value: Any, text: str) -> None:
        assert TAGGED.serialize(value, CONTEXT) == text
        back = TAGGED.deserialize(text, CONTEXT)
        assert back == value
        assert type(back) is type(value)

    def test_a_batch_is_tagged_too(self) -> None:
        text = TAGGED.serialize([BATCH], CONTEXT)

        assert TAGGED.deserialize(text, CONTEXT) == [BATCH]

    @pytest.mark.parametrize(("value", "said"), HOSTILE)
    def test_what_neither_can_say_is_refused(self, value: Any, said: str) -> None:
        with pytest.raises(SerdesError, match=said):
            TAGGED.serialize(value, CONTEXT)
        with pytest.raises(SerdesError):
            TAGGED.serialize((value,), CONTEXT)

    @pytest.mark.parametrize("value", [Cat(1), Colour.RED, Level.LOW, Point(1), 1j])
    def test_what_needs_an_annotation_says_so(self, value: Any) -> None:
        with pytest.raises(SerdesError, match="Annotate what the function returns"):
            TAGGED.serialize({"a": value}, CONTEXT)

    def test_500_levels_are_not_too_deep(self) -> None:
        value = nested(500)

        assert TAGGED.deserialize(TAGGED.serialize(value, CONTEXT), CONTEXT) == value

    @pytest.mark.parametrize("before", [r"", r"\\", r"\"", r"\\\"", r"\"\\", r"\u005c\\", "é{{"])
    def test_what_stands_in_text_is_no_level(self, before: str) -> None:
        quoted = f'"{before}{"[{" * 400}"'

        assert read_json(f"[{quoted},{{{quoted}:{quoted}}}]")
        with pytest.raises(SerdesError, match="nested too deep"):
            read_json(f"[{quoted},{'[' * 500}{']' * 500},{quoted}]")

    def test_many_shallow_lists_are_not_too_deep(self) -> None:
        value = [["]", "[", '"[', "\\"] for _ in range(1000)]

        assert TAGGED.deserialize(TAGGED.serialize(value, CONTEXT), CONTEXT) == value

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "is not JSON"),
            ("  ", "is not JSON"),
            ("NaN", "is not JSON"),
            ("[1,]", "is not JSON"),
            ("1 2", "is not JSON"),
            ("'a'", "is not JSON"),
            ('"\\ud800"', "is not JSON"),
            ("1e999", "is not JSON"),
            ("1" * 5000, "is not JSON"),
            ("\ufeff1", "is not JSON"),
            ("[" * 600 + "]" * 600, "nested too deep"),
            ("[" * 100_000, "nested too deep"),
            ('{"a":1,"a":2}', "the same key twice"),
            ('{"x":[{"a":":","a":":"}]}', "the same key twice"),
            ('{"a":"\\u003a","a":1}', "the same key twice"),
            ('{"a":1,"\\u0061":2}', "the same key twice"),
            ('{"t":1,"v":2}', "1 is not a tag"),
            ('{"t":[],"v":2}', "is not a tag|malformed"),
            ('{"t":"what","v":2}', "'what' is not a tag"),
            ('{"t":"i","v":"1"}', "malformed"),
            ('{"t":"i","v":true}', "malformed"),
            ('{"t":"b","v":1}', "malformed"),
            ('{"t":"n","v":1}', "malformed"),
            ('{"t":"f","v":"1"}', "malformed"),
            ('{"t":"B","v":"*"}', "malformed"),
            ('{"t":"B","v":5}', "malformed"),
            ('{"t":"u","v":"x"}', "malformed"),
            ('{"t":"u","v":5}', "malformed"),
            ('{"t":"d","v":"x"}', "malformed"),
            ('{"t":"d","v":1.5}', "malformed"),
            ('{"t":"dt","v":"yesterday"}', "malformed"),
            ('{"t":"dt","v":5}', "malformed"),
            ('{"t":"td","v":[1e308]}', "malformed"),
            ('{"t":"l","v":{}}', "malformed"),
            ('{"t":"l","v":[1]}', r"\$\[0\]: a tagged value was expected"),
            ('{"t":"m","v":[]}', "malformed"),
            ('{"t":"m","v":{"a":{"t":"x","v":1}}}', r"\$\['a'\]: 'x' is not a tag"),
            ('{"t":"set","v":[{"t":"l","v":[]}]}', "malformed"),
            ('{"t":"pairs","v":[[{"t":"i","v":1}]]}', "malformed"),
            ('{"t":"br","v":{}}', "malformed"),
            ('{"t":"br","v":{"all":[{}],"completionReason":"ALL_COMPLETED"}}', "malformed"),
        ],
    )
    def test_text_that_is_neither_json_nor_rightly_tagged_is_refused(
        self, text: str, said: str
    ) -> None:
        with pytest.raises(SerdesError, match=said):
            TAGGED.deserialize(text, CONTEXT)

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            (' {"a" : 1 ,\n"b":"x:y" } ', {"a": 1, "b": "x:y"}),
            ('{"a":"\\u003a","b":"\\u003A"}', {"a": ":", "b": ":"}),
            ('{"a\\":":{"b":":"}}', {'a":': {"b": ":"}}),
            ('{"t":"f","v":5}', 5.0),
            ('{"v":1,"t":"i"}', 1),
        ],
    )
    def test_json_that_others_wrote_is_read(self, text: str, value: Any) -> None:
        assert TAGGED.deserialize(text, CONTEXT) == value


class TestJson:
    @pytest.mark.parametrize(
        ("value", "plain"),
        [
            ({"a": [1, None]}, {"a": [1, None]}),
            ((1, (2,)), [1, [2]]),
            ({"at": AT}, {"at": "2025-01-02T03:04:05.000006Z"}),
            ([Decimal("1.50"), UUID(int=1), b"x"], ["1.50", str(UUID(int=1)), "eA=="]),
            ({"c": Colour.RED, "l": Level.HIGH, "p": Point(1)}, {"c": "red", "l": 2, "p": [1, 0]}),
            (Cat(9), {"lives": 9}),
            (Order("x", Decimal(1), AT, {"a"}), None),
            ([Customer(customerId="c", since=AT)], None),
            (BATCH.all[2:3], None),
        ],
    )
    def test_what_others_read_is_plain_json(self, value: Any, plain: Any) -> None:
        said = json.loads(JSON.serialize(value, CONTEXT))

        assert plain is None or said == plain

    @pytest.mark.parametrize(("value", "said"), HOSTILE)
    def test_what_json_cannot_say_is_refused(self, value: Any, said: str) -> None:
        with pytest.raises(SerdesError, match=said):
            JSON.serialize(value, CONTEXT)

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ({1: 2}, r"\$: the key 1 is not text"),
            ({"a": {(1, 2): 3}}, r"\$\['a'\]: the key \(1, 2\) is not text"),
            ({1}, r"\$: JSON cannot say set"),
            ([{"a": frozenset()}], r"\$\[0\]\['a'\]: JSON cannot say frozenset"),
        ],
    )
    def test_sets_and_other_keys_are_never_changed_silently(self, value: Any, said: str) -> None:
        with pytest.raises(SerdesError, match=said):
            JSON.serialize(value, CONTEXT)

    @pytest.mark.parametrize(("text", "value"), [("", None), (" \n", None), ("[1]", [1])])
    def test_blank_text_reads_as_none(self, text: str, value: Any) -> None:
        assert JSON.deserialize(text, CONTEXT) == value

    def test_a_tagged_value_stays_as_it_is(self) -> None:
        assert JSON.deserialize('{"t":"i","v":1}', CONTEXT) == {"t": "i", "v": 1}

    def test_what_crosses_the_border_is_typed_or_plain_json(self) -> None:
        assert json_serdes(Cat).deserialize('{"lives":9}', CONTEXT) == Cat(9)
        assert json_serdes().serialize((1, 2), CONTEXT) == "[1,2]"
        assert json_serdes(tuple[int, int]).deserialize("[1,2]", CONTEXT) == (1, 2)


def test_plain_json_of_a_value_that_contains_itself_is_refused_too() -> None:
    with pytest.raises(SerdesError, match="contains itself"):
        write_json(endless())


class TestPassThrough:
    def test_text_stays_as_it_is(self) -> None:
        serdes = PassThroughSerdes()

        assert serdes.serialize('{"status": "approved"}', CONTEXT) == '{"status": "approved"}'
        assert serdes.deserialize('{"status": "approved"}', CONTEXT) == '{"status": "approved"}'

    def test_other_values_are_written_as_json_and_read_as_text(self) -> None:
        serdes = PassThroughSerdes()

        assert serdes.deserialize(serdes.serialize({"a": 1}, CONTEXT), CONTEXT) == '{"a":1}'

    def test_text_that_cannot_be_stored_is_refused(self) -> None:
        with pytest.raises(SerdesError, match="surrogates"):
            PassThroughSerdes().serialize("\ud800", CONTEXT)


class TestStorable:
    def test_text_that_can_be_stored_is_given_back(self) -> None:
        assert storable("plain") == "plain"
        assert storable("é\U0001f600") == "é\U0001f600"

    @pytest.mark.parametrize(
        ("text", "said"), [("é\ud800", "surrogates"), (b"x", "not bytes"), (None, "not NoneType")]
    )
    def test_anything_else_is_refused(self, text: object, said: str) -> None:
        with pytest.raises(SerdesError, match=said):
            storable(text)


class TestBatch:
    def test_a_batch_comes_back_with_its_errors(self) -> None:
        serdes: BatchResultSerdes[Any] = BatchResultSerdes()

        assert serdes.deserialize(serdes.serialize(BATCH, CONTEXT), CONTEXT) == BATCH

    def test_it_has_the_form_of_the_protocol(self) -> None:
        text = BatchResultSerdes[Any](int).serialize(
            BatchResult(
                (
                    BatchItem(0, BatchItemStatus.SUCCEEDED, 5),
                    BatchItem(1, BatchItemStatus.FAILED, error=ERROR),
                    BatchItem(2, BatchItemStatus.STARTED),
                )
            ),
            CONTEXT,
        )

        assert json.loads(text) == {
            "all": [
                {"index": 0, "status": "SUCCEEDED", "result": 5},
                {
                    "index": 1,
                    "status": "FAILED",
                    "error": {
                        "ErrorType": "ValueError",
                        "ErrorMessage": "boom",
                        "ErrorData": "{}",
                        "StackTrace": ['File "a.py", line 1, in f'],
                    },
                    "name": "map-item-1",
                },
                {"index": 2, "status": "STARTED"},
            ],
            "completionReason": "ALL_COMPLETED",
        }

    @pytest.mark.parametrize("text", ["", " "])
    def test_blank_text_is_the_empty_batch(self, text: str) -> None:
        assert BatchResultSerdes[Any]().deserialize(text, CONTEXT) == BatchResult()

    def test_a_batch_that_another_sdk_wrote_is_read(self) -> None:
        text = '{"all":[{"index":0,"status":"SUCCEEDED"},{"index":1,"status":"FAILED",'
        text += '"error":{"message":"x"}}],"completionReason":"ALL_COMPLETED","more":1}'

        batch = BatchResultSerdes[Any]().deserialize(text, CONTEXT)

        assert batch.results() == [None]
        assert batch.failure_count == 1

    @pytest.mark.parametrize("text", ["1", "{", '{"all":[{}]}', '{"all":[],"completionReason":1}'])
    def test_text_that_is_no_batch_is_refused(self, text: str) -> None:
        with pytest.raises(SerdesError, match="is not a batch result"):
            BatchResultSerdes[Any]().deserialize(text, CONTEXT)

    def test_a_result_that_cannot_be_written_is_named_by_its_item(self) -> None:
        batch = BatchResult((BatchItem(7, BatchItemStatus.SUCCEEDED, "x"),))

        with pytest.raises(SerdesError, match="item 7: does not fit int"):
            BatchResultSerdes[Any](int).serialize(batch, CONTEXT)

    def test_what_is_no_batch_is_refused(self) -> None:
        value: Any = [1]

        with pytest.raises(SerdesError, match="list is not a BatchResult"):
            BatchResultSerdes[Any]().serialize(value, CONTEXT)


def collections_while(read: Callable[[], object]) -> int:
    """Count how often garbage is collected meanwhile."""
    begun: list[str] = []

    def note(phase: str, _: object) -> None:
        begun.append(phase)

    gc.callbacks.append(note)
    try:
        read()
    finally:
        gc.callbacks.remove(note)
    return begun.count("start")


@pytest.mark.parametrize("end", ["[]]", "[}"], ids=["json", "none"])
def test_no_garbage_is_looked_for_while_a_large_text_is_read(end: str) -> None:
    text = "[" + "[]," * 200_000 + end

    def read() -> None:
        with suppress(SerdesError):
            read_json(text)

    assert collections_while(read) < 20
    assert gc.isenabled()


def test_who_wants_no_garbage_collected_has_none_collected() -> None:
    gc.disable()
    try:
        read_json("[" + "[]," * 200_000 + "[]]")
        assert not gc.isenabled()
    finally:
        gc.enable()
