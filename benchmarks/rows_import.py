"""What it costs until the first line of a handler can run: imports, and a cold start on Lambda."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from time import perf_counter

from benchmarks.measure import MILLI, Options, Peer, in_turns, progress
from benchmarks.report import Beside, Line

_IMPORT_MS = 100
_COLD_START_MS = 150

_BARE = "pass"
_IMPORT = "from durably import durable_execution, DurableContext"
_FOUNDATION = "import msgspec, dataclasses, logging, hashlib"
_OFFICIAL = "from aws_durable_execution_sdk_python import durable_execution, DurableContext"
_COLD = (
    "from durably import durable_execution, DurableContext\n"
    "from durably.clients.aws_lambda import AwsDurableExecutionClient\n"
    "AwsDurableExecutionClient.default()"
)
_OFFICIAL_COLD = (
    "from aws_durable_execution_sdk_python import durable_execution, DurableContext\n"
    "from aws_durable_execution_sdk_python.lambda_service import LambdaClient\n"
    "LambdaClient.initialize_client()"
)
_BOTOCORE = "import botocore.session\nbotocore.session.get_session().create_client('lambda')"
_UNWANTED = ("asyncio", "boto3", "psycopg", "sqlite3", "starlette")


def imports(options: Options) -> list[Line]:
    """Importing the package."""
    programs = {"bare": _BARE, "ours": _IMPORT, "foundation": _FOUNDATION}
    progress("importing, in fresh interpreters")
    found, peers = _in_turns(options, programs, _OFFICIAL)
    asked = f"import sys; {_IMPORT}; print(*(set({_UNWANTED}) & set(sys.modules)))"
    brought = _run(asked).split()
    note = f"It brings {', '.join(sorted(brought))} with it." if brought else ""
    return [
        Line(
            what="import, more than a bare interpreter",
            value=found["ours"] - found["bare"],
            unit="ms",
            limit=_IMPORT_MS,
            floors=(Beside(name="msgspec & co", value=found["foundation"] - found["bare"]),),
            peers=peers,
            note=note,
        ),
        Line(what="modules it must not bring", value=len(brought), unit="", limit=0),
    ]


def cold_start(options: Options) -> list[Line]:
    """Importing the package, and making a client that can checkpoint."""
    programs = {"bare": _BARE, "ours": _COLD, "botocore": _BOTOCORE}
    progress("cold starts, in fresh interpreters")
    found, peers = _in_turns(options, programs, _OFFICIAL_COLD)
    return [
        Line(
            what="Lambda cold start: import, and a client",
            value=found["ours"] - found["bare"],
            unit="ms",
            limit=_COLD_START_MS,
            floors=(
                Beside(name="a botocore client alone", value=found["botocore"] - found["bare"]),
            ),
            peers=peers,
        )
    ]


def profile_imports(_options: Options) -> list[str]:
    """Say which modules take the time."""
    return _slowest_imports(_IMPORT)


def profile_cold_start(_options: Options) -> list[str]:
    """Say which modules take the time."""
    return _slowest_imports(_COLD)


def _in_turns(
    options: Options, programs: dict[str, str], official: str
) -> tuple[dict[str, float], tuple[Beside, ...]]:
    """Give the milliseconds of *programs*, and the official SDK's beyond the bare interpreter."""
    works = {name: _timing(program) for name, program in programs.items()}
    for work in works.values():
        work()  # so that every .pyc is there
    peers = [Peer("", _timing(official))] if options.has_peers else []
    found = in_turns(works, options.pick(15, 5), peers)
    beside = tuple(peer.beside(MILLI, less=found["bare"]) for peer in peers)
    return {name: value * MILLI for name, value in found.items()}, beside


def _timing(program: str) -> Callable[[], float]:
    def work() -> float:
        began = perf_counter()
        _run(program)
        return perf_counter() - began

    return work


def _run(program: str, *arguments: str) -> str:
    known = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "x"}
    environment = {**os.environ, **known, "AWS_SECRET_ACCESS_KEY": "x"}
    done = subprocess.run(  # noqa: S603 - a program of ours
        [sys.executable, *arguments, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def _slowest_imports(program: str) -> list[str]:
    """Read what `-X importtime` says: own time, time with what is imported below, module."""
    found = []
    for line in _run(program, "-X", "importtime").splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        total, _, module = rest.partition("|")
        if own.strip().isdigit():
            found.append((int(own), int(total), module.strip()))
    found.sort(reverse=True)
    return ["own µs, with imports below, module:"] + [
        f"{own:8} {total:8}  {module}" for own, total, module in found[:15]
    ]
