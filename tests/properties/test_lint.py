"""The linter answers to whatever Python can read."""

from __future__ import annotations

import ast
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durably.lint.findings import Finding
from durably.lint.linter import files_below, lint_file, lint_text
from durably.lint.rules import ALLOW, RULES, UNREADABLE

PACKAGE = Path(__file__).parents[2] / "src" / "durably"
SOURCES = sorted(PACKAGE.rglob("*.py"))
STANDARD = list(files_below(Path(sysconfig.get_path("stdlib"))))[::40]
"""Some files of the standard library."""
RULE_IDS = {*RULES, ALLOW, UNREADABLE}

NAMES = st.sampled_from(["a", "b", "ctx", "event", "self", "time", "set", "open", "f", "g"])
ATTRIBUTES = st.sampled_from(["step", "wait", "map", "parallel", "append", "time", "result", "a"])


def expressions() -> st.SearchStrategy[str]:
    """Make expressions of the kinds that the linter looks at."""
    return st.recursive(
        st.one_of(NAMES, st.sampled_from(["1", "'x'", "None", "...", "{'a'}", "[]", "{}"])),
        lambda inner: st.one_of(
            st.builds("{0}.{1}".format, inner.map(_grouped), ATTRIBUTES),
            st.builds("{0}({1}, *{2}, config={1})".format, inner.map(_grouped), inner, inner),
            st.builds("{0}.{1}({2}, {3})".format, NAMES, ATTRIBUTES, inner, inner),
            st.builds("partial({0}, {1})".format, inner, inner),
            st.builds("f'{{{0}}}'".format, NAMES),
            st.builds("[{0} for {1} in {2}]".format, inner, NAMES, inner.map(_grouped)),
            st.builds("{{{0} for {1} in {2}}}".format, inner, NAMES, inner.map(_grouped)),
            st.builds("(lambda {0}, {1}=1: {2})".format, NAMES, st.just("z"), inner),
            st.builds("({0} if {1} else {2})".format, inner, inner, inner),
            st.builds("({0} | {1})".format, inner, inner),
            st.builds("({0} := {1})".format, NAMES, inner),
            st.builds("gather({0}, {1})".format, inner, inner),
        ),
        max_leaves=8,
    )


def _grouped(expression: str) -> str:
    return f"({expression})"


def statements() -> st.SearchStrategy[list[str]]:
    """Make lines of statements, nested by their indentation."""
    value = expressions()
    simple = st.one_of(
        value,
        st.builds("{0} = {1}".format, NAMES, value),
        st.builds("{0}, {1} = {2}, {2}".format, NAMES, NAMES, value),
        st.builds("{0}.a = {1}".format, NAMES, value),
        st.builds("{0}['a'] += {1}".format, NAMES, value),
        st.builds(
            "{0}: {1} = {2}".format, NAMES, st.sampled_from(["set", "DurableContext"]), value
        ),
        st.builds("global {0}".format, NAMES),
        st.builds("nonlocal {0}".format, NAMES),
        st.builds("import time as {0}".format, NAMES),
        st.builds("return {0}".format, value),
        st.builds("raise {0}".format, value),
        st.builds("del {0}".format, NAMES),
        st.just("# durably: allow[clock] why not"),
    ).map(lambda line: [line])
    heads = st.one_of(
        st.builds("def {0}({1}, {2}=[]):".format, NAMES, NAMES, st.just("z")),
        st.builds("@durable_execution\nasync def {0}(event, ctx):".format, NAMES),
        st.builds("async def {0}(ctx: DurableContext):".format, NAMES),
        st.builds("class {0}({1}):".format, NAMES, NAMES),
        st.builds("for {0} in {1}:".format, NAMES, value),
        st.builds("with {0} as {1}:".format, value, NAMES),
        st.builds("if {0} is None:".format, NAMES),
        st.builds("try: {0}\nexcept BaseException as {1}:".format, value, NAMES),
    )
    return st.recursive(
        simple,
        lambda inner: st.builds(
            lambda head, blocks: [
                *head.split("\n"),
                *(f"    {line}" for block in blocks for line in block),
                "    pass",
            ],
            heads,
            st.lists(inner, max_size=4),
        ),
        max_leaves=12,
    )


@given(st.lists(statements(), max_size=8))
def test_any_program_gets_an_answer(blocks: list[list[str]]) -> None:
    text = "\n".join(["from durably import *", *(line for block in blocks for line in block), ""])
    ast.parse(text)

    findings = lint_text(text, "program.py")

    lines = text.split("\n")
    assert findings == sorted(findings)
    assert {one.rule for one in findings} <= RULE_IDS - {UNREADABLE}
    assert all(one.source == lines[one.line - 1] for one in findings)
    assert all(0 < one.column <= len(one.source) for one in findings)
    assert "{" not in "".join(one.instead for one in findings)


@pytest.mark.parametrize("source", STANDARD, ids=lambda source: source.name)
def test_the_standard_library_has_no_handlers_and_gives_no_findings(source: Path) -> None:
    text = source.read_bytes().decode(errors="replace")

    assert lint_file(source) == []
    assert [one for one in lint_text(f"{text}\n# durably\n", "looked at") if not _is_odd(one)] == []


def _is_odd(finding: Finding) -> bool:
    """Whether it is about a file that is no Python, of which the tests of Python have some."""
    return finding.rule == UNREADABLE


@given(st.sampled_from([*SOURCES, *STANDARD]), st.integers(0, 2))
def test_real_programs_get_one_even_if_all_their_functions_are_durable(
    source: Path, offset: int
) -> None:
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError):
        return  # the tests of Python have such files
    for number, node in enumerate(ast.walk(tree), offset):
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and number % 3:
            node.decorator_list.append(ast.Name("durable_execution"))
            for taken in node.args.args[number % 3 :][:1]:
                taken.annotation = ast.Name("DurableContext")
    text = f"from durably import *\n{ast.unparse(tree)}"

    assert {one.rule for one in lint_text(text, source.name)} <= RULE_IDS - {UNREADABLE}
