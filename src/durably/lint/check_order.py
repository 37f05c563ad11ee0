"""Sets that are gone through in an order, which is another one in each process."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from durably.lint import rules
from durably.lint.code import Code
from durably.lint.findings import Finding
from durably.lint.meanings import SET
from durably.lint.operations import items_of
from durably.lint.reading import Reading

# What gives the same whatever the order, and what does not.
_ORDERLESS = frozenset(
    f"builtins.{name}"
    for name in ("all", "any", "bool", "frozenset", "len", "max", "min", "set", "sorted", "sum")
)
_ORDERED = frozenset(
    {
        *(f"builtins.{name}" for name in ("enumerate", "filter", "iter", "list", "map", "tuple")),
        *("builtins.reversed", "builtins.zip", "collections.deque", "itertools.chain"),
    }
)


def check_order(reading: Reading) -> Iterator[Finding]:
    """Find sets that are gone through where a replay comes by."""
    for code in reading.roles.replayed:
        for node in code.nodes:
            for gone_through in _gone_through(reading, node, code):
                if reading.meanings.of(gone_through, code) == SET:
                    yield reading.found(rules.SET_ORDER, gone_through, code)
    for use in reading.roles.uses:
        shape = reading.shapes.get(use.operation)
        items = None if shape is None else items_of(use.call, shape)
        if items is not None and reading.meanings.of(items, use.code) == SET:
            yield reading.found(rules.SET_ORDER, items, use.code)


def _gone_through(reading: Reading, node: ast.AST, code: Code) -> list[ast.expr]:
    """Give what *node* goes through so that the order shows."""
    match node:
        case ast.For() | ast.AsyncFor():
            return [node.iter]
        case ast.ListComp() | ast.GeneratorExp():
            is_seen = not _is_for_orderless(reading, node, code)
            return [one.iter for one in node.generators] if is_seen else []
        case ast.List() | ast.Tuple():
            return [one.value for one in node.elts if isinstance(one, ast.Starred)]
        case ast.Call():
            return [] if _is_for_orderless(reading, node, code) else _by_call(reading, node, code)
        case _:
            return []


def _by_call(reading: Reading, call: ast.Call, code: Code) -> list[ast.expr]:
    match call.func:
        case ast.Attribute(value, "pop") if not call.args:
            return [value]
        case ast.Attribute(ast.Constant(str()) | ast.JoinedStr(), "join"):
            return call.args
        case _ if reading.meanings.path(call.func, code) in _ORDERED:
            return call.args
        case _:
            return []


def _is_for_orderless(reading: Reading, node: ast.AST, code: Code) -> bool:
    parent = reading.module.parents.get(node)
    if not isinstance(parent, ast.Call) or parent.func is node:
        return False
    return reading.meanings.path(parent.func, code) in _ORDERLESS
