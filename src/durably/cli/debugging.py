"""Standing in the user's code where it asks for an operation."""

from __future__ import annotations

import pdb  # noqa: T100 - it is what --pdb asks for
from collections.abc import Callable
from types import FrameType

from durably.core.op import Op
from durably.drivers.futures import Raised
from durably.testing.places import Place, frame_of_error, place_of_frame
from durably.testing.recorded import Trace
from durably.testing.replay import Replay
from durably.wire.operation import Operation

_NOT_THEIRS = ("durably.*", "asyncio.*", "click.*", "bdb", "pdb", "contextlib", "threading")


class Stand:
    """Stands where a replay asks for one operation, the first time it does.

    Attributes:
        trace: what the replay is to be made with.
        has_stood: whether it came there.
    """

    def __init__(self, operation_id: str | None, on_arrival: Callable[[Place], None]) -> None:
        self.trace = Trace(on_asked=self._arrive)
        self.has_stood = False
        self._operation_id = operation_id
        self._on_arrival = on_arrival
        self._debugger = Debugger()

    @property
    def is_left(self) -> bool:
        """Whether the user has ended the replay there."""
        return self._debugger.quitting

    def _arrive(self, op: Op, _record: Operation | None, frame: FrameType | None) -> None:
        if op.id == self._operation_id and frame is not None and not self.has_stood:
            self.has_stood = True
            self._on_arrival(place_of_frame(frame))
            self._debugger.stand(frame)

    def look_back(self, done: Replay) -> None:
        """Stand where the handler has raised, if it did and the replay did not come by."""
        error = done.ending.error if isinstance(done.ending, Raised) else None
        frame = None if error is None else frame_of_error(error)
        if frame is not None and not self.has_stood:
            self.has_stood = True
            self._debugger.look_around(frame)


class Debugger(pdb.Pdb):
    """Stands where it is told to, and goes from there where the user lets it."""

    def __init__(self) -> None:
        super().__init__(nosigint=True, skip=_NOT_THEIRS)
        self._goes_on = False

    def stand(self, frame: FrameType) -> None:
        """Let the user look around in *frame*, and go on from there through his code.

        Raises:
            SystemExit: he has seen enough.
        """
        self.look_around(frame)
        if self.quitting:
            raise SystemExit
        self.set_trace(frame)
        if self._goes_on:
            self.set_continue()
        else:
            self.set_next(frame)  # into the library is nowhere to go

    def look_around(self, frame: FrameType) -> None:
        """Let the user look around in *frame*."""
        self.reset()
        self.interaction(frame, None)

    def do_continue(self, arg: str) -> bool | None:
        """Stop no more, except at breakpoints."""
        self._goes_on = True
        return super().do_continue(arg)

    do_c = do_cont = do_continue
