"""What calls what, in one module."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile

from durably.lint.bodies import binds, bodies_in, decorators_of
from durably.lint.code import Code, Module
from durably.lint.meanings import Meanings, Method, Parameter, Path

HANDLER_DECORATOR = "durable_execution"
_NAMED_BRANCH = "NamedParallelBranch"
_OFFICIAL_BRANCH = "ParallelBranch"  # that of the official SDK has its function first
# What calls the functions that it is given at once, or while it is gone through.
_CALLERS = frozenset(
    {
        *(f"builtins.{name}" for name in ("filter", "map", "max", "min", "sorted")),
        *("builtins.list().sort", "functools.reduce"),
    }
)
# Settings whose functions run in every replay, and whether they make names.
_REPLAYED_SETTINGS = {"error_mapper": False, "item_namer": True, "should_complete": False}


@dataclass(frozen=True, slots=True)
class Site:
    """A call, in *code*, of a function of this module.

    Attributes:
        given: the arguments that can be told, by the parameters of *callee*.
    """

    code: Code
    call: ast.Call
    callee: Code
    given: Mapping[str, ast.expr]


@dataclass(frozen=True, slots=True)
class Asked:
    """A call, in *code*, of something of a parameter: `ctx.step`, and *names* is `step`."""

    code: Code
    call: ast.Call
    names: str


class Calls:
    """Every call of *module* that says something.

    Attributes:
        sites: the calls of its own functions, by their nodes.
        of: the same, by what is called.
        inside: the same, by what calls.
        asked: the calls of something of a parameter, by the parameter.
        passed: by a parameter, those of other functions that it is given to.
        called_back: what functions run at once because code hands them to what calls them.
        handlers: functions that `durable_execution` is called with.
        namers: functions that make names of operations.
        branch_names: what names branches, and where.
    """

    def __init__(self, module: Module, meanings: Meanings) -> None:
        self._meanings = meanings
        self.sites: dict[ast.Call, Site] = {}
        self.of: dict[Code, list[Site]] = defaultdict(list)
        self.inside: dict[Code, list[Site]] = defaultdict(list)
        self.asked: dict[Parameter, list[Asked]] = defaultdict(list)
        self.passed: dict[Parameter, list[Parameter]] = defaultdict(list)
        self.called_back: dict[Code, list[tuple[Code, int]]] = defaultdict(list)
        self.handlers: list[Code] = []
        self.namers: set[Code] = set()
        self.branch_names: list[tuple[ast.expr, Code]] = []
        # What a call does not run.
        self._only_binding = {
            code
            for code in module.codes
            if HANDLER_DECORATOR in decorators_of(code, meanings) or binds(code, meanings)
        }
        for code in module.codes:
            for node in code.nodes:
                if isinstance(node, ast.Call):
                    self._read(code, node)

    def _read(self, code: Code, call: ast.Call) -> None:
        match self._meanings.of(call.func, code):
            case Path(names, Parameter() as root):
                self.asked[root].append(Asked(code, call, names))
            case Path(names):
                self._read_path(code, call, names)
            case Method(callee):
                self._add(code, call, callee, first=1)
            case Code() as callee if callee.is_class:
                self._read_class(code, call, callee)
            case Code() as callee:
                self._add(code, call, callee, first=0)
            case _:
                self._read_settings(code, call)

    def _read_class(self, code: Code, call: ast.Call, made: Code) -> None:
        for name in ("__init__", "__post_init__"):
            for callee in made.bindings.get(name, ())[-1:]:
                if isinstance(callee, Code):
                    self._add(code, call, callee, first=1)

    def _read_path(self, code: Code, call: ast.Call, names: str) -> None:
        last = names.rpartition(".")[2]
        if names in _CALLERS:
            for function in (*call.args, *(one.value for one in call.keywords)):
                self._call_back(code, call, function)
        elif last == HANDLER_DECORATOR:
            bodies = bodies_in(call.args[0] if call.args else None, code, self._meanings)
            self.handlers += [body.code for body in bodies if body.code is not None]
        elif last == _NAMED_BRANCH:
            named = [one.value for one in call.keywords if one.arg == "name"]
            self.branch_names += [(one, code) for one in (named or call.args)[:1]]
        elif last == _OFFICIAL_BRANCH:
            self.branch_names += [(one.value, code) for one in call.keywords if one.arg == "name"]
        else:
            self._read_settings(code, call)

    def _read_settings(self, code: Code, call: ast.Call) -> None:
        for keyword in call.keywords:
            makes_names = _REPLAYED_SETTINGS.get(keyword.arg or "")
            if makes_names is not None:
                called = self._call_back(code, call, keyword.value)
                self.namers |= {called} if makes_names and called is not None else set()

    def _call_back(self, code: Code, call: ast.Call, function: ast.expr) -> Code | None:
        match self._meanings.of(function, code):
            case Method(called) | (Code() as called) if called.is_function:
                self.called_back[code].append((called, call.lineno))
                return called
            case _:
                return None

    def _add(self, code: Code, call: ast.Call, callee: Code, *, first: int) -> None:
        if callee in self._only_binding:
            return
        plain = takewhile(lambda one: not isinstance(one, ast.Starred), call.args)
        given = dict(zip(callee.parameters[first:], plain, strict=False))
        given |= {one.arg: one.value for one in call.keywords if one.arg is not None}
        site = Site(code, call, callee, given)
        self.sites[call] = site
        self.of[callee].append(site)
        self.inside[code].append(site)
        for name, argument in given.items():
            parameter = self.whole(argument, code)
            if parameter is not None:
                self.passed[parameter].append(Parameter(callee, name))

    def parameter(self, site: Site, name: str) -> Parameter | None:
        """Give the parameter around a call that the parameter *name* of what is called becomes."""
        argument = site.given.get(name)
        return None if argument is None else self.whole(argument, site.code)

    def whole(self, node: ast.expr, code: Code) -> Parameter | None:
        """Give the parameter that *node* is, where *code* evaluates it."""
        meaning = self._meanings.of(node, code)
        return meaning.root if isinstance(meaning, Path) and not meaning.names else None
