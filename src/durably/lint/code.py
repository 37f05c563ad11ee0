"""The code of a module: its functions and classes, and what each of them binds to its names."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Step: TypeAlias = "tuple[ast.AST, Code]"


@dataclass(frozen=True, slots=True)
class Imported:
    """A name that an import has bound, and what it stands for, with dots."""

    path: str


@dataclass(frozen=True, slots=True)
class Assigned:
    """A name that was given *value*, or something unknown, and maybe a type."""

    value: ast.expr | None = None
    annotation: ast.expr | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A parameter."""

    name: str
    annotation: ast.expr | None
    default: ast.expr | None
    is_first: bool


class Code:
    """A module, a class, a function or a lambda: code that has names of its own.

    Attributes:
        node: what it was read from.
        name: what it is called; `lambda` has none.
        parent: the code around it; `None` for the module.
        parameters: the names of its positional parameters.
        bindings: everything that is bound to each of its names.
        nodes: what is evaluated when it runs, in the order of the text: without the bodies of the
            functions in it, and with their decorators and defaults.
        declared: its names that are `global` or `nonlocal`.
    """

    __slots__ = ("bindings", "declared", "name", "node", "nodes", "parameters", "parent")

    def __init__(self, node: ast.AST, name: str, parent: Code | None) -> None:
        self.node = node
        self.name = name
        self.parent = parent
        self.parameters: tuple[str, ...] = ()
        self.bindings: dict[str, list[Binding]] = {}
        self.nodes: list[ast.AST] = []
        self.declared: dict[str, type[ast.AST]] = {}

    @property
    def is_class(self) -> bool:
        """Whether it is the body of a class."""
        return isinstance(self.node, ast.ClassDef)

    @property
    def is_function(self) -> bool:
        """Whether it is called: a function, a method or a lambda."""
        return isinstance(self.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)

    @property
    def is_async(self) -> bool:
        """Whether it is an `async def`."""
        return isinstance(self.node, ast.AsyncFunctionDef)

    @property
    def decorators(self) -> list[ast.expr]:
        """What it is decorated with."""
        match self.node:
            case ast.AsyncFunctionDef() | ast.ClassDef() | ast.FunctionDef() as node:
                return node.decorator_list
            case _:
                return []

    def around(self) -> Iterator[Code]:
        """Give this code, and all around it, from the inside out."""
        code: Code | None = self
        while code is not None:
            yield code
            code = code.parent

    def find(self, name: str) -> tuple[Code, list[Binding]] | None:
        """Give the code that *name* belongs to where this code uses it, and what is bound to it."""
        for code in self.around():
            if name in code.declared or (code.is_class and code is not self):
                continue
            if name in code.bindings:
                return code, code.bindings[name]
        return None


Binding: TypeAlias = Imported | Assigned | Taken | Code
UNKNOWN = Assigned()


class Module:
    """All code of one module.

    Attributes:
        codes: every one, the module itself first.
        parents: the node around each node.
        of_node: the code that was read from a definition.
        imports: every path that is imported from anywhere in it.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.codes: list[Code] = []
        self.parents: dict[ast.AST, ast.AST] = {}
        self.of_node: dict[ast.AST, Code] = {}
        self.imports: set[str] = set()
        self._given: dict[ast.AST, Binding] = {}
        self.root = self._open(tree, "", None)
        self._read(tree)
        self._settle()

    def _read(self, tree: ast.Module) -> None:
        """Go through every node without recursion: valid text may be nested deeper than we can."""
        todo: list[Step] = [(statement, self.root) for statement in reversed(tree.body)]
        while todo:
            node, code = todo.pop()
            code.nodes.append(node)
            read = _READERS.get(type(node), _children)
            inside = list(read(self, node, code))
            self.parents.update((child, node) for child, _ in inside)
            todo += reversed(inside)

    def _settle(self) -> None:
        """Let assignments to `global` and `nonlocal` names count where these belong."""
        for code in self.codes:
            for name, kind in code.declared.items():
                if name in code.parameters or code.bindings.pop(name, None) is None:
                    continue
                found = None if code.parent is None else code.parent.find(name)
                owner = self.root if kind is ast.Global else found[0] if found else None
                if owner is not None:
                    self._bind(owner, name, UNKNOWN)

    def _open(self, node: ast.AST, name: str, parent: Code | None) -> Code:
        code = Code(node, name, parent)
        self.codes.append(code)
        self.of_node[node] = code
        return code

    def _bind(self, code: Code, name: str, binding: Binding) -> None:
        code.bindings.setdefault(name, []).append(binding)

    # What binds names, by the type of its node; each gives what to read next

    def read_function(self, node: Function, code: Code) -> Iterable[Step]:
        """Read a function: its body is code of its own, its decorators and defaults are not."""
        inner = self._open(node, node.name, code)
        self._bind(code, node.name, inner)
        self._take(node.args, inner)
        outside = [*node.decorator_list, *_defaults(node.args)]
        return [*((one, code) for one in outside), *((one, inner) for one in node.body)]

    def read_lambda(self, node: ast.Lambda, code: Code) -> Iterable[Step]:
        """Read a lambda, likewise."""
        inner = self._open(node, "", code)
        self._take(node.args, inner)
        return [*((one, code) for one in _defaults(node.args)), (node.body, inner)]

    def read_class(self, node: ast.ClassDef, code: Code) -> Iterable[Step]:
        """Read a class, likewise."""
        inner = self._open(node, node.name, code)
        self._bind(code, node.name, inner)
        outside = [*node.decorator_list, *node.bases, *(one.value for one in node.keywords)]
        return [*((one, code) for one in outside), *((one, inner) for one in node.body)]

    def read_import(self, node: ast.Import, code: Code) -> Iterable[Step]:
        """Read `import a.b`, which binds `a`, or `import a.b as c`."""
        for one in node.names:
            first = one.name.partition(".")[0]
            path = one.name if one.asname else first
            self._bind(code, one.asname or first, Imported(path))
            self.imports.add(one.name)
        return ()

    def read_import_from(self, node: ast.ImportFrom, code: Code) -> Iterable[Step]:
        """Read `from a import b`."""
        origin = "." * node.level + (node.module or "")
        for one in node.names:
            path = f"{origin}.{one.name}"
            self._bind(code, one.asname or one.name, Imported(path))
            self.imports.add(path)
        return ()

    def read_assignment(self, node: ast.Assign, code: Code) -> Iterable[Step]:
        """Read `a = b = …`, and `a, b = …` where each of them can be told."""
        for target in node.targets:
            self._give(target, node.value)
        return _children(self, node, code)

    def read_annotated(self, node: ast.AnnAssign, code: Code) -> Iterable[Step]:
        """Read `a: T = …`."""
        self._given[node.target] = Assigned(node.value, node.annotation)
        return [(one, code) for one in (node.target, node.value) if one is not None]

    def read_walrus(self, node: ast.NamedExpr, code: Code) -> Iterable[Step]:
        """Read `(a := …)`."""
        self._give(node.target, node.value)
        return _children(self, node, code)

    def read_with_item(self, node: ast.withitem, code: Code) -> Iterable[Step]:
        """Read `with … as a`: most things that can be entered give themselves."""
        if node.optional_vars is not None:
            self._give(node.optional_vars, node.context_expr)
        return _children(self, node, code)

    def read_augmented(self, node: ast.AugAssign, code: Code) -> Iterable[Step]:
        """Read `a += …`, which leaves `a` what it was, as far as we look."""
        if isinstance(node.target, ast.Name) and node.target.id not in code.declared:
            return [(node.value, code)]
        return _children(self, node, code)

    def read_name(self, node: ast.Name, code: Code) -> Iterable[Step]:
        """Read a name; where it is bound, by what was given to it."""
        if not isinstance(node.ctx, ast.Load):
            self._bind(code, node.id, self._given.pop(node, UNKNOWN))
        return ()

    def read_declaration(self, node: ast.Global | ast.Nonlocal, code: Code) -> Iterable[Step]:
        """Read `global a` and `nonlocal a`."""
        if code is not self.root:
            code.declared.update(dict.fromkeys(node.names, type(node)))
        return ()

    def read_capture(self, node: ast.AST, code: Code) -> Iterable[Step]:
        """Read `except … as a`, and the captures of `match`."""
        name = getattr(node, "name", None) or getattr(node, "rest", None)
        if name is not None:
            self._bind(code, name, UNKNOWN)
        return _children(self, node, code)

    def _take(self, arguments: ast.arguments, inner: Code) -> None:
        positional = [*arguments.posonlyargs, *arguments.args]
        missing = len(positional) - len(arguments.defaults)
        defaults = [None] * missing + arguments.defaults
        inner.parameters = tuple(one.arg for one in positional)
        pairs = [*zip(positional, defaults, strict=True)]
        pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        for index, (one, default) in enumerate(pairs):
            is_first = index == 0 and bool(positional)
            inner.bindings[one.arg] = [Taken(one.arg, one.annotation, default, is_first)]
        for rest in filter(None, (arguments.vararg, arguments.kwarg)):
            inner.bindings[rest.arg] = [UNKNOWN]

    def _give(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._given[target] = Assigned(value)
        elif isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
            has_star = any(isinstance(one, ast.Starred) for one in (*target.elts, *value.elts))
            if len(target.elts) == len(value.elts) and not has_star:
                for inner, part in zip(target.elts, value.elts, strict=True):
                    if isinstance(inner, ast.Name):
                        self._given[inner] = Assigned(part)


def _children(_module: Module, node: ast.AST, code: Code) -> Iterable[Step]:
    return [(child, code) for child in ast.iter_child_nodes(node)]


def _defaults(arguments: ast.arguments) -> list[ast.expr]:
    return [*arguments.defaults, *(one for one in arguments.kw_defaults if one is not None)]


_READERS: Mapping[type[ast.AST], Callable[[Module, Any, Code], Iterable[Step]]] = {
    ast.AnnAssign: Module.read_annotated,
    ast.Assign: Module.read_assignment,
    ast.AsyncFunctionDef: Module.read_function,
    ast.AugAssign: Module.read_augmented,
    ast.ClassDef: Module.read_class,
    ast.ExceptHandler: Module.read_capture,
    ast.FunctionDef: Module.read_function,
    ast.Global: Module.read_declaration,
    ast.Import: Module.read_import,
    ast.ImportFrom: Module.read_import_from,
    ast.Lambda: Module.read_lambda,
    ast.MatchAs: Module.read_capture,
    ast.MatchMapping: Module.read_capture,
    ast.MatchStar: Module.read_capture,
    ast.Name: Module.read_name,
    ast.NamedExpr: Module.read_walrus,
    ast.Nonlocal: Module.read_declaration,
    ast.withitem: Module.read_with_item,
}
