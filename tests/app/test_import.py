"""What importing the library costs."""

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import sys
from durably import Engine, SyncEngine, durable_execution, DurableContext
heavy = "asyncio boto3 click psycopg rich sqlite3 starlette uvicorn".split()
print([name for name in heavy if name in sys.modules])
"""


@pytest.mark.process
def test_importing_the_engine_brings_nothing_that_only_using_it_needs() -> None:
    command = [sys.executable, "-c", _PROGRAM]

    # What measures coverage imports things of its own.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}

    done = subprocess.run(  # noqa: S603 - ours
        command, capture_output=True, text=True, check=True, env=environ
    )

    assert done.stdout == "[]\n"
