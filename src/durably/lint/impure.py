"""What gives or does something else each time it is called, by the path that leads to it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from durably.lint import rules
from durably.lint.rules import Rule

_HTTP = "delete get head options patch post put request send stream"
_SQL = "commit execute executemany rollback"

# Of each rule: where, and what there. An asterisk is anything that can be called there.
CALLS: Mapping[Rule, Mapping[str, str]] = {
    rules.CLOCK: {
        "arrow": "now utcnow",
        "asyncio.get_event_loop()": "time",
        "asyncio.get_running_loop()": "time",
        "datetime.date": "today",
        "datetime.datetime": "now today utcnow",
        "pandas.Timestamp": "now today utcnow",
        "pendulum": "now today tomorrow yesterday",
        "time": "asctime clock_gettime clock_gettime_ns ctime gmtime localtime monotonic"
        " monotonic_ns perf_counter perf_counter_ns process_time process_time_ns strftime"
        " thread_time thread_time_ns time time_ns",
    },
    rules.RANDOM: {
        "numpy.random": "choice default_rng normal permutation rand randint randn random shuffle"
        " uniform",
        "os": "getrandom urandom",
        "random": "Random SystemRandom betavariate choice choices expovariate gammavariate gauss"
        " getrandbits lognormvariate normalvariate paretovariate randbytes randint random"
        " randrange sample shuffle triangular uniform vonmisesvariate weibullvariate",
        "random.SystemRandom()": "*",
        "secrets": "choice randbelow randbits token_bytes token_hex token_urlsafe",
    },
    rules.UUID: {
        "nanoid": "generate",
        "shortuuid": "random uuid",
        "ulid": "ULID",
        "uuid": "uuid1 uuid4 uuid6 uuid7",
    },
    rules.ENVIRONMENT: {
        "builtins": "input",
        "getpass": "getpass getuser",
        "os": "cpu_count getcwd getenv getenvb getloadavg getlogin getpid getppid getuid uname",
        "platform": "machine node platform processor release system uname version",
        "socket": "getfqdn gethostname",
    },
    rules.NETWORK: {
        "aiohttp": "request",
        "aiohttp.ClientSession()": f"{_HTTP} ws_connect",
        "asyncio": "open_connection start_server",
        "asyncpg": "connect create_pool",
        "asyncpg.connect()": "execute executemany fetch fetchrow fetchval",
        "boto3.client()": "*",
        "ftplib": "FTP FTP_TLS",
        "http.client.HTTPConnection()": "connect getresponse request",
        "http.client.HTTPSConnection()": "connect getresponse request",
        "httpx": _HTTP,
        "httpx.AsyncClient()": _HTTP,
        "httpx.Client()": _HTTP,
        "psycopg": "connect",
        "psycopg.AsyncConnection": "connect",
        "psycopg.Connection": "connect",
        "psycopg.connect()": _SQL,
        "psycopg2": "connect",
        "requests": _HTTP,
        "requests.Session()": _HTTP,
        "requests.session()": _HTTP,
        "smtplib": "SMTP SMTP_SSL",
        "socket": "create_connection create_server getaddrinfo gethostbyname",
        "socket.socket()": "accept bind connect recv recvfrom send sendall sendto",
        "urllib.request": "urlopen urlretrieve",
        "urllib3": "request",
        "urllib3.PoolManager()": "request urlopen",
    },
    rules.FILE: {
        "builtins": "open",
        "glob": "glob iglob",
        "os": "access chmod chown link listdir lstat makedirs mkdir open remove removedirs rename"
        " renames replace rmdir scandir stat symlink truncate unlink utime walk",
        "os.path": "exists getatime getctime getmtime getsize isdir isfile islink lexists",
        "pathlib.Path()": "chmod exists glob hardlink_to is_dir is_file is_symlink iterdir lstat"
        " mkdir open read_bytes read_text readlink rename replace rglob rmdir stat symlink_to touch"
        " unlink walk write_bytes write_text",
        "shutil": "copy copy2 copyfile copyfileobj copytree disk_usage make_archive move rmtree"
        " unpack_archive",
        "sqlite3": "connect",
        "sqlite3.connect()": _SQL,
        "tempfile": "NamedTemporaryFile SpooledTemporaryFile TemporaryDirectory TemporaryFile"
        " mkdtemp mkstemp mktemp",
    },
    rules.PROCESS: {
        "asyncio": "create_subprocess_exec create_subprocess_shell",
        "os": "abort execv execve fork kill killpg popen posix_spawn spawnl spawnv system waitpid",
        "subprocess": "Popen call check_call check_output getoutput getstatusoutput run",
    },
    rules.SLEEP: {
        "anyio": "sleep sleep_until",
        "asyncio": "sleep",
        "time": "sleep",
        "trio": "sleep sleep_until",
    },
}
READS: Mapping[str, Rule] = {
    "os.environ": rules.ENVIRONMENT,
    "os.environb": rules.ENVIRONMENT,
    "sys.argv": rules.ENVIRONMENT,
}
"""What need not be called to be read."""

VARYING = frozenset({"builtins.hash", "builtins.id"})
"""What tells objects apart in one process, and is no part of a name."""

# What an instance does without talking to anybody.
_HARMLESS = frozenset({"boto3.client().can_paginate", "boto3.client().close"})


def _has_arguments(count: int) -> Callable[[ast.Call], bool]:
    return lambda call: len(call.args) + len(call.keywords) >= count


def _is_of_no_time(call: ast.Call) -> bool:
    """Whether a sleep only lets others run."""
    first = call.args[0] if call.args else None
    return isinstance(first, ast.Constant) and first.value == 0


# When a call of these is no offence after all.
_UNLESS: Mapping[str, Callable[[ast.Call], bool]] = {
    "anyio.sleep": _is_of_no_time,
    "asyncio.sleep": _is_of_no_time,
    "numpy.random.default_rng": _has_arguments(1),
    "random.Random": _has_arguments(1),
    "time.asctime": _has_arguments(1),
    "time.ctime": _has_arguments(1),
    "time.gmtime": _has_arguments(1),
    "time.localtime": _has_arguments(1),
    "time.strftime": _has_arguments(2),
    "trio.sleep": _is_of_no_time,
}
_RULE_OF: Mapping[str, Rule] = {
    f"{place}.{name}": rule
    for rule, places in CALLS.items()
    for place, names in places.items()
    for name in names.split()
}
# All that leads to what is named here: of `os.path.exists` also `os` and `os.path`.
_KNOWN = frozenset(
    ".".join(parts[:count]).removesuffix("()")
    for parts in (path.split(".") for path in (*_RULE_OF, *READS))
    for count in range(1, len(parts) + 1)
)


def is_known(path: str) -> bool:
    """Whether some rule is about *path*, or about something that it leads to."""
    return path in _KNOWN


def rule_for_call(path: str, call: ast.Call) -> Rule | None:
    """Give the rule that a call of what *path* leads to breaks outside of a step."""
    rule = _RULE_OF.get(path)
    if rule is None:
        place, _, name = path.rpartition(".")
        is_of_object = place.endswith("()") and name.isidentifier() and path not in _HARMLESS
        rule = _RULE_OF.get(f"{place}.*") if is_of_object else None
    is_exempt = _UNLESS.get(path)
    return None if is_exempt is not None and is_exempt(call) else rule
