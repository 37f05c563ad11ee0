"""Names of executions and functions, in the service's form."""

from __future__ import annotations

import hashlib
import re

import msgspec

from durably.errors import InvalidParameterValueException

LATEST = "$LATEST"

_match_execution = re.compile(
    r"arn:(?P<partition>[a-zA-Z0-9-]+):lambda:(?P<region>[a-zA-Z0-9-]+):(?P<account>[0-9]{12})"
    r":function:(?P<function>[a-zA-Z0-9-_]{1,140}):(?P<version>\$LATEST(?:\.PUBLISHED)?|[0-9]+)"
    r"/durable-execution/(?P<name>[a-zA-Z0-9_-]+)/(?P<id>[a-zA-Z0-9_-]+)"
).fullmatch
_match_function = re.compile(
    r"(?:arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:[0-9]{12}:function:|(?:[0-9]{12}:)?function:)?"
    r"(?P<function>[a-zA-Z0-9-_]{1,140})(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
).fullmatch
_MAX_ARN = 1024


class Home(msgspec.Struct, frozen=True):
    """Where the functions of one service are said to live."""

    region: str = "local"
    account: str = "000000000000"
    partition: str = "aws"

    def function_arn(self, function_name: str, version: str) -> str:
        """Write the arn of a function, with its version."""
        return (
            f"arn:{self.partition}:lambda:{self.region}:{self.account}"
            f":function:{function_name}:{version}"
        )


class ExecutionArn(msgspec.Struct, frozen=True):
    """The parts of an execution's arn; `str` writes it."""

    home: Home
    function_name: str
    version: str
    execution_name: str
    invocation_id: str

    def __str__(self) -> str:
        function_arn = self.home.function_arn(self.function_name, self.version)
        return f"{function_arn}/durable-execution/{self.execution_name}/{self.invocation_id}"

    @property
    def function_arn(self) -> str:
        """The arn of the function, with its version."""
        return self.home.function_arn(self.function_name, self.version)


def parse_execution_arn(arn: str) -> ExecutionArn:
    """Read the arn of an execution.

    Raises:
        InvalidParameterValueException: it is not one.
    """
    match = _match_execution(arn) if len(arn) <= _MAX_ARN else None
    if match is None:
        raise InvalidParameterValueException("DurableExecutionArn is not the arn of an execution.")
    home = Home(match["region"], match["account"], match["partition"])
    return ExecutionArn(home, match["function"], match["version"], match["name"], match["id"])


def split_function_name(text: str) -> tuple[str, str | None]:
    """Give name and qualifier of a function that is named in any form the service takes.

    Raises:
        InvalidParameterValueException: *text* has none of them.
    """
    match = _match_function(text)
    if match is None:
        raise InvalidParameterValueException(
            "FunctionName is neither a function's name nor its arn, with or without a qualifier."
        )
    return match["function"], match["qualifier"]


def child_arn(parent_arn: str, nonce: str, function_name: str, version: str) -> str:
    """Give the arn of the execution that a chained invoke starts. Nobody can guess its name."""
    home = parse_execution_arn(parent_arn).home
    digest = hashlib.sha256(f"{parent_arn}\0{nonce}".encode()).hexdigest()
    name, invocation_id = digest[:32], digest[32:]
    return str(ExecutionArn(home, function_name, version, name, invocation_id))


def root_operation_id(arn: str) -> str:
    """Give the id of the operation that stands for the execution itself."""
    return arn.rpartition("/")[2]


def execution_name_of(arn: str) -> str:
    """Give the name of an execution."""
    return parse_execution_arn(arn).execution_name
