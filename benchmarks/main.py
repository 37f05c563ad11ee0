"""`make bench`: every figure of the design beside its target, floors and peers, in one table.

`python -m benchmarks.main --row replay-async` measures one row. Each row runs in a process of its
own, so that none inherits another's memory or caches. The exit code is 1 only if a row broke.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import os
import platform
import pstats
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, TypeAlias

import msgspec

from benchmarks import (
    rows_handler,
    rows_http,
    rows_import,
    rows_postgres,
    rows_steps,
    rows_testing,
    rows_waiting,
)
from benchmarks.measure import Options, timed_collector
from benchmarks.postgres import server
from benchmarks.report import Line, Result, table

_ROOT = Path(__file__).parents[1]
_ROW_SECONDS = 900
_PROFILED = 18
# Work to be put under a profiler, or the findings themselves.
_Profile: TypeAlias = Callable[[Options], Callable[[], object] | list[str]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the design's table of figures."""

    measure: Callable[[Options], list[Line]]
    profile: _Profile | None = None


_ROWS = {
    "replay-async": Row(rows_handler.replay_async, rows_handler.profile_replay_async),
    "replay-sync": Row(rows_handler.replay_sync, rows_handler.profile_replay_sync),
    "invocation": Row(rows_handler.invocation, rows_handler.profile_invocation),
    "step-memory": Row(rows_steps.step_memory, rows_steps.profile_step_memory),
    "step-sqlite": Row(rows_steps.step_sqlite, rows_steps.profile_step_sqlite),
    "syncs": Row(rows_steps.synced, rows_steps.profile_step_sqlite),
    "many": Row(rows_steps.many, rows_steps.profile_many),
    "map": Row(rows_steps.mapped, rows_steps.profile_mapped),
    "timer": Row(rows_waiting.timers),
    "callback": Row(rows_waiting.callbacks, rows_waiting.profile_callbacks),
    "http": Row(rows_http.checkpoints),
    "http-callback": Row(rows_http.callbacks),
    "http-cold-start": Row(rows_http.cold_start),
    "import": Row(rows_import.imports, rows_import.profile_imports),
    "cold-start": Row(rows_import.cold_start, rows_import.profile_cold_start),
    "sleeping-memory": Row(rows_waiting.sleeping_memory, rows_waiting.profile_sleeping_memory),
    "sleeping-sqlite": Row(rows_waiting.sleeping_sqlite, rows_waiting.profile_sleeping_sqlite),
    "skipped-wait": Row(rows_testing.skipped_waits),
    "pg-steps": Row(rows_postgres.steps, rows_postgres.profile_steps),
    "pg-many": Row(rows_postgres.many, rows_postgres.profile_many),
    "pg-fan-out": Row(rows_postgres.fan_out, rows_postgres.profile_fan_out),
    "pg-recovery": Row(rows_postgres.recovery, rows_postgres.profile_recovery),
    "pg-timer": Row(rows_postgres.timers, rows_postgres.profile_events),
    "pg-event": Row(rows_postgres.events, rows_postgres.profile_events),
    "pg-asleep": Row(rows_postgres.asleep),
    "tests": Row(rows_testing.tests),
    "crashes": Row(rows_testing.crashes),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for, and print the table."""
    asked = _parse(arguments)
    options = Options(is_quick=asked.quick, has_peers=not asked.no_peers)
    if asked.inside:
        [name] = asked.row
        sys.stdout.write(json.dumps(asdict(_measure(name, options, is_profiled=asked.profile))))
        return 0
    print(_machine(), file=sys.stderr)
    names = asked.row or list(_ROWS)
    results = []
    with server() if any(map(_is_on_postgres, names)) else nullcontext():
        for number, name in enumerate(names, 1):
            print(f"[{number}/{len(names)}] {name}", file=sys.stderr, flush=True)
            results.append(_in_own_process(name, asked))
    _report(results, asked)
    return int(any(result.failure for result in results))


def _is_on_postgres(name: str) -> bool:
    return name.startswith("pg-")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.main", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller sizes")
    parser.add_argument("--row", action="append", choices=_ROWS, help="only this row; repeatable")
    parser.add_argument("--no-peers", action="store_true", help="leave others out")
    parser.add_argument("--profile", action="store_true", help="explain each target missed")
    parser.add_argument("--json", metavar="PATH", help="write the figures there too; - prints them")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _machine() -> str:
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"bench: Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{os.cpu_count()} processors, load {load}"
    )


def _in_own_process(name: str, asked: argparse.Namespace) -> Result:
    given = [flag for flag in ("quick", "no_peers", "profile") if getattr(asked, flag)]
    flags = [f"--{flag.replace('_', '-')}" for flag in given]
    program = [sys.executable, "-m", "benchmarks.main", "--inside", "--row", name, *flags]
    try:
        with tempfile.TemporaryDirectory(prefix="durably-bench-") as inside:
            done = subprocess.run(  # noqa: S603 - this very program
                program,
                cwd=_ROOT,
                env={**os.environ, "TMPDIR": inside},
                stdout=subprocess.PIPE,
                check=True,
                timeout=_ROW_SECONDS,
            )
    except subprocess.SubprocessError as error:
        return Result(name, (), failure=type(error).__name__)
    return msgspec.json.decode(done.stdout, type=Result)


def _measure(name: str, options: Options, *, is_profiled: bool) -> Result:
    row = _ROWS[name]
    lines = tuple(row.measure(options))
    profile: tuple[str, ...] = ()
    if is_profiled and row.profile is not None and any(line.is_met is False for line in lines):
        profile = tuple(_explain(row.profile, options))
    return Result(name, lines, profile)


def _explain(profile: _Profile, options: Options) -> list[str]:
    """Say where the time goes, in this process's main thread: the functions by their own time."""
    work = profile(options)
    if isinstance(work, list):
        return work
    collected = timed_collector()
    profiler = cProfile.Profile()
    began = perf_counter()
    profiler.runcall(work)
    taken = perf_counter() - began
    text = io.StringIO()
    stats = pstats.Stats(profiler, stream=text).sort_stats("tottime")
    stats.print_stats(_PROFILED)
    lines = text.getvalue().replace(f"{_ROOT}{os.sep}", "").splitlines()
    share = sum(collected) / taken
    said = f"the collector takes {share:.0%} of it, in {len(collected)} passes"
    return [
        _by_place(profiler),
        said,
        *(line for line in lines if line.strip() and "Ordered by" not in line),
    ]


def _by_place(profiler: cProfile.Profile) -> str:
    """Add up the own time of functions by the part of the library, or what is not of it."""
    profiler.create_stats()
    seconds: Counter[str] = Counter()
    for (path, _, name), (_, _, own, *_) in profiler.stats.items():
        seconds[_place_of(path, name)] += own
    total = sum(seconds.values())
    return ", ".join(f"{place} {own / total:.0%}" for place, own in seconds.most_common(9))


def _place_of(path: str, name: str) -> str:
    parts = Path(path).parts
    if "durably" in parts:
        return f"durably.{parts[parts.index('durably') + 1].removesuffix('.py')}"
    for known in ("sqlite3", "asyncio", "json", "epoll"):
        if known in name or known in parts:
            return known
    return "builtins" if path == "~" else "others"


def _report(results: list[Result], asked: argparse.Namespace) -> None:
    figures: dict[str, Any] = {"machine": _machine(), "rows": [_as_json(one) for one in results]}
    if asked.json == "-":
        print(json.dumps(figures, indent=2))
        return
    if asked.json:
        Path(asked.json).write_text(json.dumps(figures, indent=2) + "\n")
    print(table(results))
    targets = [line.is_met for one in results for line in one.lines if line.is_met is not None]
    print(f"\n{sum(targets)} of {len(targets)} targets met.")
    for one in results:
        if one.profile:
            print(f"\nWhere the time of {one.row} goes:")
            print("\n".join(one.profile))


def _as_json(result: Result) -> dict[str, Any]:
    lines = [asdict(line) | {"is_met": line.is_met} for line in result.lines]
    return asdict(result) | {"lines": lines}


if __name__ == "__main__":
    sys.exit(main())
