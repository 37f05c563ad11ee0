"""The official validator, run against a server of ours.

It comes from PyPI and is not changed. Of what it asks of AWS, the calls of Lambda go to the server
by boto3; CloudFormation, where it looks up the names of functions, and CloudWatch, where it looks
for what they have logged, are replaced here.
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aws_durable_execution_conformance_tests import validate
from aws_durable_execution_conformance_tests.clients import AwsClients
from aws_durable_execution_conformance_tests.config import TESTS_DIR
from aws_durable_execution_conformance_tests.sam import Invoker

from tests.conformance.logs import ExecutionLogs
from tests.conformance.server import REGION, lambda_client

STACK = "conformance"


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """One requirement: where it is written, and what it is called."""

    number: tuple[int, ...]
    suite: str = field(compare=False)
    path: Path = field(compare=False)

    @property
    def id(self) -> str:
        """Its id, as in `4-17`."""
        return "-".join(map(str, self.number))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a function fulfils its requirement; what is wrong, if anything is."""

    requirement: Requirement
    errors: Sequence[str]


def find_requirements(folder: Path | None = None) -> list[Requirement]:
    """Find the requirements in *folder*, or those that the package brings with it."""
    found = validate.discover_test_files(folder or TESTS_DIR)
    requirements = [
        Requirement(tuple(map(int, key.split("-"))), Path(path).parent.name, Path(path))
        for key, path in found.items()
        if re.fullmatch(r"\d+-\d+", key)
    ]
    return sorted(requirements)


class Validator:
    """Validates functions on one server.

    Args:
        endpoint: of the server.
        functions: the names of functions, by the ids of the requirements that they serve.
        logs: what they log.
    """

    def __init__(self, endpoint: str, functions: Mapping[str, str], logs: ExecutionLogs) -> None:
        self._functions = functions
        stack = _Stack(functions.values())
        client = lambda_client(endpoint)
        self._clients = AwsClients({"lambda": client, "cloudformation": stack, "logs": logs})
        self._invoker = Invoker(STACK, REGION, lambda_client=client, cfn_client=stack)
        validate.CloudWatchLogRetriever = _Retriever

    def validate(self, requirement: Requirement) -> Verdict:
        """Validate the function of one requirement."""
        name = self._functions.get(requirement.id)
        if name is None:
            return Verdict(requirement, ["no function serves this requirement"])
        with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
            try:
                result = validate.validate_description(
                    name,
                    requirement.id,
                    str(requirement.path),
                    self._invoker,
                    folder,
                    region=REGION,
                    aws_clients=self._clients,
                    output_dir=folder,
                )
            except Exception as error:  # noqa: BLE001 - whatever breaks, the others go on
                return Verdict(requirement, [f"{type(error).__name__}: {error}"])
        if result.passed:
            return Verdict(requirement, [])
        return Verdict(requirement, result.errors or ["failed without saying why"])


class _Stack:
    """What the validator reads of CloudFormation: every function is called what it is called."""

    def __init__(self, names: Any) -> None:
        self._names = tuple(names)

    def get_paginator(self, _operation: str) -> _Stack:
        return self

    def paginate(self, **_request: str) -> Iterator[dict[str, Any]]:
        yield {
            "StackResourceSummaries": [
                {
                    "ResourceType": "AWS::Lambda::Function",
                    "LogicalResourceId": name,
                    "PhysicalResourceId": name,
                }
                for name in self._names
            ]
        }


class _Retriever:
    """Stands in for the official reader of CloudWatch, which waits for lines to arrive there."""

    def __init__(self, *, cloudformation_client: _Stack, logs_client: ExecutionLogs) -> None:
        self._logs = logs_client

    def get_log_group_name(self, _stack: str, function: str) -> str:
        return function

    def get_execution_log_events(self, *, execution_arn: str, **_query: Any) -> list[Any]:
        return self._logs.of(execution_arn)


class Silence(io.TextIOBase):
    """Swallows what threads of the validator print, and keeps the rest going to *console*."""

    def __init__(self, console: Any) -> None:
        self._console = console
        self._main = threading.get_ident()

    def write(self, text: str) -> int:
        if threading.get_ident() == self._main:
            self._console.write(text)
        return len(text)

    def flush(self) -> None:
        self._console.flush()


@contextlib.contextmanager
def silenced(console: Any) -> Iterator[None]:
    """Keep the validator's own running commentary off *console*."""
    silence = Silence(console)
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        yield
