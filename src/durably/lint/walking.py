"""Ways through a syntax tree, without recursion: valid text may be nested deeper than we can."""

from __future__ import annotations

import ast
from collections.abc import Iterator

FUNCTIONS = (ast.AsyncFunctionDef, ast.FunctionDef, ast.Lambda)


def inside(*nodes: ast.AST) -> Iterator[ast.AST]:
    """Give *nodes*, and what is evaluated with them: not the bodies of functions in them."""
    todo = list(reversed(nodes))
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, FUNCTIONS):
            todo += reversed(list(ast.iter_child_nodes(node)))
