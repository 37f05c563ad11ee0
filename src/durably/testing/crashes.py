"""Runs a function again and again, with a crash at every point and in every order of its steps."""

from __future__ import annotations

import asyncio
import inspect
import math
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from random import Random

from durably.checks import member_of
from durably.errors import ValidationError
from durably.handler import DurableFunction
from durably.testing.attempts import Attempts
from durably.testing.clock import VirtualClock
from durably.testing.comparisons import Comparison
from durably.testing.crash_store import CrashStore
from durably.testing.effects import Ledger
from durably.testing.errors import (
    CrashDifferenceError,
    FailedRunError,
    UnfinishedRunError,
    hides_frames,
)
from durably.testing.fakes import Fakes
from durably.testing.gate import Gate, Order
from durably.testing.processes import Process, inside, tracked_tasks
from durably.testing.runs import TestRun
from durably.testing.stage import Stage
from durably.testing.store import TestStore
from durably.testing.tables import differing
from durably.wire.execution import ExecutionStatus
from durably.words import did_you_mean

__tracebackhide__ = hides_frames

MAX_ORDERS = 100
SAMPLED_POINTS = 20
SAMPLED_ORDERS = 10

MODE_VARIABLE = "DURABLY_CRASH"
"""Says in the environment how many crashes are tried where the test does not."""

_ORDER = "order "
_UNENDED = ("never",)


class CrashMode(StrEnum):
    """How many crashes are tried: one at every point, at some, or none."""

    ALL = "all"
    SAMPLE = "sample"
    OFF = "off"


def mode_of(mode: str | None, environ: Mapping[str, str] = os.environ) -> CrashMode:
    """Read what was asked for, or else what the environment says; nothing means all.

    Raises:
        ValidationError: there is no such mode.
    """
    if mode is not None:
        return member_of(CrashMode, mode, "mode")
    said = environ.get(MODE_VARIABLE) or CrashMode.ALL
    if said not in list(CrashMode):
        raise ValidationError(MODE_VARIABLE, f"must be {', '.join(CrashMode)}, not {said!r}")
    return CrashMode(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashReport:
    """What was tried, and came to the same every time.

    Attributes:
        function: the name of the function.
        points: where it was made to crash.
        all_points: how many points there are.
        orders: in how many orders its steps were run.
        repeats: what happened more often than without, as steps that run at least once may do it.
    """

    function: str
    points: tuple[str, ...]
    all_points: int
    orders: int
    repeats: tuple[str, ...]

    def __str__(self) -> str:
        orders = f"{self.orders} orders" if self.orders > 1 else "one order"
        head = (
            f"{self.function} comes to the same after a crash at {len(self.points)} of its "
            f"{self.all_points} points, and with its steps in {orders}."
        )
        return "\n  ".join([head, *self.repeats])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run, where it crashed, in which order its steps ran, and what came of it.

    Attributes:
        ended: how: its status, its result and its error, as text.
        report: the run as text.
        store: what has happened in it.
    """

    at: str | None
    order: Order
    points: tuple[str, ...]
    has_crashed: bool
    ended: tuple[str, ...]
    effects: Ledger
    interrupted: frozenset[tuple[str, str]]
    report: str
    store: TestStore

    @property
    def only(self) -> str:
        """What `crash_everywhere` is asked for to do it again."""
        return f"{_ORDER}{self.order}" if self.at is None else self.at

    @property
    def title(self) -> str:
        """Which one it is."""
        return f"With its steps in {self.only}" if self.at is None else f"With a crash {self.at}"

    def alone(self, name: str) -> str:
        """Say how to see it alone, by the *name* of the function."""
        return f"to see this one alone: crash_everywhere({name}, …, only={self.only!r})"


class Crashes:
    """All runs of one function with one input.

    Args:
        functions: those of the engine.
        fakes: what stands in for the world.
        begins_at: what time it is when a run begins.
        start: starts the execution.
        enter: called with the stage of each process, for whoever acts on it.
        reset: called before each run.

    Attributes:
        tried: the runs that came to the same.
    """

    def __init__(
        self,
        functions: Sequence[DurableFunction],
        fakes: Fakes,
        begins_at: datetime,
        *,
        start: Callable[[Stage], Awaitable[TestRun]],
        enter: Callable[[Stage], None],
        reset: Callable[[], object],
    ) -> None:
        self._functions = functions
        self._fakes = fakes
        self._begins_at = begins_at
        self._start = start
        self._enter = enter
        self._reset = reset
        self.tried: tuple[Trial, ...] = ()

    async def try_all(
        self, name: str, mode: CrashMode, only: str | None, *, with_orders: bool
    ) -> CrashReport:
        """Try all that *mode* says, or *only* the run that is named.

        Raises:
            CrashDifferenceError: something came to something else; the text says what and where.
            FailedRunError: it fails without any crash.
            UnfinishedRunError: it does not end without any crash.
            ValidationError: *only* names no point of it.
        """
        with tracked_tasks():
            usual = await self._try(None, Order())
            if usual.ended == _UNENDED:
                raise UnfinishedRunError(usual.report)
            if usual.ended[0] != ExecutionStatus.SUCCEEDED:
                raise FailedRunError(f"{name} fails without any crash.\n{usual.report}")
            if only is not None:
                trials = [await self._try_only(only, usual.points)]
            else:
                trials = await self._try_crashes(usual, mode)
                trials += await self._try_orders(usual, mode) if with_orders else []
        repeats = tuple(_repeats_of(name, usual, trials))
        self.tried = (usual, *trials)
        crashed = tuple(trial.at for trial in trials if trial.at is not None)
        return CrashReport(
            function=name,
            points=crashed,
            all_points=len(usual.points),
            orders=1 + len(trials) - len(crashed),
            repeats=repeats,
        )

    async def _try_only(self, only: str, points: Sequence[str]) -> Trial:
        if only.startswith(_ORDER):
            return await self._try(None, Order.read(only.removeprefix(_ORDER)))
        trial = await self._try(only, Order())
        if not trial.has_crashed and only not in points:
            said = f"{only!r} is no point that the function comes to.{did_you_mean(only, points)}"
            raise ValidationError("only", f"{said} It comes to: {', '.join(map(repr, points))}")
        return trial

    async def _try_crashes(self, usual: Trial, mode: CrashMode) -> list[Trial]:
        points = usual.points
        if mode is CrashMode.OFF:
            points = ()
        if mode is CrashMode.SAMPLE:
            points = points[:: math.ceil(len(points) / SAMPLED_POINTS)]
        return [await self._try(point, Order()) for point in points]

    async def _try_orders(self, usual: Trial, mode: CrashMode) -> list[Trial]:
        """Try all other orders if they are few, and some by chance otherwise."""
        many = {CrashMode.ALL: MAX_ORDERS, CrashMode.SAMPLE: SAMPLED_ORDERS, CrashMode.OFF: 0}[mode]
        if math.prod(count for _, count in usual.order.made) > many:
            chances = (Random(seed) for seed in range(many))  # noqa: S311 - to be repeated
            return [await self._try(None, Order(chance=chance)) for chance in chances]
        trials: list[Trial] = []
        order = usual.order
        while len(trials) < many and (choices := order.following()) is not None:
            trials.append(await self._try(None, Order(choices)))
            order = trials[-1].order
        return trials

    # One run

    async def _try(self, at: str | None, order: Order) -> Trial:
        being_reset = self._reset()
        if inspect.isawaitable(being_reset):
            await being_reset
        ledger = self._fakes.ledger = Ledger()
        store, first = CrashStore(), Process(at)
        life = await self._begin(store, first, order, None)
        try:
            run = await self._start(life.stage)
            said, has_crashed = "", False
            try:
                has_crashed = await life.finish_or_die(run)
                if has_crashed:
                    store.settle_death(first)
                    life = await self._begin(store, Process(), order, life.stage)
                    run = life.stage.find(run.arn)
                    await life.stage.finish(run)
            except UnfinishedRunError as error:
                said = str(error)
            return Trial(
                at=at,
                order=order,
                points=tuple(first.points),
                has_crashed=has_crashed,
                ended=_UNENDED if said else _end_of(run),
                effects=ledger,
                interrupted=frozenset(store.interrupted),
                report=said or run.report(),
                store=store,
            )
        finally:
            await life.close()

    async def _begin(
        self, store: CrashStore, process: Process, order: Order, before: Stage | None
    ) -> _Life:
        """Begin a process; the one *before* it has died."""
        is_threaded = not all(function.is_async for function in self._functions)
        gate = Gate(order, is_threaded=is_threaded)
        stage = Stage(
            self._functions,
            self._fakes,
            VirtualClock(self._begins_at if before is None else before.clock.now()),
            store,
            stand_in=Attempts(process, gate, self._fakes).stand_in,
            life=0 if before is None else 1,
        )
        with inside(process):
            await stage.open(None if before is None else before.answering)
        self._enter(stage)
        return _Life(process, gate, stage)


@dataclass(frozen=True, slots=True)
class _Life:
    """A process, and what it has been given."""

    process: Process
    gate: Gate
    stage: Stage

    async def finish_or_die(self, run: TestRun) -> bool:
        """Drive *run* to its end, or to the death of its process; say whether it died.

        Raises:
            UnfinishedRunError: it comes to neither.
        """
        finishing = asyncio.ensure_future(self.stage.finish(run))
        dying = asyncio.ensure_future(self.process.died.wait())
        try:
            await asyncio.wait((finishing, dying), return_when=asyncio.FIRST_COMPLETED)
            if not self.process.is_dead:
                await finishing
                return False
            await dying
            return True
        finally:
            for task in (finishing, dying):
                task.cancel()
            await asyncio.gather(finishing, dying, return_exceptions=True)
            if self.process.is_dead:
                self.gate.close()
                await self.process.bury()

    async def close(self) -> None:
        """End it as any process ends."""
        self.gate.close()
        await self.stage.close()
        await self.process.bury()


def _end_of(run: TestRun) -> tuple[str, ...]:
    found = run.description
    error = found.error
    said = (error and error.error_type, error and error.error_message)
    return (found.status.value, *(text for text in (found.result, *said) if text))


# What they come to


def _repeats_of(name: str, usual: Trial, trials: Sequence[Trial]) -> Iterator[str]:
    """Say what happened again, as it may.

    Raises:
        CrashDifferenceError: something came to something else.
    """
    repeats: dict[str, None] = {}
    different: list[tuple[Trial, list[str]]] = []
    for trial in trials:
        compared = Comparison(usual.effects, trial.effects, trial.interrupted)
        repeats |= dict.fromkeys(compared.repeats)
        differences = [*_differing_ends(usual, trial), *compared.differences]
        if differences:
            different.append((trial, differences))
    if different:
        raise CrashDifferenceError("\n".join(_said_of(name, different, len(trials))))
    return iter(repeats)


def _differing_ends(usual: Trial, trial: Trial) -> Iterator[str]:
    if trial.ended != usual.ended:
        usually, now = differing(": ".join(usual.ended), ": ".join(trial.ended))
        yield f"it ended {now}, instead of {usually}"
    if trial.at is not None and not trial.has_crashed and "at await" not in trial.at:
        yield "it never came to this point again: it does not do the same each time"


def _said_of(name: str, different: Sequence[tuple[Trial, list[str]]], tried: int) -> Iterator[str]:
    yield f"{name} does not come to the same in {len(different)} of {tried} runs."
    if len(different) == tried > 1:
        yield "If something around it remembers earlier runs, put it back with reset=…"
    trial, differences = different[0]
    yield f"\n{trial.title}:"
    yield from (f"  - {said}" for said in differences)
    yield f"  {trial.alone(name)}"
    yield f"\n{trial.report}"
    others = [one.title for one, _ in different[1:]]
    if others:
        yield "\nSo it is, too:"
        yield from (f"  {title}" for title in others)
