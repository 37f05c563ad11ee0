"""Refusals, in the shape of the service."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping

from starlette.responses import Response

from durably.errors import (
    ApiError,
    ResourceConflictException,
    ServiceException,
    StoreError,
    TooManyRequestsException,
)
from durably.seams import IdSource

log = logging.getLogger("durably.server")

JSON = "application/json"

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ONLY_TLS = {"Strict-Transport-Security": f"max-age={365 * 24 * 60 * 60}"}

_SERVER_ERROR = 500
_CAPITALISED = frozenset(
    {
        "CallbackTimeoutException",
        "DurableExecutionAlreadyStartedException",
        "ResourceNotFoundException",
        "ServiceException",
    }
)
"""The errors whose text the service's model calls `Message`, and not `message`."""

_RETRY_AFTER_SECONDS = "1"


def unknown_operation(status: int = 404) -> ApiError:
    """Refuse a path or a method that is no operation. What was asked for is not repeated (S07)."""
    text = (
        "There is no such operation: there are those of durable executions, Invoke, and those that"
        " list and describe functions."
    )
    return ApiError(status, "UnknownOperationException", text)


def too_large(max_bytes: int) -> ApiError:
    """Refuse a body that is too long."""
    text = f"The request must be smaller than {max_bytes} bytes."
    return ApiError(413, "RequestTooLargeException", text)


def head_too_large() -> ApiError:
    """Refuse a head that is too long."""
    text = "The request has too many headers, or too long ones."
    return ApiError(431, "RequestHeaderSectionTooLargeException", text)


def wrong_media(text: str) -> ApiError:
    """Refuse a body of a wrong kind."""
    return ApiError(415, "UnsupportedMediaTypeException", text)


def denied(code: str, text: str) -> ApiError:
    """Refuse a caller."""
    return ApiError(403, code, text)


def not_begun() -> ApiError:
    """Refuse what a server that ends begins no more. A client may ask again by itself."""
    return ServiceException("The server ends, and has started nothing. Ask again when it is back.")


def cut_off() -> ApiError:
    """Say that a call may have been made, in a way that no client takes for a reason to repeat."""
    text = "The server ends before there is an answer. The function may have been called, or not."
    return ResourceConflictException(text)


def reply_headers(ids: IdSource, *, is_secure: bool) -> Mapping[str, str]:
    """Give what every reply has; *is_secure*: it goes by TLS."""
    return {
        **_HEADERS,
        **(_ONLY_TLS if is_secure else {}),
        "x-amzn-RequestId": str(ids.uuid4()),
    }


def refusal(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    """Write *error* as a reply: its name in a header and in the body, and its text."""
    is_ours = error.status_code >= _SERVER_ERROR
    body = {
        "__type": error.code,
        "Type": "Service" if is_ours else "User",
        "Message" if error.code in _CAPITALISED else "message": error.message,
    }
    said = {"X-Amzn-ErrorType": error.code, **(headers or {})}
    if isinstance(error, TooManyRequestsException):
        body["Reason"] = "CallerRateLimitExceeded"
        said["Retry-After"] = _RETRY_AFTER_SECONDS
    return Response(json.dumps(body), status_code=error.status_code, headers=said, media_type=JSON)


def api_error_of(error: Exception) -> ApiError:
    """Say as an error of the API what went wrong. Texts that may tell too much are left out."""
    match error:
        case ApiError():
            return error
        case StoreError():
            log.warning("the store failed: %s", type(error).__name__)
            return ServiceException("The store failed.")
        case _:
            _report(error)
            return ServiceException("The service failed.")


def _report(error: Exception) -> None:
    """Log where *error* came from, but not its text, which may hold what nobody must read."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("a request broke: %s\n%s", type(error).__name__, frames)
