"""When code runs: in every replay, inside of a step, or in a body with a context of its own."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from durably.lint.bodies import Body, binds, bodies_in, decorators_of
from durably.lint.calls import HANDLER_DECORATOR, Asked, Calls
from durably.lint.code import Code, Module, Taken
from durably.lint.meanings import Meanings, Parameter, is_context
from durably.lint.operations import BINDING_DECORATORS, DRAWS, Runs, Shape, body_of

RESULT = "create_callback().result"


@dataclass(frozen=True, slots=True)
class Use:
    """A call, in *code*, that uses *context*: an operation, or a function that calls some.

    Attributes:
        operation: the name of the operation; empty where a function is called.
    """

    code: Code
    call: ast.Call
    context: Parameter
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Why code runs in every replay: *code* calls it, in *line*."""

    code: Code
    line: int


class Roles:
    """What the code of *module* is to durable functions.

    Attributes:
        replayed: the code that runs in every replay, and who calls it: `None` for handlers and
            for bodies that operations run.
        entered: handlers and bodies, whose results are recorded.
        run_by: the code that an operation runs, and how.
        bodies: by its call, what an operation is given to run.
        uses: every use of a context.
    """

    def __init__(
        self, module: Module, meanings: Meanings, calls: Calls, shapes: Mapping[str, Shape]
    ) -> None:
        self._meanings = meanings
        self._calls = calls
        self._shapes = shapes
        self.replayed: dict[Code, Caller | None] = {}
        self.entered: set[Code] = set()
        self.run_by: dict[Code, Runs] = {}
        self.bodies: dict[ast.Call, list[Body]] = {}
        self.uses: list[Use] = []
        self._contexts: set[Parameter] = set()
        self._context_of: dict[Code, Parameter] = {}
        self._todo: deque[Callable[[], None]] = deque()
        for code in calls.handlers:
            self._handle(code)
        for code in module.codes:
            self._begin(code)
        self._drain()
        for code in module.codes:
            self._annotated(code)
            self._drain()
        self._spread()

    def is_context(self, parameter: Parameter | None) -> bool:
        """Whether a parameter is a durable context."""
        return parameter in self._contexts

    def context_name(self, code: Code) -> str:
        """Give the name of the context that is to be used in *code*."""
        for around in code.around():
            context = self._context_of.get(around)
            if context is not None and not context.name.startswith("_"):
                return context.name
        return "ctx"

    def crossed(self, code: Code, context: Parameter) -> Runs | None:
        """Say how the code is run that lies between *code* and where *context* belongs."""
        for around in code.around():
            if around is context.code:
                break
            if around in self.run_by:
                return self.run_by[around]
        return None

    # Where it begins

    def _drain(self) -> None:
        while self._todo:
            self._todo.popleft()()

    def _annotated(self, code: Code) -> None:
        if self.run_by.get(code) is Runs.AS_STEP:
            return
        for name in code.parameters:
            taken = code.bindings[name][0]
            annotation = taken.annotation if isinstance(taken, Taken) else None
            if annotation is None or code.parent is None:
                continue
            if is_context(self._meanings.typed(annotation, code.parent)):
                self._replay(code, None)
                self._meet(Parameter(code, name))

    def _begin(self, code: Code) -> None:
        binding = binds(code, self._meanings)
        if binding is not None:
            self._run(code, BINDING_DECORATORS[binding], 0)
        if HANDLER_DECORATOR in decorators_of(code, self._meanings):
            self._handle(code)

    def _handle(self, code: Code) -> None:
        self.entered.add(code)
        self._replay(code, None)
        self._meet_at(code, 2 if self._meanings.has_self(code) else 1)

    # What follows from it

    def _replay(self, code: Code, caller: Caller | None) -> None:
        """Note that *code* runs in every replay, and so does what it calls."""
        if code not in self.replayed:
            self.replayed[code] = caller
            self._todo.append(partial(self._follow, code))

    def _follow(self, code: Code) -> None:
        for site in self._calls.inside[code]:
            self._replay(site.callee, Caller(code, site.call.lineno))
        for called, line in self._calls.called_back[code]:
            self._replay(called, Caller(code, line))

    def _meet(self, context: Parameter) -> None:
        """Note that a parameter is a context, and so is what it is passed on as."""
        if context in self._contexts:
            return
        self._contexts.add(context)
        self._context_of.setdefault(context.code, context)
        asked, passed = self._calls.asked[context], self._calls.passed[context]
        self._todo.extend(partial(self._use, context, one) for one in asked)
        self._todo.extend(partial(self._meet, one) for one in passed)

    def _meet_at(self, code: Code, index: int) -> None:
        for name in code.parameters[index : index + 1]:
            self._meet(Parameter(code, name))

    def _use(self, context: Parameter, asked: Asked) -> None:
        """Note an operation, and what it is given to run."""
        code, call, names = asked.code, asked.call, asked.names
        if names in self._shapes or names in DRAWS or names == RESULT:
            self.uses.append(Use(code, call, context, names))
        shape = self._shapes.get(names)
        if shape is None or shape.body is None:
            return
        self.bodies[call] = bodies_in(body_of(call, shape), code, self._meanings)
        for body in self.bodies[call]:
            if body.code is not None:
                self._run(body.code, shape.runs, body.first)

    def _run(self, code: Code, runs: Runs, index: int) -> None:
        """Note that an operation runs *code*; a body gets its context at *index*."""
        self.run_by.setdefault(code, runs)
        if runs is Runs.IN_CHILD:
            self.entered.add(code)
            self._replay(code, None)
            self._meet_at(code, index)

    def _spread(self) -> None:
        """Note the calls of functions that use a context, and the calls of those."""
        seen: set[tuple[Code, Parameter]] = set()
        for use in self.uses:  # which grows meanwhile
            code, context = use.code, use.context
            if (code, context) in seen:
                continue
            seen.add((code, context))
            for site in self._calls.of[code]:
                is_own = context.code is code
                given = self._calls.parameter(site, context.name) if is_own else context
                if given is not None:
                    self.uses.append(Use(site.code, site.call, given))
