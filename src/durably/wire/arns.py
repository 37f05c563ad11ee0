"""The name of an execution, as people read it."""

from __future__ import annotations


def title_of(execution_arn: str) -> str:
    """Name an execution by its function and its own name; what is no arn names itself."""
    function_arn, _, rest = execution_arn.partition("/durable-execution/")
    function = function_arn.split(":")[6:7]
    name = rest.partition("/")[0]
    return f"{function[0]}/{name}" if function and name else execution_arn
