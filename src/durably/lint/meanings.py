"""What an expression stands for, as far as the text of one module says."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from durably.lint.code import Assigned, Binding, Code, Imported, Module, Taken
from durably.lint.impure import is_known

_MAX_DEPTH = 24
_MAX_PATH = 160


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a function is called with, under one of its names."""

    code: Code
    name: str


@dataclass(frozen=True, slots=True)
class Path:
    """What is reached from an imported name, a builtin or a parameter, with `()` for calls.

    `httpx.Client().get` is the method of an instance; of a parameter, *names* are what follows it.
    """

    names: str
    root: Parameter | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """An object of a class of this module."""

    of: Code


@dataclass(frozen=True, slots=True)
class Method:
    """A method of this module, of an instance: its first parameter is given."""

    code: Code


Meaning: TypeAlias = Path | Code | Instance | Method

SET = Path("builtins.set()")
LIST = Path("builtins.list()")
DICT = Path("builtins.dict()")
CONTAINERS = frozenset(
    {
        *(SET, LIST, DICT),
        *(Path(f"collections.{name}()") for name in ("Counter", "OrderedDict", "defaultdict")),
        Path("collections.deque()"),
    }
)
_CONTEXT_TYPES = frozenset({"DurableContext()", "SyncDurableContext()"})

# Paths that mean the same as another.
_SAME = {
    "builtins.frozenset": "builtins.set",
    "collections.abc.MutableSet": "builtins.set",
    "collections.abc.Set": "builtins.set",
    "io.open": "builtins.open",
    "pathlib.Path().joinpath()": "pathlib.Path()",
    "pathlib.Path().parent": "pathlib.Path()",
    "pathlib.Path.cwd()": "pathlib.Path()",
    "pathlib.Path.home()": "pathlib.Path()",
    "typing.AbstractSet": "builtins.set",
    "typing.Dict": "builtins.dict",
    "typing.FrozenSet": "builtins.set",
    "typing.List": "builtins.list",
    "typing.Set": "builtins.set",
    **{
        f"builtins.set().{method}()": "builtins.set()"
        for method in ("copy", "difference", "intersection", "symmetric_difference", "union")
    },
}
_ANYTHING = frozenset({Path("typing.Any()"), Path("builtins.object()")})
_WRAPPERS = {"typing.Annotated", "typing.ClassVar", "typing.Final", "typing.Optional"}
_SET_OPERATORS = (ast.BitAnd, ast.BitOr, ast.BitXor, ast.Sub)
_VIEWS = {"items", "keys"}


class Meanings:
    """Says what expressions of *module* stand for; `None` where that is not certain."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._known: dict[tuple[Code, str], Meaning | None] = {}
        self._members: dict[tuple[Code, str], Binding | None] = {}
        self._stars = sorted(path[:-1] for path in module.imports if path.endswith(".*"))

    def of(self, node: ast.AST, code: Code, depth: int = 0) -> Meaning | None:
        """Give the meaning of *node* where *code* evaluates it."""
        read = _READERS.get(type(node))
        return None if read is None or depth > _MAX_DEPTH else read(self, node, code, depth)

    def path(self, node: ast.AST, code: Code) -> str:
        """Give the path of what *node* stands for; empty unless it is one without a root."""
        meaning = self.of(node, code)
        return meaning.names if isinstance(meaning, Path) and meaning.root is None else ""

    def of_name(self, name: str, code: Code, depth: int = 0) -> Meaning | None:
        """Give the meaning of a name."""
        found = code.find(name)
        if found is None:
            return self._outside(name)
        owner, bindings = found
        key = (owner, name)
        if key in self._known:
            return self._known[key]
        self._known[key] = None  # a name that leads to itself means nothing
        self._known[key] = self._bound(name, bindings, owner, depth)
        return self._known[key]

    def _outside(self, name: str) -> Meaning | None:
        if hasattr(builtins, name):
            return _path(f"builtins.{name}")
        paths = [f"{star}{name}" for star in self._stars]
        # Any of several modules may have the name: it is of one that a rule knows it of.
        return next((Path(path) for path in (*filter(is_known, paths), *paths)), None)

    def _bound(self, name: str, bindings: list[Binding], owner: Code, depth: int) -> Meaning | None:
        """Give what all that is bound to a name agrees on; `None` is no more than a stand-in."""
        telling = [one for one in bindings if not _is_none(one)]
        if telling and all(isinstance(one, Code) for one in telling):
            telling = telling[-1:]
        meanings = {self._binding(name, one, owner, depth + 1) for one in telling}
        return meanings.pop() if len(meanings) == 1 else None

    def _binding(self, name: str, binding: Binding, owner: Code, depth: int) -> Meaning | None:
        match binding:
            case Imported(path):
                return _path(path)
            case Code():
                return binding
            case Assigned(value, annotation):
                said = None if annotation is None else self.typed(annotation, owner, depth)
                return said or (None if value is None else self.of(value, owner, depth))
            case Taken():
                return self._taken(name, binding, owner, depth)

    def _taken(self, name: str, taken: Taken, owner: Code, depth: int) -> Meaning | None:
        around = owner.parent
        whole = Path("", Parameter(owner, name))
        if taken.annotation is not None and around is not None:
            meaning = self.typed(taken.annotation, around, depth)
            is_known = meaning is not None and meaning not in _ANYTHING
            return meaning if is_known and not is_context(meaning) else whole
        if taken.is_first and around is not None and self.has_self(owner):
            is_of_class = "builtins.classmethod" in self._kinds(owner, around)
            return around if is_of_class else Instance(around)
        return whole

    def has_self(self, code: Code) -> bool:
        """Whether the first parameter of *code* is the object, or the class, it is called on."""
        around = code.parent
        if around is None or not around.is_class:
            return False
        return "builtins.staticmethod" not in self._kinds(code, around)

    def _kinds(self, code: Code, around: Code) -> set[str]:
        return {self.path(one, around) for one in code.decorators}

    def typed(self, annotation: ast.AST, code: Code, depth: int = 0) -> Meaning | None:
        """Give what an object of the annotated type is."""
        if depth > _MAX_DEPTH:
            return None
        match annotation:
            case ast.Constant(value=str() as text):
                inner = _parsed(text)
                return None if inner is None else self.typed(inner, code, depth + 1)
            case ast.Subscript(value, part):
                return self._typed_of(value, part, code, depth + 1)
            case ast.BinOp(op=ast.BitOr()):
                sides = (annotation.left, annotation.right)
                others = [one for one in sides if not _is_constant_none(one)]
                return self.typed(others[0], code, depth + 1) if len(others) == 1 else None
            case _:
                return _made(self.of(annotation, code, depth + 1))

    def _typed_of(self, outer: ast.expr, part: ast.expr, code: Code, depth: int) -> Meaning | None:
        """Give what an object of the annotated type `outer[part]` is."""
        path = self.path(outer, code)
        if path in _WRAPPERS:
            first = part.elts[0] if isinstance(part, ast.Tuple) and part.elts else part
            return self.typed(first, code, depth)
        if path == "builtins.set" and self.path(part, code) == "builtins.int":
            return None  # whole numbers have the same order everywhere
        return self.typed(outer, code, depth)

    # Expressions, by the type of their node

    def read_name(self, node: ast.Name, code: Code, depth: int) -> Meaning | None:
        """Read a name."""
        return self.of_name(node.id, code, depth)

    def read_attribute(self, node: ast.Attribute, code: Code, depth: int) -> Meaning | None:
        """Read what is asked of something."""
        match self.of(node.value, code, depth + 1):
            case Path(names, root):
                return _path(f"{names}.{node.attr}", root)
            case Instance(of):
                return self._of_instance(of, node.attr, depth + 1)
            case Code() as owner if owner.is_class:
                found = self._member(owner, node.attr, depth + 1)
                return found if isinstance(found, Code) else None
            case _:
                return None

    def read_call(self, node: ast.Call, code: Code, depth: int) -> Meaning | None:
        """Read what a call gives."""
        called = self.of(node.func, code, depth + 1)
        function = called.code if isinstance(called, Method) else called
        if not isinstance(function, Code) or function.is_class:
            return _made(called)
        returns: ast.expr | None = getattr(function.node, "returns", None)
        if returns is None or function.parent is None or function.decorators:
            return None
        return self.typed(returns, function.parent, depth + 1)

    def read_inner(self, node: ast.Await | ast.NamedExpr, code: Code, depth: int) -> Meaning | None:
        """Read what stands for its inner value."""
        return self.of(node.value, code, depth + 1)

    def read_lambda(self, node: ast.Lambda, _code: Code, _depth: int) -> Meaning | None:
        """Read a lambda."""
        return self._module.of_node.get(node)

    def read_operator(self, node: ast.BinOp, code: Code, depth: int) -> Meaning | None:
        """Read what stays a path or a set."""
        left = self.of(node.left, code, depth + 1)
        if left == Path("pathlib.Path()") and isinstance(node.op, ast.Div):
            return left
        if not isinstance(node.op, _SET_OPERATORS):
            return None
        is_set = left == SET or _is_view(node.left) or _is_view(node.right)
        return SET if is_set or self.of(node.right, code, depth + 1) == SET else None

    def read_set(self, node: ast.Set | ast.SetComp, _code: Code, _depth: int) -> Meaning | None:
        """Read a set; whole numbers have the same order everywhere."""
        if isinstance(node, ast.Set) and all(_is_number(one) for one in node.elts):
            return None
        return SET

    def read_list(self, _node: ast.AST, _code: Code, _depth: int) -> Meaning | None:
        """Read a list."""
        return LIST

    def read_dict(self, _node: ast.AST, _code: Code, _depth: int) -> Meaning | None:
        """Read a dictionary."""
        return DICT

    def _of_instance(self, of: Code, name: str, depth: int) -> Meaning | None:
        match self._member(of, name, depth):
            case Code() as found if found.is_function:
                kinds = self._kinds(found, of)
                if kinds & {"builtins.property", "functools.cached_property"}:
                    return None
                return found if "builtins.staticmethod" in kinds else Method(found)
            case Assigned(annotation=ast.expr() as annotation):
                return self.typed(annotation, of, depth)
            case _:
                return None

    def _member(self, of: Code, name: str, depth: int) -> Binding | None:
        """Find what a class, or one of this module that it derives from, binds to a name."""
        key = (of, name)
        if key not in self._members:
            self._members[key] = None  # a class that derives from itself inherits nothing
            own = of.bindings.get(name, [])
            self._members[key] = own[-1] if own else self._inherited(of, name, depth)
        return self._members[key]

    def _inherited(self, of: Code, name: str, depth: int) -> Binding | None:
        bases = of.node.bases if isinstance(of.node, ast.ClassDef) else []
        for base in bases if depth < _MAX_DEPTH else []:
            meaning = self.of(base, of.parent or of, depth + 1)
            if isinstance(meaning, Code) and meaning.is_class:
                found = self._member(meaning, name, depth + 1)
                if found is not None:
                    return found
        return None


def is_context(meaning: Meaning | None) -> bool:
    """Whether an object is a durable context, by its type."""
    names = meaning.names if isinstance(meaning, Path) and meaning.root is None else ""
    return names.rpartition(".")[2] in _CONTEXT_TYPES


def _path(names: str, root: Parameter | None = None) -> Path | None:
    if len(names) > _MAX_PATH:
        return None
    return Path(names.removeprefix(".") if root else _SAME.get(names, names), root)


def _made(called: Meaning | None) -> Meaning | None:
    """Give what a call of *called* gives: an object, or what stands for one."""
    match called:
        case Path(names, root):
            return _path(f"{names}()", root)
        case Code() as made if made.is_class:
            return Instance(made)
        case _:
            return None


def _parsed(text: str) -> ast.expr | None:
    try:
        return ast.parse(text, mode="eval").body if len(text) <= _MAX_PATH else None
    except (SyntaxError, ValueError):
        return None


def _is_none(binding: Binding) -> bool:
    """Whether a binding only stands in for another one: it says neither a value nor a type."""
    if not isinstance(binding, Assigned) or binding.annotation is not None:
        return False
    return _is_constant_none(binding.value)


def _is_constant_none(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int)


def _is_view(node: ast.AST) -> bool:
    """Whether *node* is `….keys()` or `….items()`, which operators make sets of."""
    is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return is_call and node.func.attr in _VIEWS and not node.args  # type: ignore[attr-defined]  # it is one


_READERS: Mapping[type[ast.AST], Callable[[Meanings, Any, Code, int], Meaning | None]] = {
    ast.Attribute: Meanings.read_attribute,
    ast.Await: Meanings.read_inner,
    ast.BinOp: Meanings.read_operator,
    ast.Call: Meanings.read_call,
    ast.Dict: Meanings.read_dict,
    ast.DictComp: Meanings.read_dict,
    ast.Lambda: Meanings.read_lambda,
    ast.List: Meanings.read_list,
    ast.ListComp: Meanings.read_list,
    ast.Name: Meanings.read_name,
    ast.NamedExpr: Meanings.read_inner,
    ast.Set: Meanings.read_set,
    ast.SetComp: Meanings.read_set,
}
