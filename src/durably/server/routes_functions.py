"""Functions: which there are, and what is known of them. Nothing here changes one."""

from __future__ import annotations

from starlette.responses import Response

from durably.engine.arns import LATEST
from durably.errors import ResourceNotFoundException
from durably.server.calls import Call, refuse, reply
from durably.server.functions import FunctionInfo
from durably.server.routes_executions import qualified
from durably.wire.operators import (
    DurableConfig,
    FunctionConfiguration,
    GetFunctionResponse,
    ListFunctionsResponse,
)

_PAGE = 50
_MAX_ITEMS = 9999
_MAX_NAMED = 10


async def list_functions(call: Call) -> Response:
    """List all functions, by name."""
    if call.query.text("FunctionVersion") not in (None, "ALL"):
        raise refuse("FunctionVersion", "must be ALL")
    limit = min(call.query.count(maximum=_MAX_ITEMS) or _PAGE, _PAGE)
    after = call.query.marker() or ""
    known = call.functions.known()
    if after and after not in {info.name for info in known}:
        raise refuse("Marker", "is not one that this listing has given")
    left = [info for info in known if info.name > after]
    page = tuple(_configuration(call, info, None) for info in left[:limit])
    marker = page[-1].function_name if len(left) > limit else None
    return reply(ListFunctionsResponse(functions=page, next_marker=marker))


async def get_function(call: Call) -> Response:
    """Describe a function."""
    return reply(GetFunctionResponse(configuration=_found(call)))


async def get_configuration(call: Call) -> Response:
    """Describe a function, without what is around it."""
    return reply(_found(call))


def _found(call: Call) -> FunctionConfiguration:
    name, qualifier = qualified(call)
    return _configuration(call, find_function(call, name, qualifier), qualifier)


def find_function(call: Call, name: str, qualifier: str | None) -> FunctionInfo:
    """Give a function.

    Raises:
        ResourceNotFoundException: there is none.
    """
    info = call.functions.find(name, qualifier)
    if info is None:
        raise ResourceNotFoundException(_missing(call, name, qualifier))
    return info


def _missing(call: Call, name: str, qualifier: str | None) -> str:
    """Say what there is none of, and on one's own machine which functions there are."""
    if call.functions.find(name, None) is not None:
        only = f"there is {LATEST} alone"
        return f"The function {name!r} has no version or alias {qualifier!r}: {only}."
    said = f"There is no function {name!r}"
    if call.caller is not None:  # who may start some may not know of all
        return f"{said}."
    names = [info.name for info in call.functions.known()]
    more = ", …" if len(names) > _MAX_NAMED else ""
    return f"{said}; there is: {', '.join(names[:_MAX_NAMED]) or 'none'}{more}."


def _configuration(call: Call, info: FunctionInfo, qualifier: str | None) -> FunctionConfiguration:
    policy = call.service.policy
    arn = policy.home.function_arn(info.name, qualifier or info.version)
    durable = None
    if info.is_durable:
        durable = DurableConfig(
            execution_timeout=policy.execution_timeout_seconds,
            retention_period_in_days=policy.retention_days,
        )
    return FunctionConfiguration(
        function_name=info.name,
        # As Lambda tells it: without a version when none was asked for.
        function_arn=arn if qualifier is not None else arn.rpartition(":")[0],
        version=info.version,
        state="Active",
        last_update_status="Successful",
        runtime=info.runtime,
        handler=info.handler,
        description=info.description,
        timeout=info.timeout_seconds,
        memory_size=info.memory_mb,
        durable_config=durable,
    )
