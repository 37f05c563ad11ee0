"""Contexts where they do not belong: in steps, in the bodies of others, in tasks and threads."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from durably.lint import rules
from durably.lint.bodies import Body, bodies_in
from durably.lint.code import Code
from durably.lint.findings import Finding
from durably.lint.meanings import Parameter, Path
from durably.lint.operations import Runs, passed_to
from durably.lint.reading import Reading
from durably.lint.roles import RESULT
from durably.lint.rules import Rule

_RULES: dict[Runs, Rule] = {Runs.AS_STEP: rules.IN_STEP, Runs.IN_CHILD: rules.OUTER_CONTEXT}
# What runs coroutines beside each other.
_TASKS = frozenset(
    {
        *(f"asyncio.{name}" for name in ("as_completed", "create_task", "ensure_future", "gather")),
        *("asyncio.TaskGroup().create_task", "asyncio.run_coroutine_threadsafe", "asyncio.wait"),
    }
)
# What runs a function beside the code that calls it: where that argument is.
_THREADS = {
    "anyio.create_task_group().start_soon": 0,
    "anyio.to_thread.run_sync": 0,
    "asyncio.get_event_loop().run_in_executor": 1,
    "asyncio.get_running_loop().run_in_executor": 1,
    "asyncio.to_thread": 0,
    "concurrent.futures.ThreadPoolExecutor().map": 0,
    "concurrent.futures.ThreadPoolExecutor().submit": 0,
    "threading.Thread": 1,
    "threading.Timer": 1,
}


def check_contexts(reading: Reading) -> Iterator[Finding]:
    """Find contexts that are used inside of a step, or of a body that has its own."""
    for use in reading.roles.uses:
        runs = reading.roles.crossed(use.code, use.context)
        is_awaited_only = use.operation == RESULT and runs is Runs.IN_CHILD
        if runs is not None and not is_awaited_only:
            yield reading.found(_RULES[runs], use.call, use.code, owner=_owner(use.context))
    for use in reading.roles.uses:
        shape = reading.shapes.get(use.operation)
        if shape is None:
            continue
        bodies = reading.roles.bodies.get(use.call, ())
        given = [one for body in bodies for one in body.given]
        for argument in (*passed_to(use.call, shape), *given):
            context = reading.calls.whole(argument, use.code)
            if context is not None and reading.roles.is_context(context):
                rule = _RULES[shape.runs]
                yield reading.found(rule, argument, use.code, owner=_owner(context))


def check_concurrency(reading: Reading) -> Iterator[Finding]:
    """Find operations that are called from tasks or threads of the user's."""
    using = {use.call for use in reading.roles.uses if not use.operation}
    used_in: dict[Code, set[Parameter]] = defaultdict(set)
    for use in reading.roles.uses:
        used_in[use.code].add(use.context)
    for code in reading.module.codes:
        for node in code.nodes:
            path = reading.meanings.path(node.func, code) if isinstance(node, ast.Call) else ""
            if not isinstance(node, ast.Call):
                continue
            if path in _TASKS:
                started = [one for given in node.args for one in _bodies(reading, given, code)]
                found = [one for one in started if one.node in using]
            elif path in _THREADS:
                found = _threads(reading, node, code, _THREADS[path], used_in)
            else:
                continue
            yield from (reading.found(rules.CONCURRENT, one.node, one.place) for one in found)


def _threads(
    reading: Reading,
    call: ast.Call,
    code: Code,
    index: int,
    used_in: Mapping[Code, set[Parameter]],
) -> list[Body]:
    """Give what *call* runs in a thread although it uses a context."""
    named = [one.value for one in call.keywords if one.arg in {"function", "target"}]
    functions = named or call.args[index : index + 1]
    others = [*call.args[index + 1 :], *(one.value for one in call.keywords)]
    passes_context = any(
        reading.roles.is_context(reading.calls.whole(part, code))
        for other in others
        for part in (other.elts if isinstance(other, ast.List | ast.Tuple) else [other])
    )
    found: list[Body] = []
    for body in (one for function in functions for one in _bodies(reading, function, code)):
        contexts: AbstractSet[Parameter] = frozenset() if body.code is None else used_in[body.code]
        takes_one = any(context.code is body.code for context in contexts)
        has_one = any(context.code is not body.code for context in contexts)
        if has_one or (takes_one and passes_context) or _is_operation(reading, body):
            found.append(body)
    return found


def _bodies(reading: Reading, node: ast.expr, code: Code) -> list[Body]:
    return bodies_in(node, code, reading.meanings)


def _is_operation(reading: Reading, body: Body) -> bool:
    """Whether a function is an operation itself, such as `ctx.step`."""
    match reading.meanings.of(body.node, body.place):
        case Path(names, Parameter() as root):
            return names in reading.shapes and reading.roles.is_context(root)
        case _:
            return False


def _owner(context: Parameter) -> str:
    return context.code.name or "lambda"
