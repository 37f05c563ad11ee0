"""The repository keeps its own rules: limits of size, what is not committed, what is not run."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "durably"
TESTS = ROOT / "tests"

MAX_MODULE_LINES = 400
MAX_TEST_MODULE_LINES = 500
MAX_FUNCTION_LINES = 50

GENERATED = {"__pycache__", "build", "dist", "htmlcov", "node_modules"}
LOCK_FILES = re.compile(
    r"(uv|poetry|pdm|conda|yarn|bun|Pipfile|Cargo|Gemfile|composer|flake)\.lock|bun\.lockb"
    r"|package-lock\.json|npm-shrinkwrap\.json|pnpm-lock\.yaml|pylock(\..+)?\.toml"
)
OF_TOOLS = re.compile(r"\.coverage.*|\.git|.*\.db(-\w+|\.lock)?")
MACHINE_PATHS = re.compile(r"(?<![\w.~-])/(?:home|Users|root|work|opt)/")
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs|registry\.yarnpkg|deb\.debian\.org"
    r"|--(?:extra-)?index-url|--find-links"
)


def modules(folder: Path) -> list[tuple[str, str]]:
    """Give each module's name in the repository, and its text."""
    return [(str(path.relative_to(ROOT)), path.read_text()) for path in folder.rglob("*.py")]


def committed() -> Iterator[Path]:
    """Walk every file but those that tools write: what is, or is about to be, committed."""
    for folder, subfolders, names in os.walk(ROOT):
        hidden = {name for name in subfolders if name.startswith(".")} - {".ci", ".github"}
        subfolders[:] = set(subfolders) - hidden - GENERATED
        yield from (Path(folder, name) for name in names if not OF_TOOLS.fullmatch(name))


# Limits


def longer_than(limit: int, folder: Path) -> list[str]:
    lengths = {name: len(text.splitlines()) for name, text in modules(folder)}
    return [f"{name}: {length} lines" for name, length in lengths.items() if length > limit]


def lines_without_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    return lines(function) - (lines(docstring) if docstring else 0)


def lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_a_module_has_at_most_400_lines() -> None:
    assert longer_than(MAX_MODULE_LINES, PACKAGE) == []


def test_a_test_module_has_at_most_500_lines() -> None:
    assert longer_than(MAX_TEST_MODULE_LINES, TESTS) == []


def test_a_function_has_at_most_50_lines_without_its_docstring() -> None:
    offences = [
        f"{name}:{node.lineno}: {node.name} has {lines_without_docstring(node)} lines"
        for name, text in modules(PACKAGE)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and lines_without_docstring(node) > MAX_FUNCTION_LINES
    ]

    assert offences == []


# What is not committed


def test_the_source_has_no_note_of_work_left_to_do() -> None:
    notes = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")

    assert [name for name, text in modules(PACKAGE) if notes.search(text)] == []


def test_no_lock_file_is_committed() -> None:
    assert [str(path) for path in committed() if LOCK_FILES.fullmatch(path.name)] == []


@pytest.mark.parametrize("forbidden", [MACHINE_PATHS, REGISTRIES], ids=["machine", "registry"])
def test_no_file_names_a_machine_path_or_a_registry(forbidden: re.Pattern[str]) -> None:
    offences = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in committed()
        if path != Path(__file__) and (match := forbidden.search(path.read_text(errors="ignore")))
    ]

    assert offences == []


def test_constraints_are_names_and_exact_versions() -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()

    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.!+]+", pin)] == []


# Promise S06: what the source never does


def called(node: ast.AST) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def keyword(node: ast.AST, name: str) -> ast.expr | None:
    keywords = node.keywords if isinstance(node, ast.Call) else []
    return next((keyword.value for keyword in keywords if keyword.arg == name), None)


def is_constant(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant)


def is_false(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def imported(node: ast.AST) -> set[str]:
    """Give the top-level packages that *node* imports from."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {(node.module or "").partition(".")[0]} if isinstance(node, ast.ImportFrom) else set()


def reads_objects(node: ast.AST) -> bool:
    unsafe = {"cPickle", "cloudpickle", "dill", "marshal", "pickle", "shelve"}
    yaml = re.fullmatch(r"yaml\.(full_|unsafe_)?load(_all)?", called(node))
    return yaml is not None or bool(imported(node) & unsafe)


def runs_text(node: ast.AST) -> bool:
    return called(node).removeprefix("builtins.") in {"eval", "exec"}


def imports_what_data_names(node: ast.AST) -> bool:
    loaders = {"__import__", "import_module", "run_module", "run_path", "spec_from_file_location"}
    return (
        isinstance(node, ast.Call)
        and called(node).rpartition(".")[2] in loaders
        and not all(is_constant(argument) for argument in node.args)
    )


def uses_a_shell(node: ast.AST) -> bool:
    shell = keyword(node, "shell")
    return (shell is not None and not is_false(shell)) or called(node) in {
        "asyncio.create_subprocess_shell",
        "os.popen",
        "os.system",
    }


def composes_sql(node: ast.AST) -> bool:
    """Find SQL put together from pieces: in an f-string that starts like it, or where it is run."""
    if isinstance(node, ast.JoinedStr):
        start = node.values[0] if node.values else None
        text = str(start.value) if isinstance(start, ast.Constant) else ""
        return len(node.values) > 1 and SQL.match(text) is not None
    if not isinstance(node, ast.Call) or not node.args:
        return False
    runs_sql = called(node).rpartition(".")[2] in {"SQL", "execute", "executemany", "executescript"}
    composed = isinstance(node.args[0], ast.JoinedStr | ast.BinOp)
    return runs_sql and (composed or called(node.args[0]).endswith(".format"))


SQL = re.compile(r"\s*(ALTER|CREATE|DELETE|DROP|INSERT|SELECT|TRUNCATE|UPDATE|WITH)\s")


def imports_the_shared_generator(node: ast.AST) -> bool:
    """Find a way to `random.choice` and the like; a generator of one's own is no such way."""
    if isinstance(node, ast.ImportFrom) and node.module == "random":
        return not {alias.name for alias in node.names} <= {"Random", "SystemRandom"}
    return isinstance(node, ast.Import) and "random" in imported(node)


def compares_a_secret(node: ast.AST) -> bool:
    """Find `==` on a secret; what is compared with a constant or a client token is none."""
    if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
        return False
    sides = [node.left, *node.comparators]
    names = [called(side) or ast.unparse(side) for side in sides]
    is_public = any(map(is_constant, sides)) or any(map(CLIENT_TOKEN.search, names))
    return not is_public and any(map(SECRET.search, names))


SECRET = re.compile(r"(\b|_)(api_key|(hex)?digest|h?mac|password|secret|signature|token)$")
# The caller's idempotency key: everyone who may call knows it.
CLIENT_TOKEN = re.compile(r"\bclient_token$")


def skips_verification(node: ast.AST) -> bool:
    return is_false(keyword(node, "verify"))


def asserts_without_a_reason(node: ast.AST) -> bool:
    return isinstance(node, ast.Assert) and node.msg is None


def asserts(node: ast.AST) -> bool:
    return isinstance(node, ast.Assert)


def imports_random(node: ast.AST) -> bool:
    return "random" in imported(node)


EVERYWHERE = ("*",)
# Which modules a rule holds for. Assertions go away under `-O`, so where values come from outside
# they must not be what refuses one.
RULES: dict[Callable[[ast.AST], bool], tuple[str, ...]] = {
    reads_objects: EVERYWHERE,
    runs_text: EVERYWHERE,
    imports_what_data_names: EVERYWHERE,
    uses_a_shell: EVERYWHERE,
    composes_sql: EVERYWHERE,
    imports_the_shared_generator: EVERYWHERE,
    compares_a_secret: EVERYWHERE,
    skips_verification: EVERYWHERE,
    asserts_without_a_reason: EVERYWHERE,
    asserts: ("cli/*", "config.py", "serdes.py", "server/*"),
    imports_random: ("engine/tokens.py", "server/*"),
}
# Where a rule does not hold, and why.
WAIVERS: dict[tuple[str, str], str] = {
    ("imports_what_data_names", "cli/*"): "whoever types the command names the program to run",
    ("imports_what_data_names", "testing/__init__.py"): "the modules are named by its own table",
    ("asserts_without_a_reason", "testing/store_rules_*.py"): "they are tests, which users run",
    ("compares_a_secret", "testing/store_rules_*.py"): "they are tests, which users run",
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_never(rule: Callable[[ast.AST], bool]) -> None:
    waived = [pattern for name, pattern in WAIVERS if name == rule.__name__]

    offences = [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        for path in PACKAGE.rglob("*.py")
        if matches(path, RULES[rule]) and not matches(path, waived)
        for node in ast.walk(ast.parse(path.read_text()))
        if rule(node)
    ]

    assert offences == []


def matches(path: Path, patterns: Iterable[str]) -> bool:
    name = path.relative_to(PACKAGE).as_posix()
    return any(fnmatch(name, pattern) for pattern in patterns)


@pytest.mark.parametrize(
    ("rule", "offence", "innocent"),
    [
        (reads_objects, "from pickle import loads", "import json"),
        (reads_objects, "yaml.load(text)", "yaml.safe_load(text)"),
        (runs_text, "eval(text)", "re.compile(text)"),
        (imports_what_data_names, "importlib.import_module(name)", "import_module('json')"),
        (uses_a_shell, "run(command, shell=True)", "run(command, shell=False)"),
        (uses_a_shell, "os.system(command)", "os.fspath(path)"),
        (composes_sql, "q = f'SELECT * FROM {table}'", "q = f'{table} is full'"),
        (composes_sql, "db.execute(f'PRAGMA {name}')", "db.execute('PRAGMA x')"),
        (composes_sql, "db.execute('SELECT ' + name)", "db.execute(QUERY, (name,))"),
        (composes_sql, "db.execute('SELECT {}'.format(name))", "log.info('{}'.format(name))"),
        (imports_the_shared_generator, "import random", "def f(random): random.choice(x)"),
        (imports_the_shared_generator, "from random import choice", "from random import Random"),
        (compares_a_secret, "self.token == given", "update.client_token == stored.pause_token"),
        (compares_a_secret, "hmac.new(k, m).hexdigest() != x", "compare_digest(a.mac, b.mac)"),
        (compares_a_secret, "given == checkpoint_token", "token == ''"),
        (skips_verification, "get(url, verify=False)", "get(url, verify=context)"),
        (asserts_without_a_reason, "assert x", "assert x, 'why it holds'"),
        (asserts, "assert x, 'why'", "x = 1"),
        (imports_random, "from random import Random", "import secrets"),
    ],
)
def test_the_rules_know_an_offence_from_what_looks_like_it(
    rule: Callable[[ast.AST], bool], offence: str, innocent: str
) -> None:
    def found(text: str) -> bool:
        return any(rule(node) for node in ast.walk(ast.parse(text)))

    assert found(offence)
    assert not found(innocent)


@pytest.mark.parametrize("known", ["python3.12", "python3.13", "python3"])
def test_make_takes_an_interpreter_that_is_there(tmp_path: Path, known: str) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make")
    for name, target in ((known, sys.executable), ("bash", shutil.which("bash"))):
        (tmp_path / name).symlink_to(str(target))

    done = subprocess.run(  # noqa: S603 - our own Makefile
        [make, "--eval=which: ; @echo $(PYTHON)", "which"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
    )

    assert done.stdout == f"{known}\n"
