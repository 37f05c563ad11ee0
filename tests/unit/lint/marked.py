"""Programs that say themselves what the linter must find in them."""

from __future__ import annotations

import re
from textwrap import dedent

from durably.lint.findings import Finding
from durably.lint.linter import lint_text

_MARK = re.compile(r"#! ?([\w -]+)$")
OURS = "from durably import *\n"
OFFICIAL = "from aws_durable_execution_sdk_python import *\n"


def check(program: str, *, sdk: str = OURS) -> list[Finding]:
    """See that the linter finds in each line the rules after its `#!`, and give what it found."""
    text = sdk + dedent(program)
    expected = [
        (number, rule)
        for number, line in enumerate(text.splitlines(), 1)
        if (mark := _MARK.search(line))
        for rule in mark[1].split()
    ]

    findings = lint_text(text, "program.py")

    found = [(one.line, one.rule) for one in findings]
    assert found == expected, [*text.splitlines(), {*found} ^ {*expected}]
    return findings


def in_handler(lines: str, imports: str = "") -> str:
    """Put *lines* into an `async def` handler."""
    body = "\n".join(f"    {line}" for line in dedent(lines).strip().splitlines())
    return f"{imports}\n@durable_execution\nasync def handler(event, ctx):\n{body}\n"
