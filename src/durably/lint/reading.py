"""One module, read: its text, its code, and when that runs. What every check works on."""

from __future__ import annotations

import ast
from functools import cached_property

from durably.lint.calls import Calls
from durably.lint.code import Code, Module
from durably.lint.findings import Finding, Text
from durably.lint.meanings import Meanings, Parameter, Path
from durably.lint.operations import DRAWS, OFFICIAL, shapes_for
from durably.lint.roles import Roles
from durably.lint.rules import Rule
from durably.lint.walking import FUNCTIONS

Place = ast.expr | ast.stmt | ast.excepthandler


class Reading:
    """A module as the checks see it.

    Attributes:
        path: the file, as it was named.
        text: what stands in it.
        module: its code.
        meanings: what its expressions stand for.
        calls: what calls what in it.
        shapes: the operations of the SDK that it uses.
        roles: when its code runs.
    """

    def __init__(self, path: str, text: Text, tree: ast.Module) -> None:
        self.path = path
        self.text = text
        self.module = Module(tree)
        self.meanings = Meanings(self.module)
        self.calls = Calls(self.module, self.meanings)
        self.shapes = shapes_for(self.module.imports)
        self.roles = Roles(self.module, self.meanings, self.calls, self.shapes)

    @property
    def is_official(self) -> bool:
        """Whether it uses the official SDK, whose operations all block."""
        return self.shapes is OFFICIAL

    @cached_property
    def around_operations(self) -> set[ast.AST]:
        """Every node in which an operation is called or awaited."""
        todo: list[ast.AST] = [use.call for use in self.roles.uses if use.operation not in DRAWS]
        todo += (
            node
            for code in self.module.codes
            for node in code.nodes
            if isinstance(node, ast.Await) and self._is_of_context(node, code)
        )
        around: set[ast.AST] = set()
        for node in todo:
            outer: ast.AST | None = node
            while outer is not None and outer not in around and not isinstance(outer, FUNCTIONS):
                around.add(outer)
                outer = self.module.parents.get(outer)
        return around

    def _is_of_context(self, node: ast.Await, code: Code) -> bool:
        match self.meanings.of(node.value, code):
            case Path(_, Parameter() as root):
                return self.roles.is_context(root)
            case _:
                return False

    def found(self, rule: Rule, node: Place, code: Code, **words: str) -> Finding:
        """Say that *node*, which *code* runs, breaks *rule*; *words* are for its texts."""
        start, end = self.text.span(node)
        fields = {"it": self.text.excerpt(node), "ctx": self.roles.context_name(code), **words}
        instead = rule.elsewhere if self.is_official and rule.elsewhere else rule.instead
        return Finding(
            self.path,
            node.lineno,
            start + 1,
            rule.id,
            f"{rule.wrong.format_map(fields)}{self._because(code)}.",
            instead.format_map(fields),
            self.text.line(node.lineno),
            max(end - start, 1),
        )

    def _because(self, code: Code) -> str:
        """Say who calls *code*, if that is not plain to see."""
        caller = self.roles.replayed.get(code)
        if caller is None or not code.name or not caller.code.name:
            return ""
        return f"; `{caller.code.name}` calls `{code.name}` in line {caller.line}"
