"""The example for AWS Lambda, on the server that takes its place, under Lambda's own runtime."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from threading import Event

import pytest

from tests.needed import lambda_runtime
from tests.server.dev_server import ROOT, dev_server

EXAMPLE = ROOT / "examples" / "aws_lambda"
pytestmark = [pytest.mark.process, pytest.mark.timeout(120)]


def test_it_pays_at_once_or_when_the_manager_says_so() -> None:
    lambda_runtime()
    handler = _in_template("Handler")
    command = f"{sys.executable} -m awslambdaric {handler}"
    with dev_server(EXAMPLE, "--function", f"expenses={command}") as server:
        small = {"employee": "Ada", "amount": 7}
        assert server.invoke("expenses", small) == {"outcome": "paid", "reference": "Ada-7"}

        reply = server.client.invoke(
            FunctionName="expenses",
            InvocationType="Event",
            Payload=json.dumps({"employee": "Ada", "amount": 700}),
        )
        arn = reply["DurableExecutionArn"]
        said = server.until_said("answer to ")
        server.client.send_durable_execution_callback_success(
            CallbackId=said.rpartition(" ")[2], Result=b"yes"
        )

        while "ExecutionSucceeded" not in server.event_types(arn):
            Event().wait(0.05)
        result = server.client.get_durable_execution(DurableExecutionArn=arn)["Result"]
        assert json.loads(result) == {"outcome": "paid", "reference": "Ada-700"}


def test_the_template_makes_it_durable_reachable_and_allowed_to_checkpoint() -> None:
    assert int(_in_template("ExecutionTimeout").split()[0]) <= 31_622_400
    assert 1 <= int(_in_template("RetentionPeriodInDays")) <= 90
    assert _in_template("AutoPublishAlias") == "live"
    text = (EXAMPLE / "template.yaml").read_text()
    for action in ("CheckpointDurableExecution", "GetDurableExecutionState"):
        assert f"- lambda:{action}" in text
    module, _, name = _in_template("Handler").partition(".")
    assert f"def {name}(" in Path(EXAMPLE, f"{module}.py").read_text()


def _in_template(key: str) -> str:
    lines = (EXAMPLE / "template.yaml").read_text().splitlines()
    [value] = [line.partition(":")[2] for line in lines if line.strip().startswith(f"{key}:")]
    return value.partition("#")[0].strip()
