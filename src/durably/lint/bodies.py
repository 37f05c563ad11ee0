"""Which functions an argument gives to what runs them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from durably.lint.code import Assigned, Code
from durably.lint.meanings import Meanings, Method, Path
from durably.lint.operations import BINDING_DECORATORS

_MAX_DEPTH = 8
_MAX_LOOKS = 300
# What wraps a function: the arguments that it may be.
_BRANCHES = {"NamedParallelBranch": (1, "func"), "ParallelBranch": (0, "func")}


@dataclass(frozen=True, slots=True)
class Body:
    """A function on its way to what runs it.

    Attributes:
        node: the expression that gives it.
        place: the code that evaluates that.
        code: the function; `None` if it is none of this module.
        given: the arguments that it has been given already.
        first: which of its parameters the first argument is for that it has not been given.
    """

    node: ast.expr
    place: Code
    code: Code | None
    given: tuple[ast.expr, ...] = ()
    first: int = 0


def bodies_in(node: ast.expr | None, code: Code, meanings: Meanings) -> list[Body]:
    """Give every function that *node* may be or contain, where *code* evaluates it."""
    if node is None:
        return []
    return list(_Search(meanings).look(node, code, 0))


class _Search:
    def __init__(self, meanings: Meanings) -> None:
        self._meanings = meanings
        self._count = 0

    def look(self, node: ast.expr, code: Code, depth: int) -> Iterator[Body]:
        self._count += 1
        if depth > _MAX_DEPTH or self._count > _MAX_LOOKS:
            return
        look = _LOOKS.get(type(node), _Search.plain)
        yield from look(self, node, code, depth)

    def plain(self, node: ast.expr, code: Code, _depth: int) -> Iterator[Body]:
        match self._meanings.of(node, code):
            case Method(function):
                yield Body(node, code, function, first=1)
            case Code() as function if function.is_function:
                yield Body(node, code, function)
            case _:
                yield Body(node, code, None)

    def several(
        self, node: ast.List | ast.Set | ast.Tuple, code: Code, depth: int
    ) -> Iterator[Body]:
        for one in node.elts:
            yield from self.look(one, code, depth + 1)

    def starred(self, node: ast.Starred, code: Code, depth: int) -> Iterator[Body]:
        yield from self.look(node.value, code, depth + 1)

    def comprehension(
        self, node: ast.GeneratorExp | ast.ListComp | ast.SetComp, code: Code, depth: int
    ) -> Iterator[Body]:
        yield from self.look(node.elt, code, depth + 1)

    def choice(self, node: ast.IfExp, code: Code, depth: int) -> Iterator[Body]:
        yield from self.look(node.body, code, depth + 1)
        yield from self.look(node.orelse, code, depth + 1)

    def name(self, node: ast.Name, code: Code, depth: int) -> Iterator[Body]:
        found = code.find(node.id)
        match found:
            case (owner, [Assigned(value=ast.expr() as value)]):
                yield from self.look(value, owner, depth + 1)
            case _:
                yield from self.plain(node, code, depth)

    def call(self, node: ast.Call, code: Code, depth: int) -> Iterator[Body]:
        """Look through what wraps a function: `partial`, a named branch, a binding decorator."""
        called = self._meanings.of(node.func, code)
        path = called.names if isinstance(called, Path) and called.root is None else ""
        if path == "functools.partial" and node.args:
            positional = node.args[1:]
            given = (*positional, *(one.value for one in node.keywords))
            for body in self.look(node.args[0], code, depth + 1):
                first = body.first + len(positional)
                yield Body(body.node, body.place, body.code, (*body.given, *given), first)
        elif path.rpartition(".")[2] in _BRANCHES:
            index, name = _BRANCHES[path.rpartition(".")[2]]
            named = [one.value for one in node.keywords if one.arg == name]
            for inner in (named or node.args[index : index + 1])[:1]:
                yield from self.look(inner, code, depth + 1)
        elif isinstance(called, Code) and binds(called, self._meanings):
            yield Body(node, code, called, tuple(node.args))
        else:
            yield from self.plain(node, code, depth)


def binds(code: Code, meanings: Meanings) -> str | None:
    """Give the decorator by which a call of *code* only binds arguments, if it has one."""
    names = decorators_of(code, meanings)
    return next((name for name in names if name in BINDING_DECORATORS), None)


def decorators_of(code: Code, meanings: Meanings) -> list[str]:
    """Give the last names of the imported decorators of *code*."""
    around = code.parent
    if around is None:
        return []
    plain = (one.func if isinstance(one, ast.Call) else one for one in code.decorators)
    return [meanings.path(one, around).rpartition(".")[2] for one in plain]


_LOOKS: Mapping[type[ast.AST], Callable[[_Search, Any, Code, int], Iterator[Body]]] = {
    ast.Call: _Search.call,
    ast.GeneratorExp: _Search.comprehension,
    ast.IfExp: _Search.choice,
    ast.List: _Search.several,
    ast.ListComp: _Search.comprehension,
    ast.Name: _Search.name,
    ast.Set: _Search.several,
    ast.SetComp: _Search.comprehension,
    ast.Starred: _Search.starred,
    ast.Tuple: _Search.several,
}
