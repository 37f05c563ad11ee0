"""Chaos on PostgreSQL: several workers on one database, and everything that befalls either.

The workers reach the database through a proxy that now and then swallows the answer to a write,
committed or not. Backends are terminated all the while. In turns, a worker is killed, the database
crashes, or a worker is stopped until others have taken all that it had, and then goes on.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from random import Random
from threading import Event, Thread
from time import monotonic
from typing import Any

import psycopg
from psycopg import sql

from durably.stores.postgres_address import PostgresAddress
from tests.chaos import aim
from tests.chaos.journal import Report
from tests.chaos.lives import LONGEST_LIFE, Worker, check_histories
from tests.chaos.oracle import Oracle
from tests.chaos.worker import LEDGER, Life
from tests.stores.postgres_proxy import Fault, Proxy
from tests.stores.postgres_server import OwnServer, in_schema

_WORKERS = 3
_LEASE_SECONDS = 1
_AIMED = 0.5
_TAKEOVER_SECONDS = 30.0
_TERMINATING_SECONDS = 0.2
_CALM_SECONDS = 1.0
# Of the writes so many meet a connection that breaks; what is committed and not answered weighs
# most, since only that can be done twice.
_BROKEN = 0.2
_FAULTS = (Fault.AFTER, Fault.AFTER, Fault.UNCOMMITTED, Fault.BEFORE)
_WRITES = (".append(", "SET owner", "SET wake_at")
_NAME = "chaos"  # of the workers' connections
_MINE = "SELECT count(*) FROM executions WHERE owner LIKE %s"
_TERMINATE = (
    "SELECT count(pg_terminate_backend(pid)) FROM ("
    "SELECT pid FROM pg_stat_activity WHERE application_name = %s ORDER BY random() LIMIT 1) AS one"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How many faults a run has at least."""

    kills: int
    crashes: int
    zombies: int
    terminations: int
    ambiguous: int

    @classmethod
    def with_kills(cls, kills: int) -> Wanted:
        """Want so many kills, and of the other faults what goes with that."""
        return cls(
            kills=kills,
            crashes=max(1, kills // 6),
            zombies=max(1, kills * 2 // 3),
            terminations=kills * 10,
            ambiguous=kills * 50 // 3,
        )


@dataclass(slots=True)
class Faults:
    """Proof that the faults befell somebody at work."""

    kills: int = 0
    aimed: int = 0
    in_flight: int = 0
    crashes: int = 0
    zombies: int = 0
    taken: int = 0
    fenced: int = 0


class Weather:
    """What goes wrong all the while, in a thread of its own: connections break.

    Attributes:
        url: where workers find the database, behind the proxy.
        terminations: of backends.
        broken: by the proxy, in the middle of a write.
    """

    def __init__(self, server: OwnServer, random: Random) -> None:
        self._server = server
        self._random = random
        self._is_bad = True
        self._is_over = asyncio.Event()
        self._is_there = Event()
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(
            target=self._loop.run_until_complete, args=(self._rage(),), daemon=True
        )
        self.url = ""
        self.terminations = 0
        self.broken: Counter[Fault] = Counter()
        self._thread.start()
        self._is_there.wait()

    @property
    def ambiguous(self) -> int:
        """How many writes nobody knows of whether they were committed."""
        return self.broken[Fault.AFTER] + self.broken[Fault.UNCOMMITTED]

    def calm(self) -> None:
        """Let nothing more go wrong."""
        self._is_bad = False

    def close(self) -> None:
        """End the proxy, and with it every connection."""
        self._loop.call_soon_threadsafe(self._is_over.set)
        self._thread.join()
        self._loop.close()

    async def _rage(self) -> None:
        async with Proxy(self._server.url) as proxy:
            self.url = in_schema(proxy.url, application_name=_NAME)
            self.broken = proxy.fired
            proxy.fault = self._next_fault
            self._is_there.set()
            while not self._is_over.is_set():
                if self._is_bad:
                    with suppress(psycopg.OperationalError):  # it is down
                        await self._terminate()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._is_over.wait(), _TERMINATING_SECONDS)

    def _next_fault(self, statement: str) -> Fault | None:
        if not self._is_bad or not any(words in statement for words in _WRITES):
            return None
        return self._random.choice(_FAULTS) if self._random.random() < _BROKEN else None

    async def _terminate(self) -> None:
        async with await psycopg.AsyncConnection.connect(self._server.url) as connection:
            found = await (await connection.execute(_TERMINATE, [_NAME])).fetchone()
            self.terminations += 0 if found is None else found[0]


class Fleet:
    """One chaos run with several workers."""

    def __init__(
        self, folder: Path, seed: int, server: OwnServer, *, wanted: Wanted, open_orders: int
    ) -> None:
        self._folder = folder
        self._random = Random(seed)  # noqa: S311 - so that a run can be repeated
        self._wanted = wanted
        self._open = open_orders // _WORKERS
        self._life = 0
        self._server = server
        self._weather = Weather(self._server, Random(seed))  # noqa: S311 - likewise
        self._schema = PostgresAddress.parse(self._weather.url).schema
        self._workers: list[Worker] = []
        self._orphaned: tuple[int, ...] = ()
        self._stopped: set[int] = set()
        self.oracle = Oracle(folder / LEDGER, self._view, is_shared=True)
        self.faults = Faults()

    @property
    def is_over(self) -> bool:
        """Whether it has seen all that is wanted."""
        weather, wanted = self._weather, self._wanted
        is_calm = weather.terminations >= wanted.terminations
        return is_calm and weather.ambiguous >= wanted.ambiguous and not self._turns()

    def _turns(self) -> dict[Callable[[], None], int]:
        """Give what is still to happen in turns, and how often."""
        faults, wanted = self.faults, self._wanted
        left = {
            self._kill: wanted.kills - faults.kills,
            self._crash: wanted.crashes - faults.crashes,
            self._stop: wanted.zombies - faults.zombies,
        }
        return {fault: times for fault, times in left.items() if times > 0}

    def step(self) -> str:
        """Have something happen, judge what is left, and say how far it has come."""
        self._replace()
        turns = self._turns() or {self._wait: 1}
        [fault] = self._random.choices(list(turns), list(turns.values()))
        fault()
        self._judge()
        faults, weather, wanted = self.faults, self._weather, self._wanted
        return (
            f"kills {faults.kills}/{wanted.kills}, crashes {faults.crashes}/{wanted.crashes}, "
            f"zombies {faults.zombies}/{wanted.zombies}, "
            f"terminations {weather.terminations}/{wanted.terminations}, "
            f"ambiguous commits {weather.ambiguous}/{wanted.ambiguous}"
        )

    def _kill(self) -> None:
        """Kill two workers, one after the other, if they do not do so themselves."""
        victims = self._random.sample(self._workers, 2)
        plans = [(self._life_left(worker), worker) for worker in victims]
        lived = 0.0
        for seconds, worker in sorted(plans, key=itemgetter(0)):
            worker.idle(seconds - lived)
            worker.end()
            lived = seconds

    def _life_left(self, worker: Worker) -> float:
        is_aimed = worker.life.aim is not None
        return LONGEST_LIFE if is_aimed else self._random.uniform(0.02, LONGEST_LIFE)

    def _crash(self) -> None:
        """Have the database crash, and come back."""
        before = self._one("SELECT pg_postmaster_start_time()")
        self._random.choice((self._server.crash, self._server.kill))()
        Event().wait(self._random.uniform(0, 1))
        self._server.start()
        self.faults.crashes += before != self._one("SELECT pg_postmaster_start_time()")

    def _stop(self) -> None:
        """Stop all workers but one until it has taken all that they had, and let them go on."""
        stopped = self._random.sample(self._workers, _WORKERS - 1)
        until = monotonic() + _CALM_SECONDS
        while not all(map(self._held_by, stopped)) and monotonic() < until:
            Event().wait(0.05)
        for worker in stopped:
            worker.send(signal.SIGSTOP)
        try:
            held = [self._held_by(worker) for worker in stopped]
            until = monotonic() + _TAKEOVER_SECONDS
            while any(map(self._held_by, stopped)):
                if monotonic() > until:
                    self.oracle.violations["liveness"].append("nobody takes over")
                    return
                Event().wait(0.05)
                self._replace()  # who is to take over may have killed itself
        finally:
            for worker in stopped:
                worker.send(signal.SIGCONT)
        for worker, amount in zip(stopped, held, strict=True):
            if amount and worker.code is None:
                self._stopped.add(worker.life.number)
                self.faults.zombies += 1
                self.faults.taken += amount
        Event().wait(self._random.uniform(0, 0.5))

    def _held_by(self, worker: Worker) -> int:
        amount: int = self._one(_MINE, [f"%/{worker.pid}/%"])
        return amount

    def _wait(self) -> None:
        Event().wait(_CALM_SECONDS)

    def _replace(self) -> None:
        """Have others take the places of the dead."""
        if any(worker.code is not None for worker in self._workers):
            self._judge()
        new = [self._begin() for _ in range(_WORKERS - len(self._workers))]
        for worker in new:
            worker.await_ready()

    def _judge(self) -> None:
        """Judge what is there, and what the dead have left behind."""
        dead = [worker for worker in self._workers if worker.code is not None]
        self.oracle.look({worker.life.number for worker in dead})
        for worker in dead:
            worker.end()
            life = worker.life
            self._workers.remove(worker)
            self._orphaned += (life.number, *(life.heir_of or ()))
            if worker.code != -signal.SIGKILL:
                said = f"worker {life.number} ended with {worker.code}"
                self.oracle.violations["trouble"].append(said)
            owners = [one.row.owner for one in self.oracle.database.journals.values()]
            held = sum(f"/{worker.pid}/" in owner for owner in owners if owner is not None)
            self.faults.kills += 1
            self.faults.aimed += life.aim is not None
            self.faults.in_flight += bool(held or self.oracle.cut_off)

    def drain(self) -> None:
        """Let a last worker bring everything to its end in calm weather, and judge the whole."""
        self._weather.calm()
        self._judge()
        for worker in self._workers:  # one that aims might kill itself meanwhile
            worker.send(signal.SIGTERM if worker.life.aim is None else signal.SIGKILL)
        for worker in self._workers:
            if worker.life.aim is None:
                worker.await_end(self.oracle)
            else:
                worker.end()
        self._workers.clear()
        self._begin(0).await_end(self.oracle)
        self.oracle.look((), is_last=True)
        self.oracle.finish()
        self.faults.fenced = sum(self.oracle.fenced[life] for life in self._stopped)
        asyncio.run(check_histories(self._weather.url, self.oracle, self._random))

    def close(self) -> None:
        """Leave nothing running, and nothing in the database."""
        for worker in self._workers:
            worker.end()
        self._weather.close()
        with suppress(psycopg.OperationalError), self._connected() as connection:
            drop = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE")
            connection.execute(drop.format(sql.Identifier(self._schema)))

    @property
    def counts(self) -> dict[str, int]:
        """What befell the workers and the database."""
        faults, weather = self.faults, self._weather
        return {
            "SIGKILLs that hit a worker": faults.kills,
            "of them aimed at a certain moment": faults.aimed,
            "of them with work in flight": faults.in_flight,
            "crashes of the database": faults.crashes,
            "workers that went on after others had taken all they had": faults.zombies,
            "executions that were taken from them": faults.taken,
            "claims that they found lost": faults.fenced,
            "backends terminated": weather.terminations,
            "commits with nobody told": weather.ambiguous,
            "of them committed": weather.broken[Fault.AFTER],
        }

    @property
    def is_proof(self) -> bool:
        """Whether enough faults met work."""
        faults = self.faults
        return faults.in_flight * 2 >= faults.kills and faults.fenced >= faults.zombies

    def _begin(self, open_orders: int | None = None) -> Worker:
        self._life += 1
        is_aimed = open_orders is None and self._random.random() < _AIMED
        life = Life(
            folder=str(self._folder),
            number=self._life,
            open=self._open if open_orders is None else open_orders,
            url=self._weather.url,
            lease=_LEASE_SECONDS,
            heir_of=None if open_orders == 0 else self._orphaned,
            aim=aim.draw(self._random) if is_aimed else None,
        )
        self._orphaned = ()
        worker = Worker(life)
        self._workers.append(worker)
        return worker

    def _one(self, statement: str, parameters: list[str] | None = None) -> Any:
        with self._connected() as connection:
            row = connection.execute(statement.encode(), parameters).fetchone()
            return None if row is None else row[0]

    @contextmanager
    def _view(self, report: Report) -> Generator[psycopg.Connection]:
        with self._connected() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            yield connection

    @contextmanager
    def _connected(self) -> Generator[psycopg.Connection]:
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            path = sql.SQL("SET search_path TO {}").format(sql.Identifier(self._schema))
            connection.execute(path)
            connection.autocommit = False
            yield connection
