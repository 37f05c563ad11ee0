"""How values become text and text becomes values.

Nothing is changed on the way without saying so: what cannot be written as it is, or read as it was
written, raises `SerdesError` with the place of what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, get_args, get_origin

import msgspec

from durably.batch_result import BatchCompletionReason, BatchItem, BatchItemStatus, BatchResult
from durably.checks import check_serdes, shown
from durably.errors import ChildContextError, SerdesError, ValidationError
from durably.limits import plain
from durably.serdes_json import class_of, is_plain, read_json, too_deep, write_json
from durably.serdes_pieces import PiecewiseSerdes
from durably.serdes_tagged import TaggedSerdes
from durably.serdes_typed import TypedSerdes, is_concrete, name_of
from durably.wire.operation import ErrorObject

T = TypeVar("T")


class SerdesContext(msgspec.Struct, frozen=True):
    """Whose value is being written or read.

    Attributes:
        entity_id: the operation's place in the program, e.g. `2-1`.
        durable_execution_arn: the execution.
    """

    entity_id: str
    durable_execution_arn: str


class Serdes(Protocol[T]):
    """How values become text and text becomes values.

    Raise `SerdesError`, or anything else, for what cannot be done; the operation then fails.
    Raise `RetryableSerdesError` to have the whole invocation tried again.
    """

    def serialize(self, value: T, context: SerdesContext, /) -> str:
        """Write *value*."""
        ...

    def deserialize(self, text: str, context: SerdesContext, /) -> T:
        """Read what `serialize` wrote."""
        ...


ChooseSerdes: TypeAlias = Callable[[Any], Serdes[Any]]
"""Chooses by an annotation how its values are written."""


class JsonSerdes:
    """Plain JSON, for what others read: dates as ISO 8601, dataclasses as objects, tuples as lists.

    Reading gives dicts, lists, text, numbers, booleans and `None`; blank text reads as `None`.
    """

    __slots__ = ()

    def serialize(self, value: object, _context: object, /) -> str:
        """Write *value*.

        Raises:
            SerdesError: JSON cannot say it. The text says where.
        """
        try:
            return write_json(value if is_plain(value) else _plain(value, "$"))
        except RecursionError:
            raise too_deep() from None

    def deserialize(self, text: str, _context: object, /) -> Any:
        """Read *text*.

        Raises:
            SerdesError: it is not JSON, or JSON that says something twice.
        """
        return read_json(text) if text and not text.isspace() else None


class PassThroughSerdes:
    """Text stays as it is; anything else is written as plain JSON, and read as text."""

    __slots__ = ()

    def serialize(self, value: object, _context: object, /) -> str:
        """Write *value*."""
        return storable(value) if isinstance(value, str) else _JSON.serialize(value, _context)

    def deserialize(self, text: str, _context: object, /) -> str:
        """Give *text* back."""
        return text


class BatchResultSerdes(Generic[T]):
    """`{"all": [{"index": …, "status": …, "result": …}, …], "completionReason": …}`.

    Blank text reads as the empty batch. The results are written by *item_annotation*, or by
    *item_serdes*, which must write JSON.
    """

    __slots__ = ("_items",)

    def __init__(self, item_annotation: Any = Any, *, item_serdes: Serdes[T] | None = None) -> None:
        check_serdes(item_serdes, "item_serdes")
        self._items: Serdes[T] = item_serdes or typed_serdes(item_annotation)

    def serialize(self, value: BatchResult[T], context: SerdesContext, /) -> str:
        """Write *value*.

        Raises:
            SerdesError: it is not a batch result, or one of its results cannot be written.
        """
        if type(value) is not BatchResult:
            raise SerdesError(f"{type(value).__qualname__} is not a BatchResult")
        items = tuple(self._write_item(item, context) for item in value.all)
        return write_json(_Batch(all=items, completion_reason=value.completion_reason))

    def deserialize(self, text: str, context: SerdesContext, /) -> BatchResult[T]:
        """Read what `serialize` wrote.

        Raises:
            SerdesError: *text* is not a batch result.
        """
        if not text or text.isspace():
            return BatchResult()
        try:
            batch = _decode_batch(text)
        except (ValueError, RecursionError) as error:
            raise SerdesError(f"is not a batch result: {error}") from error
        items = tuple(self._read_item(item, context) for item in batch.all)
        return BatchResult(items, batch.completion_reason)

    def _write_item(self, item: BatchItem[T], context: SerdesContext) -> _Item:
        value: Any = item.result
        result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
        if item.status is BatchItemStatus.SUCCEEDED:
            try:
                result = msgspec.Raw(self._items.serialize(value, context).encode())
            except SerdesError as error:
                raise SerdesError(f"item {item.index}: {error}") from error
        return _Item(
            index=item.index,
            status=item.status,
            result=result,
            error=None if item.error is None else item.error.recorded,
            name=None if item.error is None else item.error.operation,
        )

    def _read_item(self, item: _Item, context: SerdesContext) -> BatchItem[T]:
        result: Any = None
        if item.result is not msgspec.UNSET:
            result = self._items.deserialize(bytes(item.result).decode(), context)
        error = None
        if item.error is not None:
            error = ChildContextError.from_wire(item.name, item.error)
        return BatchItem(item.index, item.status, result, error)


class _Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item in JSON; `name` is that of the operation that failed."""

    index: int
    status: BatchItemStatus
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: ErrorObject | None = None
    name: str | None = None


class _Batch(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    all: tuple[_Item, ...]
    completion_reason: BatchCompletionReason


_decode_batch = msgspec.json.Decoder(_Batch).decode
_VALUES = (int, float, str, bytes, list, tuple, dict, set)
_JSON = JsonSerdes()
_TAGGED = TaggedSerdes()


def storable(text: object, maker: str = "a serdes") -> str:
    """Give *text*, the work of *maker*, as plain text if it can be stored at all.

    Raises:
        SerdesError: it is not text, or contains lone surrogates, which no encoding takes.
    """
    if not isinstance(text, str):
        raise SerdesError(f"{maker} must give text, not {type(text).__qualname__}")
    found = plain(text)
    if not found.isascii():
        try:
            found.encode()
        except UnicodeEncodeError as error:
            raise SerdesError(f"text cannot be stored: {error}") from None
    return found


def typed_serdes(annotation: Any = Any) -> Serdes[Any]:
    """Choose how a step's, child's or condition's value is written, by its annotation.

    With a concrete annotation the text is plain JSON, read back by the annotation. Without one
    (`Any`, `object`, a bare container, an abstract class) it is JSON where that says all, else the
    tagged form.

    Raises:
        ValidationError: *annotation* is concrete, but no JSON can be read by it.
    """
    return _chosen(annotation, _TAGGED)


def json_serdes(annotation: Any = Any) -> Serdes[Any]:
    """Choose how what crosses the border is written: the input and the result of an execution.

    As `typed_serdes`, but never the tagged form.

    Raises:
        ValidationError: *annotation* is no type, or is concrete, but no JSON can be read by it.
    """
    if issubclass(class_of(annotation), _VALUES):
        said = f"must be a type, such as int or list[Order], not {shown(annotation)}"
        raise ValidationError("annotation", said)
    return _chosen(annotation, _JSON)


def _chosen(annotation: Any, otherwise: Any) -> Serdes[Any]:
    try:
        return _typed(annotation, otherwise)
    except TypeError:  # an annotation that cannot be hashed is not cached
        return _typed.__wrapped__(annotation, otherwise)


@lru_cache(maxsize=1024)
def _typed(annotation: Any, otherwise: Any) -> Serdes[Any]:
    if annotation is BatchResult or get_origin(annotation) is BatchResult:
        items = _chosen(next(iter(get_args(annotation)), Any), otherwise)
        batches: BatchResultSerdes[Any] = BatchResultSerdes(item_serdes=items)
        return batches
    if not is_concrete(annotation):
        serdes: Serdes[Any] = otherwise
        return serdes
    try:
        return TypedSerdes(annotation)
    except NameError as error:
        raise ValidationError("annotation", f"{name_of(annotation)}: {error}") from error
    except TypeError:
        return PiecewiseSerdes(annotation)


def _plain(value: Any, path: str) -> Any:
    """Give *value* in a form that msgspec writes as JSON which others can read.

    Raises:
        SerdesError: there is none.
    """
    if is_plain(value):
        return value
    cls = class_of(value)
    if cls is list or cls is tuple:
        return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if cls is dict:
        return {_key(key, path): _plain(item, f"{path}[{key!r}]") for key, item in value.items()}
    if cls is not float and (cls is BatchResult or is_concrete(cls)):
        return msgspec.Raw(json_serdes(cls).serialize(value, _NOBODY).encode())
    said = str(value) if cls is float else cls.__qualname__
    raise SerdesError(f"{path}: JSON cannot say {said}")


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise SerdesError(f"{path}: the key {key!r} is not text, and JSON knows no other")
    return key


_NOBODY = SerdesContext("", "")
