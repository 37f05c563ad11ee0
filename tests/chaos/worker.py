"""One worker process of the chaos run: an engine, the load on it, and who answers its callbacks.

It says when it is ready, and works until it is killed. With 0 for `open` it starts nothing new,
and ends by itself when everything has ended. With an `aim` it kills itself, see `aim`. SIGTERM
closes the engine, with little time for what runs.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import TypeVar

import msgspec

from durably.app.engine import Engine
from durably.app.execution import Execution
from durably.errors import (
    CallbackTimeoutException,
    ExecutionError,
    ExecutionParkedError,
    InvalidStateError,
    ResourceConflictException,
    StoreUnavailableError,
)
from tests.chaos import aim
from tests.chaos.ledger import (
    Answered,
    Asked,
    Fenced,
    Finished,
    Intended,
    Ledger,
    LedgerReader,
    Refused,
    Started,
    Trouble,
)
from tests.chaos.load import FUNCTIONS, Order, attach

LEDGER = "ledger.jsonl"
_GRACE_SECONDS = 0.2
_ORDERS_OF_A_LIFE = 10_000
_AGAIN_SECONDS = 0.05
_RESTARTED = 0.05  # of what is open already is started again, which must change nothing


T = TypeVar("T")


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker process is to do.

    Attributes:
        folder: of the run, which holds the ledger.
        number: of this life, counted from 1.
        open: how many orders it keeps open.
        url: of the store.
        lease: how many seconds the others take it for alive without a word.
        heir_of: the lives whose orders it goes on with, as far as they are open; `None`: all.
        aim: when it kills itself, if it does.
    """

    folder: str
    number: int
    open: int
    url: str
    lease: float
    heir_of: tuple[int, ...] | None = None
    aim: str | None = None


class Load:
    """Keeps a number of orders open, and notes everything that is acknowledged."""

    def __init__(self, engine: Engine, ledger: Ledger, life: Life) -> None:
        self._engine = engine
        self._ledger = ledger
        self._wanted = life.open
        self._chance = Random(os.urandom(8))  # noqa: S311 - which order is next is no secret
        self._next = life.number * _ORDERS_OF_A_LIFE
        self._open: set[asyncio.Task[None]] = set()
        self._asked: asyncio.Queue[Asked] = asyncio.Queue()
        self._answering: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def on_asked(self, asked: Asked) -> None:
        """Take that the outside was told of a callback; from any thread."""
        self._loop.call_soon_threadsafe(self._asked.put_nowait, asked)

    def go_on(self, intended: list[Intended], asked: list[Asked]) -> None:
        """Go on with what earlier lives have left open."""
        for order in intended:
            self._follow(order)
        for one in asked:
            self._asked.put_nowait(one)

    async def run(self) -> None:
        """Start orders and answer callbacks, until nothing is open and nothing more is wanted."""
        answering = asyncio.create_task(self._answer_all())
        while self._open or self._wanted:
            while len(self._open) < self._wanted:
                self._next += 1
                function = self._chance.choice(("orders", "orders_sync"))
                order = Intended(f"order-{self._next}", function, self._chance.randrange(10**6))
                self._ledger.write(order)
                self._follow(order)
            await asyncio.wait(self._open, return_when=asyncio.FIRST_COMPLETED)
        answering.cancel()

    def _follow(self, order: Intended) -> None:
        task = asyncio.create_task(self._start_and_wait(order))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _start_and_wait(self, order: Intended) -> None:
        try:
            run = await self._start(order)
            while self._chance.random() < _RESTARTED:
                await self._start(order)
            self._ledger.write(Finished(order.run, await self._result(run)))
        except ExecutionError as error:
            self._ledger.write(Trouble(f"{order.run} ended with {error!r}"))
        except InvalidStateError:
            pass  # the engine was closed before it ended

    async def _start(self, order: Intended) -> Execution:
        given = Order(order.run, order.seed)
        run = await _patiently(lambda: self._engine.start(order.function, given, name=order.run))
        self._ledger.write(Started(order.run, run.arn))
        return run

    async def _result(self, run: Execution) -> list[list[str]]:
        while True:
            try:
                result: list[list[str]] = await _patiently(run.result)
            except ExecutionParkedError:  # so many kills in a row have hit it
                with suppress(ResourceConflictException):  # another worker has resumed it
                    await _patiently(lambda: self._engine.resume(run))
            else:
                return result

    async def _answer_all(self) -> None:
        while True:
            task = asyncio.create_task(self._answer(await self._asked.get()))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, asked: Asked) -> None:
        await asyncio.sleep(self._chance.choice((0, 0.01, 0.3)))
        try:
            await _patiently(lambda: self._engine.callback_succeed(asked.callback_id, asked.answer))
        except CallbackTimeoutException:
            self._ledger.write(Refused(asked.callback_id))
        except InvalidStateError:
            pass  # as above
        else:
            self._ledger.write(Answered(asked.callback_id, asked.answer))


async def _patiently(do: Callable[[], Awaitable[T]]) -> T:
    """Do something again until the store can be reached; each time it means the same."""
    while True:
        try:
            return await do()
        except StoreUnavailableError:
            await asyncio.sleep(_AGAIN_SECONDS)


def left_open(ledger: Path, heir_of: Collection[int] | None) -> tuple[list[Intended], list[Asked]]:
    """Read from the ledger which orders of these lives are open, and all open callbacks."""
    intended: dict[str, Intended] = {}
    asked: dict[str, Asked] = {}
    for line in LedgerReader(ledger).read_new():
        match line:
            case Intended():
                intended[line.run] = line
            case Finished():
                intended.pop(line.run, None)
            case Asked():
                asked.setdefault(line.callback_id, line)
            case Answered() | Refused():
                asked.pop(line.callback_id, None)
            case _:
                pass
    orders = [one for one in intended.values() if heir_of is None or _life_of(one) in heir_of]
    return orders, list(asked.values())


def _life_of(order: Intended) -> int:
    return int(order.run.partition("-")[2]) // _ORDERS_OF_A_LIFE


@contextmanager
def _terminable(task: asyncio.Task[None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


def work(life: Life, telling: Connection) -> None:
    """Work, until killed; say when that begins."""
    faulthandler.enable()
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it has a level of its own
    asyncio.run(_work(life, lambda: telling.send("ready")))


async def _work(life: Life, on_ready: Callable[[], None]) -> None:
    path = Path(life.folder, LEDGER)
    ledger = Ledger(path)
    if life.aim is not None:
        ledger = Ledger(path, aim.take(life.aim), aim.end)
    aim.note_refusals(lambda arn: ledger.write(Fenced(life.number, arn)))
    intended, asked = left_open(path, life.heir_of)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: ledger.write(Trouble(str(context))))
    engine = Engine(life.url, FUNCTIONS, grace=_GRACE_SECONDS, lease=life.lease)
    await _patiently(engine.__aenter__)
    async with AsyncExitStack() as opened:
        opened.push_async_exit(engine)
        load = Load(engine, ledger, life)
        attach(ledger, life.number, load.on_asked)
        on_ready()
        load.go_on(intended, asked)
        task = asyncio.create_task(load.run())
        with _terminable(task):
            await asyncio.wait((task,))
        if not task.cancelled():
            task.result()
