"""Executions, as people name them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from durably.checks import shown
from durably.errors import ResourceNotFoundException, ValidationError
from durably.limits import as_sought, plain
from durably.words import did_you_mean

if TYPE_CHECKING:
    from durably.engine.store import Store


_MAX_LOOKED_AT = 100
_is_name = re.compile(r"[a-zA-Z0-9_-]{1,64}").fullmatch


def as_execution_name(name: object) -> str | None:
    """Read what an execution is to be called; with `None` it gets a name of its own.

    Raises:
        ValidationError: it cannot be called that.
    """
    if name is None:
        return None
    if isinstance(name, str) and _is_name(name) is not None:
        return plain(name)
    said = f"must be 1 to 64 letters, digits, '-' and '_', not {shown(name)}"
    raise ValidationError("name", said)


async def find_arn(store: Store, execution: object) -> str:
    """Give the arn of the execution that is named: by an arn, `NAME`, or `FUNCTION/NAME`.

    Raises:
        ResourceNotFoundException: there is none.
        ValidationError: executions of several functions have that name, or it can be none.
        InvalidParameterValueException: it looks like an arn, and is none.
    """
    from durably.engine.arns import parse_execution_arn  # noqa: PLC0415 - not before it is needed
    from durably.engine.store import Query  # noqa: PLC0415 - as above

    text = as_sought(execution, "execution")
    if text.startswith("arn:"):
        parse_execution_arn(text)
        return text
    function_name, slash, name = text.rpartition("/")
    if slash:
        arn = await store.find_by_name(function_name, name)
        found = [] if arn is None else [arn]
    else:
        page = await store.list(Query(execution_name=name, limit=10))
        found = [listed.arn for listed in page.executions]
        if len(found) > 1:
            names = (f"{one.summary.function_name}/{name}" for one in page.executions)
            said = f"executions of several functions are called {name!r}: "
            raise ValidationError("execution", f"{said}say {' or '.join(names)}")
    if not found:
        hint = did_you_mean(text, await _newest(store, with_function=bool(slash)))
        raise ResourceNotFoundException(f"There is no execution {text!r}.{hint}")
    return found[0]


async def _newest(store: Store, *, with_function: bool) -> list[str]:
    """Give the names of the newest executions, as `find_arn` takes them."""
    from durably.engine.store import Query  # noqa: PLC0415 - not before it is needed

    page = await store.list(Query(limit=_MAX_LOOKED_AT))
    found = [listed.summary for listed in page.executions]
    if with_function:
        return [f"{one.function_name}/{one.execution_name}" for one in found]
    return [one.execution_name for one in found]
