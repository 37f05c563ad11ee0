"""The metrics of a server or of a worker, for whoever watches over them."""

from __future__ import annotations

from starlette.responses import Response

from durably.errors import ApiError
from durably.server.calls import Call

_MISSING = "Metrics need `pip install 'durably[metrics]'` where this is served."


async def metrics(call: Call) -> Response:
    """Tell what there is in the store, and what was counted in this process."""
    try:
        from durably.server.metrics import MEDIA, exposition  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as missing:
        raise ApiError(404, "UnknownOperationException", _MISSING) from missing
    return Response(await exposition(call.service), headers={"Content-Type": MEDIA})
