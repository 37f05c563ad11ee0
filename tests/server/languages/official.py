"""Functions on the official SDK for Python."""

import os
import threading
from pathlib import Path
from typing import Any

from aws_durable_execution_sdk_python import DurableContext, durable_execution
from aws_durable_execution_sdk_python.config import Duration


@durable_execution
def quote(event: Any, context: DurableContext) -> Any:
    net = context.step(lambda _: event["pieces"] * 20, name="net")
    context.wait(Duration.from_seconds(1), name="settle")
    gross = context.step(lambda _: round(net * 1.2), name="gross")
    return {"net": net, "gross": gross}


@durable_execution
def chain(event: Any, context: DurableContext) -> Any:
    return [context.invoke(target, event["payload"], name="call") for target in event["targets"]]


def _work(_: Any) -> str:
    if not Path("pid").exists():
        Path("pid").write_text(str(os.getpid()))
        threading.Event().wait()  # for its death
    return "survived"


@durable_execution
def fragile(event: Any, context: DurableContext) -> Any:
    return context.step(_work, name="work")
