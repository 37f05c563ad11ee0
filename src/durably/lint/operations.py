"""Which operations a context has, where their arguments are, and what runs what they are given."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Runs(Enum):
    """How an operation runs a function."""

    AS_STEP = "step"
    IN_CHILD = "body"


@dataclass(frozen=True, slots=True)
class Shape:
    """Where the arguments of an operation are, from 0; `None` is nowhere.

    Attributes:
        name: what names it.
        body: the function, or the functions, that it runs.
        runs: how it runs those.
        items: what it goes through in order.
    """

    name: int | None = 0
    body: int | None = None
    runs: Runs = Runs.AS_STEP
    items: int | None = None


DURABLY: Mapping[str, Shape] = {
    "step": Shape(body=1),
    "wait": Shape(),
    "invoke": Shape(),
    "create_callback": Shape(),
    "wait_for_callback": Shape(body=1),
    "wait_for_condition": Shape(body=1),
    "run_in_child_context": Shape(body=1, runs=Runs.IN_CHILD),
    "map": Shape(body=2, runs=Runs.IN_CHILD, items=1),
    "parallel": Shape(body=1, runs=Runs.IN_CHILD, items=1),
    "execute_concurrently": Shape(body=2, runs=Runs.IN_CHILD, items=1),
    "with_retry": Shape(body=1, runs=Runs.IN_CHILD),
    "all": Shape(body=1, runs=Runs.IN_CHILD, items=1),
    "any": Shape(body=1, runs=Runs.IN_CHILD, items=1),
    "race": Shape(body=1, runs=Runs.IN_CHILD, items=1),
    "all_settled": Shape(body=1, runs=Runs.IN_CHILD, items=1),
}
OFFICIAL: Mapping[str, Shape] = {
    "step": Shape(name=1, body=0),
    "wait": Shape(name=1),
    "invoke": Shape(name=2),
    "create_callback": Shape(),
    "wait_for_callback": Shape(name=1, body=0),
    "wait_for_condition": Shape(name=2, body=0),
    "run_in_child_context": Shape(name=1, body=0, runs=Runs.IN_CHILD),
    "map": Shape(name=2, body=1, runs=Runs.IN_CHILD, items=0),
    "parallel": Shape(name=1, body=0, runs=Runs.IN_CHILD, items=0),
}
DRAWS = frozenset({"random", "uuid4"})
"""What draws the next value of a context: the order of these calls is the order of the values."""

OFFICIAL_PACKAGE = "aws_durable_execution_sdk_python"
# Decorators of the official SDK. What they make gets its first argument when the operation runs it.
BINDING_DECORATORS: Mapping[str, Runs] = {
    "durable_parallel_branch": Runs.IN_CHILD,
    "durable_step": Runs.AS_STEP,
    "durable_wait_for_callback": Runs.AS_STEP,
    "durable_with_child_context": Runs.IN_CHILD,
}

_BODY_NAMES = frozenset({"branches", "check", "executor", "fn", "func", "functions", "submitter"})
_ITEMS_NAMES = frozenset({"branches", "futures", "inputs", "items"})


def shapes_for(imports: set[str]) -> Mapping[str, Shape]:
    """Give the operations of the SDK that a module with these *imports* uses."""
    packages = {path.partition(".")[0] for path in imports}
    return OFFICIAL if OFFICIAL_PACKAGE in packages and "durably" not in packages else DURABLY


def name_of(call: ast.Call, shape: Shape) -> ast.expr | None:
    """Give the argument that names an operation."""
    return _argument(call, shape.name, frozenset({"name"}))


def body_of(call: ast.Call, shape: Shape) -> ast.expr | None:
    """Give the argument that an operation runs."""
    return _argument(call, shape.body, _BODY_NAMES)


def items_of(call: ast.Call, shape: Shape) -> ast.expr | None:
    """Give the argument that an operation goes through in order."""
    return _argument(call, shape.items, _ITEMS_NAMES)


def passed_to(call: ast.Call, shape: Shape) -> list[ast.expr]:
    """Give what an operation passes on to its body."""
    takes_more = shape.body is not None and shape.items is None
    return call.args[shape.body + 1 :] if takes_more and shape.body is not None else []


def _argument(call: ast.Call, index: int | None, names: frozenset[str]) -> ast.expr | None:
    if index is None:
        return None
    named = next((one.value for one in call.keywords if one.arg in names), None)
    if named is not None:
        return named
    before = call.args[: index + 1]
    is_there = len(before) > index and not any(isinstance(one, ast.Starred) for one in before)
    return before[index] if is_there else None
