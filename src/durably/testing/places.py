"""Where in the user's own code something happens."""

from __future__ import annotations

import asyncio
import inspect
import linecache
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

_OURS = str(Path(__file__).parents[1]) + os.sep
# What runs tasks and threads: whoever called those is not who wrote what runs in them.
_MACHINERY = (str(Path(asyncio.__file__).parent) + os.sep, threading.__file__)


@dataclass(frozen=True, slots=True)
class Place:
    """A line of code.

    Attributes:
        function: the name of the function that it is in.
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        said = f"{self.file}, line {self.line}, in {self.function}"
        return f"{said}: {self.source}" if self.source else said

    @property
    def source(self) -> str:
        """The text of the line; empty where there is no file."""
        return linecache.getline(self.file, self.line).strip()


def user_frame() -> FrameType | None:
    """Give the innermost frame of code that is not the library's.

    `None` where a task or a thread of the library's was started below it.
    """
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    if frame is None or frame.f_code.co_filename.startswith(_MACHINERY):
        return None
    return frame


def place_of_frame(frame: FrameType) -> Place:
    """Say where *frame* is."""
    return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)


def place_of_function(function: Callable[..., Any]) -> Place | None:
    """Say where *function* begins, if it is written in Python."""
    code: CodeType | None = getattr(function, "__code__", None)
    if code is None:
        return None
    place = Place(code.co_filename, code.co_firstlineno, code.co_qualname)
    while place.source.startswith("@"):  # a decorator's line counts as the function's first
        place = replace(place, line=place.line + 1)
    return place


def place_of_error(error: BaseException) -> Place | None:
    """Say where in the user's code *error* was raised, or came through last."""
    found = _last_of_user(error)
    if found is None:
        return None
    code = found.tb_frame.f_code
    return Place(code.co_filename, found.tb_lineno, code.co_qualname)


def frame_of_error(error: BaseException) -> FrameType | None:
    """Give the frame of the user's code where *error* was raised, or came through last."""
    found = _last_of_user(error)
    return None if found is None else found.tb_frame


def _last_of_user(error: BaseException) -> TracebackType | None:
    found: TracebackType | None = None
    traceback = error.__traceback__
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith((_OURS, *_MACHINERY)):
            found = traceback
        traceback = traceback.tb_next
    return found
