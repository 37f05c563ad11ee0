"""PostgreSQL: ours beside DBOS and absurd on one server, and beside what a commit costs there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from benchmarks import pg_ours
from benchmarks.measure import MIB, MICRO, MILLI, Options, Peer, percentile, progress
from benchmarks.postgres import BareCommits, ask, database
from benchmarks.report import Beside, Line

_PEERS = ("dbos", "absurd")
_COMMITS = 1.5
_TIMES_THE_BEST = 3.0
_ASLEEP_MB = 200
_CLAIM_TIMES = 2.0
_LATE_P50_MS = 5
_LATE_P99_MS = 50
_ALIKE = "Every figure is of a process and a database of its own, on one server; medians of rounds."


def steps(options: Options) -> list[Line]:
    """A durable step beside one bare commit, and the steps of others."""
    count = options.pick(1_000, 100)
    found, bare, floors = [], [], []
    peers = _peers(options, lambda name, url: ask(f"pg_{name}", "steps", url, count))
    for number in range(options.pick(3, 1)):
        progress(f"steps and bare commits in turns, round {number + 1}")
        with database() as url, database() as bare_url:
            ours, one = ask("pg_ours", "steps", url, bare_url, options.pick(150, 20))
            found.append(ours)
            bare.append(one)
            commits = BareCommits(bare_url)
            floors.append(commits.a_second(16, options.pick(200, 50)))
            commits.close()
        for peer in peers:
            peer.run()
    besides = tuple(peer.beside(MICRO) for peer in peers)
    lines = [
        Line(
            what="a step on PostgreSQL, one execution",
            value=median(found) * MICRO,
            unit="µs",
            floors=(Beside(name="bare commit", value=median(bare) * MICRO),),
            peers=besides,
            note=_ALIKE,
        ),
        Line(
            what="the same in bare commits",
            value=median(found) / median(bare),
            unit="times",
            limit=_COMMITS,
        ),
        _beside_best("steps a second", 1 / median(found), [1 / v for v in _values(peers, 1)]),
        Line(
            what="bare commits, sixteen connections",
            value=median(floors),
            unit="/s",
            floors=(Beside(name="one connection", value=1 / median(bare)),),
            is_at_least=True,
        ),
    ]
    sizes = options.pick((1_000, 10_000), (100, 1_000))
    grown = [_once("grown", size) * MICRO for size in sizes]
    what = f"flat: a step of {sizes[1]:,} beside one of {sizes[0]:,}"
    return [*lines, Line(what=what, value=grown[1] / grown[0], unit="times", limit=1.3)]


def many(options: Options) -> list[Line]:
    """Many executions of three steps at once, by one process and by four."""
    count = options.pick(1_000, 100)
    lines = []
    for action, given, by in (("many", (), "one worker"), ("many_by", (4,), "four workers")):
        few = count * options.pick(2, 2)
        peers = _peers(
            options, partial(_asked, action=action, given=(options.pick(300, 100), *given))
        )
        rates = []
        for number in range(options.pick(3, 1)):
            progress(f"{few:,} executions of three steps by {by}, round {number + 1}")
            rates.append(_once(action, few, *given))
            for peer in peers:
                peer.run()
        line = Line(
            what=f"executions of three steps, {by}",
            value=median(rates),
            unit="/s",
            is_at_least=True,
            peers=tuple(peer.beside() for peer in peers),
        )
        lines += [line, _beside_best(f"executions, {by}", median(rates), _values(peers, 1))]
    return lines


def fan_out(options: Options) -> list[Line]:
    """A map with a step in each item; others make as many steps at once."""
    lines, found = [], []
    sizes = options.pick((1_000, 10_000), (100, 1_000))
    for size in sizes:
        peers = _peers(options, partial(_asked, action="fan_out", given=(size,)))
        taken = []
        for number in range(options.pick(3, 1)):
            progress(f"a fan-out of {size:,}, round {number + 1}")
            taken.append(_once("fan_out", size))
            if size <= 1_000 or number == 0:  # noqa: PLR2004 - those of others take a minute
                for peer in peers:
                    peer.run()
        line = Line(
            what=f"a fan-out of {size:,}, a step in each",
            value=median(taken) * MICRO,
            unit="µs",
            peers=tuple(peer.beside(MICRO) for peer in peers),
            note="absurd does one thing at a time in a task: as many steps in a row.",
        )
        others = [1 / value for value in _values(peers, 1)]
        lines += [line, _beside_best(f"items a second of {size:,}", 1 / median(taken), others)]
        found.append(median(taken))
    what = f"flat: an item of {sizes[1]:,} beside one of {sizes[0]:,}"
    return [*lines, Line(what=what, value=found[1] / found[0], unit="times", limit=1.3)]


def recovery(options: Options) -> list[Line]:
    """An execution of a thousand steps goes on in another process."""
    size = options.pick(1_000, 100)
    peers = _peers(options, partial(_recovered, size))
    taken = []
    for number in range(options.pick(5, 1)):
        progress(f"recovery of {size:,} steps, round {number + 1}")
        with database() as url:
            taken.append(_recovered(size, "ours", url))
        for peer in peers:
            peer.run()
    line = Line(
        what=f"an execution of {size:,} steps goes on elsewhere",
        value=median(taken) * MILLI,
        unit="ms",
        peers=tuple(peer.beside(MILLI) for peer in peers),
        note="Ours and absurd: from the answer that it waits for; DBOS: from its first line.",
    )
    others = [1 / value for value in _values(peers, 1)]
    return [line, _beside_best("recoveries", 1 / median(taken), others)]


def timers(options: Options) -> list[Line]:
    """How late timers ring when nothing else goes on."""
    count = options.pick(300, 20)
    progress(f"{count} sleeps of one second, one after the other begun")
    late = _once("timers", count)
    lines = []
    for percent, limit in ((50, _LATE_P50_MS), (99, _LATE_P99_MS)):
        peers = _peers(
            options,
            lambda name, url, p=percent: percentile(_asked(name, url, "timers", (count,)), p),
        )
        for peer in peers:
            peer.run()
        line = Line(
            what=f"lateness of a timer, PostgreSQL, idle, p{percent}",
            value=percentile(late, percent) * MILLI,
            unit="ms",
            limit=limit,
            peers=tuple(peer.beside(MILLI) for peer in peers),
        )
        lines.append(line)
    return lines


def events(options: Options) -> list[Line]:
    """How long it takes from an answer to the function that goes on."""
    count = options.pick(200, 20)
    peers = _peers(options, lambda name, url: median(_asked(name, url, "events", (count,))))
    taken: list[float] = []
    for number in range(options.pick(3, 1)):
        progress(f"{count} answers, one after the other, round {number + 1}")
        taken += _once("events", count)
        for peer in peers:
            peer.run()
    line = Line(
        what="answer sent until the function goes on, PostgreSQL, p50",
        value=median(taken) * MILLI,
        unit="ms",
        peers=tuple(peer.beside(MILLI) for peer in peers),
    )
    p99 = percentile(taken, 99) * MILLI
    return [line, Line(what="the same, p99", value=p99, unit="ms")]


def asleep(options: Options) -> list[Line]:
    """A million executions asleep: what a worker and a claim cost then."""
    count = options.pick(1_000_000, 10_000)
    progress(f"{count:,} executions asleep")
    with database() as url, database() as empty_url:
        found = ask("pg_ours", "asleep", url, empty_url, count)
    what = f"{count:,} asleep, PostgreSQL"
    return [
        Line(what=f"{what}: a worker", value=found["memory"] / MIB, unit="MB", limit=_ASLEEP_MB),
        Line(
            what=f"{what}: a claim, p99",
            value=found["many"] * MILLI,
            unit="ms",
            floors=(Beside(name="none asleep", value=found["none"] * MILLI),),
        ),
        Line(
            what=f"{what}: the same beside none asleep",
            value=found["many"] / found["none"],
            unit="times",
            limit=_CLAIM_TIMES,
        ),
        Line(what=f"{what}: processor while idle", value=found["idle"] * 100, unit="%"),
        Line(what=f"{what}: executions of three steps", value=found["rate"], unit="/s"),
        Line(what=f"{what}: who works on it", value=found["roster"] * MILLI, unit="ms"),
    ]


def profile_steps(_options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `steps`."""
    return partial(_profiled, pg_ours.grown, 1_000)


def profile_many(_options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `many`."""
    return partial(_profiled, pg_ours.many, 500)


def profile_fan_out(_options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `fan_out`."""
    return partial(_profiled, pg_ours.fan_out, 1_000)


def profile_recovery(_options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `recovery`."""

    def work(url: str, size: int) -> None:
        pg_ours.recover(url, pg_ours.begin(url, size))

    return partial(_profiled, work, 1_000)


def profile_events(_options: Options) -> Callable[[], object]:
    """Give the work whose profile explains `timers` and `events`."""
    return partial(_profiled, pg_ours.events, 100)


def _profiled(work: Callable[[str, int], object], size: int) -> None:
    with database() as url:
        work(url, size)


def _once(action: str, *given: object) -> Any:
    """Have ours do it on a new database."""
    with database() as url:
        return ask("pg_ours", action, url, *given)


def _asked(name: str, url: str, action: str, given: tuple[object, ...]) -> Any:
    return ask(f"pg_{name}", action, url, *given)


def _recovered(size: int, name: str, url: str) -> float:
    begun = ask(f"pg_{name}", "begin", url, size)
    taken: float = ask(f"pg_{name}", "recover", url, begun)
    return taken


def _peers(options: Options, work: Callable[[str, str], float]) -> list[Peer]:
    """Give the others; each does *work* on a new database whenever it is run."""

    def run(name: str) -> float:
        with database() as url:
            return work(name, url)

    return [Peer(name, partial(run, name)) for name in _PEERS] if options.has_peers else []


def _values(peers: list[Peer], factor: float) -> list[float]:
    found = [peer.beside(factor) for peer in peers]
    return [one.value for one in found if not one.failure]


def _beside_best(what: str, ours: float, others: list[float]) -> Line:
    """Say how many times the best of the others ours is; more is better."""
    return Line(
        what=f"{what}: ours beside the best of the others",
        value=ours / max(others) if others else 0.0,
        unit="times",
        limit=_TIMES_THE_BEST if others else None,
        is_at_least=True,
    )
