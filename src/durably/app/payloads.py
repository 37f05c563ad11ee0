"""What goes into an execution and what comes out of it, as values and as JSON text."""

from __future__ import annotations

from typing import Any

from durably.checks import shown
from durably.errors import SerdesError, ValidationError
from durably.handler import DurableFunction
from durably.limits import as_text
from durably.serdes import JsonSerdes, Serdes, SerdesContext, json_serdes, storable
from durably.serdes_json import read_json

_NOBODY = SerdesContext("", "")
_EMPTY = "{}"


def encode_input(function: DurableFunction, value: object) -> str:
    """Write *value* as what *function* is started with.

    A value of the annotated type fits, and so does plain JSON that can be read as one.

    Raises:
        ValidationError: it does not fit; the text says where.
    """
    serdes = _input_serdes(function)
    try:
        return serdes.serialize(value, _NOBODY)
    except SerdesError as error:
        misfit = error
    try:
        text = JsonSerdes().serialize(value, _NOBODY)
        serdes.deserialize(text, _NOBODY)
    except SerdesError:
        raise ValidationError("input", f"of {function.name}: {misfit}") from misfit
    return text


def check_input(function: DurableFunction, text: str | None) -> None:
    """Refuse JSON *text* that *function* could not read; no text is an empty object.

    Raises:
        ValidationError: it cannot; the text says where.
    """
    try:
        if text is not None:
            read_json(text)
        _input_serdes(function).deserialize(_EMPTY if text is None else text, _NOBODY)
    except SerdesError as error:
        raise ValidationError("input", f"of {function.name}: {error}") from error


def decode_result(function: DurableFunction | None, text: str | None) -> Any:
    """Read the result of *function*; of an unknown one as plain JSON.

    Raises:
        SerdesError: it is not what the function says that it returns.
    """
    if text is None:
        return None
    annotation = Any if function is None else function.result_type
    return json_serdes(annotation).deserialize(text, _NOBODY)


def as_callback_id(callback_id: object) -> str:
    """Read the id of a callback.

    Raises:
        ValidationError: it can be none.
    """
    if not isinstance(callback_id, str) or not callback_id:
        said = f"must be the id that the function was given, not {shown(callback_id)}"
        raise ValidationError("callback_id", said)
    return as_text(callback_id, "callback_id")


def callback_payload(payload: object) -> str | None:
    """Give what an outside system answers as it is sent: text as it is, anything else as JSON.

    Raises:
        ValidationError: it can be neither.
    """
    if payload is None:
        return None
    try:
        if isinstance(payload, bytes):
            return payload.decode()
        if isinstance(payload, str):
            return storable(payload)
        return JsonSerdes().serialize(payload, _NOBODY)
    except (SerdesError, UnicodeDecodeError) as error:
        raise ValidationError("payload", str(error)) from error


def _input_serdes(function: DurableFunction) -> Serdes[Any]:
    return json_serdes(function.input_type)
