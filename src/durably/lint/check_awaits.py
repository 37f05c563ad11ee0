"""Futures that nobody awaits, and suspensions that are caught."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from durably.lint import rules
from durably.lint.code import Code
from durably.lint.findings import Finding
from durably.lint.operations import DRAWS
from durably.lint.reading import Reading
from durably.lint.walking import inside

_CANCELLED = frozenset({"asyncio.CancelledError", "asyncio.exceptions.CancelledError"})
_SIGNALS = frozenset({"DurableSignal", "InvocationSuspended", "SuspendExecution"})


def check_awaits(reading: Reading) -> Iterator[Finding]:
    """Find operations, and functions that call some, whose futures are dropped."""
    if reading.is_official:
        return
    read = _names_read(reading)
    for use in reading.roles.uses:
        site = reading.calls.sites.get(use.call)
        is_future = use.code.is_async if site is None else site.callee.is_async
        if not is_future or use.operation in DRAWS:
            continue
        match reading.module.parents.get(use.call):
            case ast.Expr():
                yield reading.found(rules.NOT_AWAITED, use.call, use.code)
            case ast.Assign(targets=[ast.Name(id=name)]) if _place(use.code, name) not in read:
                yield reading.found(rules.NOT_AWAITED, use.call, use.code)
            case ast.Return() if use.code in reading.roles.entered:
                yield reading.found(rules.NOT_AWAITED, use.call, use.code)
            case _:
                pass


def _names_read(reading: Reading) -> set[tuple[Code | None, str]]:
    return {
        _place(code, node.id)
        for code in reading.module.codes
        for node in code.nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def _place(code: Code, name: str) -> tuple[Code | None, str]:
    """Tell names apart that are the same in different functions."""
    found = code.find(name)
    return None if found is None else found[0], name


def check_cancellation(reading: Reading) -> Iterator[Finding]:
    """Find what catches a suspension around operations, and does not raise it again."""
    holding = reading.around_operations
    for code in reading.module.codes:
        for node in code.nodes:
            if isinstance(node, ast.Try | ast.TryStar) and holding.intersection(node.body):
                yield from _handlers(reading, node, code)
            elif isinstance(node, ast.With) and holding.intersection(node.body):
                yield from _suppressed(reading, node, code)


def _handlers(reading: Reading, node: ast.Try | ast.TryStar, code: Code) -> Iterator[Finding]:
    for handler in node.handlers:
        caught = [handler.type] if handler.type is not None else []
        if handler.type is not None and not _is_signal(reading, handler.type, code):
            continue
        if not _raises_again(handler):
            text = "".join(f" {reading.text.excerpt(one)}" for one in caught)
            yield reading.found(rules.SWALLOWED, handler, code, it=f"except{text}")
        return  # what it catches does not get to the others


def _suppressed(reading: Reading, node: ast.With, code: Code) -> Iterator[Finding]:
    for item in node.items:
        call = item.context_expr
        if not isinstance(call, ast.Call):
            continue
        is_suppress = reading.meanings.path(call.func, code) == "contextlib.suppress"
        if is_suppress and any(_is_signal(reading, one, code) for one in call.args):
            yield reading.found(rules.SWALLOWED, call, code)


def _is_signal(reading: Reading, caught: ast.expr, code: Code) -> bool:
    """Whether *caught*, a class or a tuple of some, is what suspends an execution in *code*."""
    for one in caught.elts if isinstance(caught, ast.Tuple) else [caught]:
        path = reading.meanings.path(one, code)
        is_ours = path in _CANCELLED if code.is_async else path.rpartition(".")[2] in _SIGNALS
        if path == "builtins.BaseException" or is_ours:
            return True
    return False


def _raises_again(handler: ast.ExceptHandler) -> bool:
    raised = (one.exc for one in inside(*handler.body) if isinstance(one, ast.Raise))
    return any(
        exc is None or (isinstance(exc, ast.Name) and exc.id == handler.name) for exc in raised
    )
