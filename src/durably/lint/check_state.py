"""State that a replay does not make again, or that outlives an execution."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from durably.lint import rules
from durably.lint.code import Assigned, Binding, Code, Taken
from durably.lint.findings import Finding
from durably.lint.meanings import CONTAINERS
from durably.lint.reading import Reading
from durably.lint.roles import Use
from durably.lint.walking import inside

_CHANGING = frozenset(
    {
        *("add", "append", "appendleft", "clear", "difference_update", "discard", "extend"),
        *("extendleft", "insert", "intersection_update", "pop", "popitem", "popleft", "remove"),
        *("reverse", "rotate", "setdefault", "sort", "symmetric_difference_update", "update"),
    }
)
# Settings by which a body runs in every replay.
_REPEATING = frozenset({"is_virtual", "wrap_with_run_in_child_context"})


@dataclass(frozen=True, slots=True)
class Change:
    """Something done, by *node*, to what *name* stands for, or to the name itself."""

    node: ast.expr | ast.stmt
    name: str
    kind: Literal["part", "method", "name"]


def check_closures(reading: Reading) -> Iterator[Finding]:
    """Find bodies that change what only their first run changes."""
    for use in reading.roles.uses:
        if use.call not in reading.roles.bodies or _is_repeated(use):
            continue
        for body in reading.roles.bodies[use.call]:
            match body.node:
                case ast.Attribute(ast.Name(id=name), attr) if attr in _CHANGING:
                    changes = [Change(body.node, name, "method")]
                    yield from _of_closure(reading, changes, body.place, body.place)
                case _ if body.code is not None:
                    around = body.code.parent
                    inner = _changes(reading, body.code)
                    yield from _of_closure(reading, inner, body.code, around)
                case _:
                    pass


def _is_repeated(use: Use) -> bool:
    """Whether an operation is configured, here or in a variable, to repeat its body."""
    arguments = (*use.call.args, *(one.value for one in use.call.keywords))
    bound = (use.code.find(one.id) for one in arguments if isinstance(one, ast.Name))
    bindings = (binding for found in bound if found is not None for binding in found[1])
    made = (one.value for one in bindings if isinstance(one, Assigned))
    configs = (one for one in made if isinstance(one, ast.Call))
    return any(
        isinstance(one, ast.keyword) and one.arg in _REPEATING for one in inside(use.call, *configs)
    )


def _of_closure(
    reading: Reading, changes: Iterable[Change], code: Code, around: Code | None
) -> Iterator[Finding]:
    """Find *changes*, made in *code*, of what belongs to replayed code from *around* outwards."""
    outer: set[Code | None] = set() if around is None else set(around.around())
    for change in changes:
        found = code.find(change.name)
        owner = None if found is None else found[0]
        if owner not in outer or owner not in reading.roles.replayed:
            continue
        if change.kind != "method" or _is_container(reading, change.name, code):
            words = {"name": change.name, "owner": owner.name or "lambda"}
            yield reading.found(rules.CLOSURE, change.node, code, **words)


def check_shared_state(reading: Reading) -> Iterator[Finding]:
    """Find changes of what outlives an execution: of modules, and of defaults."""
    for code in reading.roles.replayed:
        for change in _changes(reading, code):
            found = code.find(change.name)
            if found is None or not _is_shared(reading, *found) or _is_made_once(reading, change):
                continue
            if change.kind != "method" or _is_container(reading, change.name, code):
                yield reading.found(rules.GLOBAL_STATE, change.node, code, name=change.name)


def _is_shared(reading: Reading, owner: Code, bindings: list[Binding]) -> bool:
    default = bindings[0].default if isinstance(bindings[0], Taken) else None
    if default is not None:
        return reading.meanings.of(default, owner) in CONTAINERS
    return owner is reading.module.root


def _is_made_once(reading: Reading, change: Change) -> bool:
    """Whether something is made where there was none, and no operation depends on that."""
    around = reading.module.parents.get(change.node)
    if (
        change.kind != "name"
        or not isinstance(around, ast.If)
        or around in reading.around_operations
    ):
        return False
    match around.test:
        case ast.Compare(ast.Name(id=name), [ast.Is()], [ast.Constant(None)]):
            return name == change.name
        case ast.UnaryOp(ast.Not(), ast.Name(id=name)):
            return name == change.name
        case _:
            return False


def _is_container(reading: Reading, name: str, code: Code) -> bool:
    meaning = reading.meanings.of_name(name, code)
    found = code.find(name)
    default = found[1][0] if found is not None else None
    if isinstance(default, Taken) and default.default is not None:
        meaning = reading.meanings.of(default.default, code)
    return meaning in CONTAINERS


def _changes(reading: Reading, code: Code) -> Iterator[Change]:
    for node in code.nodes:
        match node:
            case ast.Attribute() | ast.Subscript() if not isinstance(node.ctx, ast.Load):
                name = _root(node)
                if name is not None:
                    parent = reading.module.parents.get(node)
                    yield Change(parent if isinstance(parent, ast.stmt) else node, name, "part")
            case ast.Name(id=name) if name in code.declared and not isinstance(node.ctx, ast.Load):
                parent = reading.module.parents.get(node)
                yield Change(parent if isinstance(parent, ast.stmt) else node, name, "name")
            case ast.Call(func=ast.Attribute(ast.Name(id=name), attr)) if attr in _CHANGING:
                yield Change(node, name, "method")
            case _:
                pass


def _root(node: ast.expr) -> str | None:
    """Give the name that a chain of attributes and items begins with."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
