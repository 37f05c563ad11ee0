"""The handler and its branches, where one thread drives them in turn."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable
from typing import Any

from durably.core.effects import Effect, Outcome, Program, Spawn
from durably.core.scope import Scope


class Strand:
    """The handler, or a branch, while it is driven.

    Attributes:
        is_unwound: it has to wait. It is sticky, so that nothing is recorded meanwhile.
    """

    __slots__ = ("is_unwound",)

    def __init__(self) -> None:
        self.is_unwound = False


class Branch(Strand):
    """One spawned program.

    Attributes:
        gave_way: it is unwound only to let others go first.
        primed: its program and the effect it has come to, before it is first driven.
    """

    __slots__ = ("context", "gave_way", "index", "make", "primed", "scope")

    def __init__(self, spawn: Spawn, program: Program[Any], effect: Effect) -> None:
        super().__init__()
        self.index = spawn.index
        self.scope: Scope = spawn.scope
        self.make: Callable[[], Program[Any]] = spawn.make
        self.context = contextvars.copy_context()
        self.gave_way = False
        self.primed: tuple[Program[Any], Effect] | None = (program, effect)


class Branches:
    """The branches of one program that have ended, and those that can still go on in this pass."""

    __slots__ = ("ended", "ready")

    def __init__(self) -> None:
        self.ended: deque[tuple[int, Outcome[Any]]] = deque()
        self.ready: list[Branch] = []
