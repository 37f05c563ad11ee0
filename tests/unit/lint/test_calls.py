"""What gives something else each time, under every name that it can be reached by."""

import asyncio
import importlib
import sqlite3

import pytest

from durably.lint.impure import CALLS, READS
from durably.lint.linter import lint_text
from tests.unit.lint.marked import OFFICIAL, OURS, check, in_handler

STANDARD = {
    *("asyncio", "builtins", "datetime", "ftplib", "getpass", "glob", "http", "os", "pathlib"),
    *("platform", "random", "secrets", "shutil", "smtplib", "socket", "sqlite3", "subprocess"),
    *("sys", "tempfile", "time", "urllib", "uuid"),
}
NOT_IN_EVERY_PYTHON = {"pathlib.Path().walk", "uuid.uuid6", "uuid.uuid7"}
MADE = {
    "asyncio.get_event_loop()": asyncio.AbstractEventLoop,
    "asyncio.get_running_loop()": asyncio.AbstractEventLoop,
    "sqlite3.connect()": sqlite3.Connection,
}


def named() -> list[str]:
    """Give everything of the standard library that the tables name."""
    calls = [
        f"{place}.{name}"
        for places in CALLS.values()
        for place, names in places.items()
        for name in names.replace("*", "").split()
    ]
    return [
        path
        for path in (*calls, *READS)
        if path.partition(".")[0] in STANDARD and path not in NOT_IN_EVERY_PYTHON
    ]


def found_at(path: str) -> object:
    """Give what is at *path*; of a call, its class."""
    if path in MADE:
        return MADE[path]
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        place, _, name = path.removesuffix("()").rpartition(".")
        return getattr(found_at(place), name)


def test_everything_that_the_tables_name_exists() -> None:
    assert len(named()) > 150
    for path in named():
        assert found_at(path), path


@pytest.mark.parametrize(
    ("imports", "line"),
    [
        ("import time", "time.time()"),
        ("import time as clock", "clock.monotonic()"),
        ("from time import perf_counter", "perf_counter()"),
        ("from time import time_ns as now", "now()"),
        ("import datetime", "datetime.datetime.now(datetime.UTC)"),
        ("import datetime as dt", "dt.date.today()"),
        ("from datetime import datetime as when", "when.utcnow().isoformat()"),
        ("import time\nnow = time.time", "now()"),
        ("import time\nclock = time", "str(clock.time())"),
        ("import time", "clock = time.time; clock()"),
        ("import time", "[time.time() for _ in event]"),
        ("import time", "await ctx.step('late', str, time.time())"),
        ("import time", "def late(at=time.time()): pass"),
        ("try:\n    import time\nexcept ImportError:\n    time = None", "time.time()"),
        ("import asyncio", "asyncio.get_running_loop().time()"),
        ("from time import *", "time()"),
        ("", "import time; time.time()"),
    ],
)
def test_a_clock_is_known_under_any_name(imports: str, line: str) -> None:
    sdk = "from durably import durable_execution\n"

    check(in_handler(f"{line}  #! clock", imports), sdk=sdk)


@pytest.mark.parametrize(
    ("imports", "line"),
    [
        ("import time", "time = event; time.time()"),
        ("import time", "for time in event: time.time()"),
        ("import time", "with event as (time, other): time.time()"),
        ("import time", "time.gmtime(0), time.strftime('%Y', event)"),
        ("import time", "ctx.now(), time.time"),
        ("import time", "handler.time()"),
        ("from mine import time", "time.time()"),
        ("from .time import time", "time()"),
        ("from random import Random", "Random(7).random()"),
        ("import random\nchance = random.Random(7)", "chance.random()"),
        ("import uuid", "uuid.uuid5(uuid.NAMESPACE_DNS, event)"),
        ("import asyncio", "await asyncio.sleep(0)"),
        ("import os", "os.path.join('a', 'b'), os.fspath(event)"),
        ("import os", "await ctx.step('stage', os.environ.get, 'STAGE')"),
        ("import requests", "requests.Session().headers.update({})"),
        ("import requests", "raise requests.exceptions.HTTPError()"),
        ("import boto3", "boto3.client('s3').close()"),
        ("import boto3", "boto3.client('s3').exceptions.NoSuchKey()"),
        ("from pathlib import Path", "Path('a').with_suffix('.b').name"),
        ("", "event.open('x'), open"),
        ("open = print", "open('x')"),
    ],
)
def test_what_only_looks_like_it_is_left_alone(imports: str, line: str) -> None:
    check(in_handler(line, imports))


@pytest.mark.parametrize(
    ("rule", "imports", "line"),
    [
        ("random", "import random", "random.shuffle(event)"),
        ("random", "import random", "random.Random()"),
        ("random", "import random", "random.SystemRandom(0).randint(1, 2)"),
        ("random", "import secrets", "secrets.token_hex()"),
        ("random", "from numpy import random", "random.rand(3)"),
        ("random", "import numpy as np", "np.random.default_rng()"),
        ("uuid", "import uuid", "uuid.uuid1()"),
        ("uuid", "from uuid import uuid4", "str(uuid4())"),
        ("environment", "import os", "os.getenv('STAGE')"),
        ("environment", "import os", "os.environ['STAGE']"),
        ("environment", "from os import environ", "environ.get('STAGE')"),
        ("environment", "import os", "dict(os.environ)"),
        ("environment", "import os", "'STAGE' in os.environ"),
        ("environment", "import sys", "sys.argv[1:]"),
        ("environment", "", "input()"),
        ("network", "import requests", "requests.get('x')"),
        ("network", "import requests", "requests.Session().post('x')"),
        ("network", "from urllib.request import urlopen", "urlopen('x')"),
        ("network", "import boto3\ns3 = boto3.client('s3')", "s3.put_object()"),
        ("network", "import httpx\nclient: httpx.Client = event()", "client.get('x')"),
        ("network", "import httpx\nclient: httpx.Client | None = None", "client.get('x')"),
        ("network", "import httpx", "(await httpx.AsyncClient().get('x')).json()"),
        ("file", "", "open('x')"),
        ("file", "import io", "io.open('x')"),
        ("file", "import os", "os.path.exists('x')"),
        ("file", "from pathlib import Path", "Path('x').read_text()"),
        ("file", "from pathlib import Path", "(Path('x') / 'y' / 'z').unlink()"),
        ("file", "from pathlib import Path", "Path('x').parent.parent.mkdir()"),
        ("file", "from pathlib import Path\nHERE = Path(__file__)", "HERE.exists()"),
        ("file", "import sqlite3", "sqlite3.connect('x')"),
        ("process", "import subprocess", "subprocess.run(['ls'])"),
        ("process", "import os", "os.system('ls')"),
        ("sleep", "import time", "time.sleep(0)"),
        ("sleep", "import asyncio", "await asyncio.sleep(event)"),
    ],
)
def test_what_has_an_effect_or_an_answer_of_its_own_belongs_in_a_step(
    rule: str, imports: str, line: str
) -> None:
    check(in_handler(f"{line}  #! {rule}", imports))


def test_what_is_opened_or_annotated_is_known_by_its_type() -> None:
    check(
        """
        import aiohttp, httpx
        from pathlib import Path
        from typing import Annotated, Optional

        @durable_execution
        async def handler(event, ctx):
            async with aiohttp.ClientSession() as session:
                await session.get("x")  #! network
            with httpx.Client() as one, httpx.Client() as two:
                two.post("x")  #! network
            ask(httpx.Client(), Path("x"), None)
            made().get("x")  #! network

        def ask(client: "httpx.Client", file: Annotated[Path, "x"], other: Optional[httpx.Client]):
            client.get("x")  #! network
            file.write_text("x")  #! file
            other.get("x")  #! network

        def made() -> httpx.Client:
            return httpx.Client()
        """
    )


def test_a_name_of_an_operation_is_made_of_what_stays_the_same() -> None:
    check(
        """
        import time
        from uuid import uuid4

        @durable_execution
        async def handler(event, ctx):
            await ctx.step(f"a {uuid4()}", str)  #! operation-name
            await ctx.wait("b" + str(time.time()), 1)  #! operation-name
            await ctx.invoke(name=f"{id(event)}", function_name="f")  #! operation-name
            await ctx.step(hash(event), str)  #! operation-name
            await ctx.step(f"{ctx.now()} {ctx.uuid4()}", str)
            await ctx.step(None, str, hash(event))
            branches = [NamedParallelBranch(f"{uuid4()}", str)]  #! operation-name
            await ctx.parallel("p", branches)
            namer = MapConfig(item_namer=lambda item, index: f"{uuid4()}")  #! operation-name
            await ctx.map("m", event, str, namer)
            await ctx.map("m", event, str, MapConfig(item_namer=named))

        def named(item, index):
            return f"{item} {time.time()}"  #! operation-name
        """
    )


def test_a_finding_says_what_to_write_with_the_context_at_hand() -> None:
    [first, second] = check(
        """
        import time

        @durable_execution
        def handler(event, context):
            time.time()  #! clock
            context.map("m", event, lambda _ctx, item: time.time())  #! clock
        """
    )

    assert first.message == "`time.time()` gives another time in every replay."
    assert first.instead == "Write `context.now()`, or read the clock in a step."
    assert (first.column, first.width, first.source) == (5, 11, "    time.time()  #! clock")
    assert second.column == 48


def test_the_official_sdk_has_less_to_offer() -> None:
    [found] = check(
        """
        import time

        @durable_execution
        def handler(event, context):
            time.time()  #! clock
        """,
        sdk=OFFICIAL,
    )

    assert found.instead == "Read the clock in a step."


@pytest.mark.parametrize("other", ["anyio", "zoneinfo", "mine"])
def test_of_several_modules_with_all_their_names_the_one_that_has_it_is_known(other: str) -> None:
    check(
        """
        from time import *
        from os.path import *
        @durable_execution
        async def handler(event, ctx: DurableContext):
            exists("file")  #! file
            await ctx.step("late", run, time())  #! clock
            ctx.wait(None, Duration(1))  #! not-awaited
            ours(event)
        """,
        sdk=f"from {other} import *\n{OURS}",
    )


def test_columns_are_counted_in_characters_and_lines_as_python_does() -> None:
    line = "    x = '\u2028\x0c☃'; time.time()"
    program = f"from durably import *\r\n@durable_execution\rdef handler(event, ctx):\n{line}\n"

    [found] = lint_text(f"import time\n{program}", "program.py")

    assert (found.line, found.column) == (5, line.index("time.time") + 1)
    assert (found.source, found.width) == (line, 11)
