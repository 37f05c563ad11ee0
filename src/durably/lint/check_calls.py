"""What a replay finds changed: clocks, chance, the environment, other systems."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from durably.lint import rules
from durably.lint.code import Code
from durably.lint.findings import Finding
from durably.lint.impure import READS, VARYING, rule_for_call
from durably.lint.operations import name_of
from durably.lint.reading import Reading
from durably.lint.rules import Rule
from durably.lint.walking import inside


def check_calls(reading: Reading) -> Iterator[Finding]:
    """Find what is called, or read, where a replay comes by."""
    in_names = dict(_in_names(reading))
    for code in reading.roles.replayed:
        for node in code.nodes:
            if node not in in_names:
                rule = _rule_for(reading, node, code)
                if rule is not None and isinstance(node, ast.expr):
                    yield reading.found(rule, node, code)


def check_names(reading: Reading) -> Iterator[Finding]:
    """Find names of operations that a replay would not find again."""
    for node, code in _in_names(reading):
        path = reading.meanings.path(node.func, code) if isinstance(node, ast.Call) else ""
        if path in VARYING or _rule_for(reading, node, code) is not None:
            yield reading.found(rules.OPERATION_NAME, node, code)


def _rule_for(reading: Reading, node: ast.AST, code: Code) -> Rule | None:
    if isinstance(node, ast.Call):
        return rule_for_call(reading.meanings.path(node.func, code), node)
    if isinstance(node, ast.Attribute | ast.Name) and not _is_only_named(reading, node):
        return READS.get(reading.meanings.path(node, code))
    return None


def _is_only_named(reading: Reading, node: ast.expr) -> bool:
    """Whether *node* is part of the name of a function that is not called here."""
    function = reading.module.parents.get(node)
    if not isinstance(function, ast.Attribute):
        return False
    call = reading.module.parents.get(function)
    return not (isinstance(call, ast.Call) and call.func is function)


def _in_names(reading: Reading) -> Iterator[tuple[ast.expr, Code]]:
    """Give everything that names of operations are made of."""
    named = list(reading.calls.branch_names)
    for use in reading.roles.uses:
        shape = reading.shapes.get(use.operation)
        name = None if shape is None else name_of(use.call, shape)
        if name is not None:
            named.append((name, use.code))
    for name, code in named:
        yield from ((node, code) for node in inside(name) if isinstance(node, ast.expr))
    for code in reading.calls.namers:
        yield from ((node, code) for node in code.nodes if isinstance(node, ast.expr))
