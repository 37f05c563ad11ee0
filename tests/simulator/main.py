"""`make fuzz`: whole worlds from seeds, judged by the invariants; a failing seed is told with how
to repeat it.

    python -m tests.simulator.main --seeds 2000
    python -m tests.simulator.main --seeds 2000 --until-failure
    python -m tests.simulator.main --repeat 1234@0a1b2c3 --trace
    python -m tests.simulator.main --repeat '{"seed": 1234, "store": "sqlite"}' --shrink

The exit code is 1 if an invariant was violated, or a long run never came to a state that it must.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from tests.simulator.case import Case, case_of
from tests.simulator.faults import KINDS
from tests.simulator.run import Verdict, run
from tests.simulator.shrink import Shrinking
from tests.simulator.trace import SOMETIMES
from tests.simulator.world import Shape

_ROOT = Path(__file__).parents[2]
_LONG = 1000
"""A run of so many seeds must come to every state of `SOMETIMES`."""
_CHUNK = 4
_YOUNG_OBJECTS = 50_000
_EVERY_SECONDS = 10.0
_SHRINK_SECONDS = 300.0
_SHOWN_FAILURES = 20
_SHOWN_VIOLATIONS = 3


@dataclass(slots=True)
class Sum:
    """What came of many runs."""

    seeds: int = 0
    executions: int = 0
    updates: int = 0
    steps: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    reached: Counter[str] = field(default_factory=Counter[str])
    stores: Counter[str] = field(default_factory=Counter[str])
    failed: list[Verdict] = field(default_factory=list[Verdict])

    def add(self, verdict: Verdict) -> None:
        """Count one more run."""
        self.seeds += 1
        self.executions += verdict.executions
        self.updates += verdict.updates
        self.steps += verdict.steps
        self.faults += verdict.faults
        self.reached.update(set(verdict.reached))
        self.stores[verdict.case.store] += 1
        if verdict.violations:
            self.failed.append(verdict)

    @property
    def missed(self) -> list[str]:
        """What a run of so many seeds should have come to, and did not."""
        return [state for state in SOMETIMES if not self.reached[state]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run many seeds, or one case again."""
    asked = _parse(arguments)
    if asked.repeat is not None:
        return _repeat(asked.repeat, is_traced=asked.trace, is_shrunk=asked.shrink)
    began = monotonic()
    total = Sum()
    told_at = began
    for verdict in _verdicts(asked):
        total.add(verdict)
        if verdict.violations and len(total.failed) <= _SHOWN_FAILURES:
            _show_failure(verdict)
        if verdict.violations and asked.until_failure:
            break
        if monotonic() - told_at > _EVERY_SECONDS:
            told_at = monotonic()
            _show_progress(total, asked.seeds, told_at - began)
    _show_sum(total, monotonic() - began, asked.processes)
    is_short = total.seeds < _LONG
    return int(bool(total.failed) or not (is_short or not total.missed))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulator.main",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=100, help="how many; 100 by default")
    parser.add_argument("--first", type=int, default=0, help="the first one; 0 by default")
    parser.add_argument("--processes", type=int, default=2, help="how many at once; 2 by default")
    parser.add_argument(
        "--store",
        choices=("memory", "sqlite", "shared"),
        help="only this one; by default each seed's own",
    )
    parser.add_argument(
        "--until-failure", action="store_true", help="end with the first seed that fails"
    )
    parser.add_argument(
        "--repeat", metavar="CASE", help="run one case again, as a failure named it"
    )
    parser.add_argument("--trace", action="store_true", help="with it: show what happened")
    parser.add_argument("--shrink", action="store_true", help="with it: make it smaller first")
    return parser.parse_args(arguments)


def _verdicts(asked: argparse.Namespace) -> Iterator[Verdict]:
    cases = [case_of(seed) for seed in range(asked.first, asked.first + asked.seeds)]
    if asked.store is not None:
        cases = [case.with_(store=asked.store) for case in cases]
    if asked.processes == 1:
        yield from map(run, cases)
        return
    with ProcessPoolExecutor(asked.processes, initializer=_collect_rarely) as pool:
        try:
            yield from pool.map(run, cases, chunksize=_CHUNK)
        finally:
            pool.shutdown(cancel_futures=True)


def _collect_rarely() -> None:
    """Look less often for what can be given back: a world is gone as a whole when it is over."""
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


def _repeat(text: str, *, is_traced: bool, is_shrunk: bool) -> int:
    name, _, commit = text.partition("@")
    if commit and not _commit().startswith(commit):
        print(f"simulator: that was seen at {commit}; this is {_commit()}", file=sys.stderr)
    case = Case.read(name)
    verdict = run(case, is_traced=is_traced and not is_shrunk)
    if is_shrunk and verdict.violations:
        smaller = _shrunk(verdict)
        verdict = run(smaller, is_traced=is_traced)
    for event in verdict.events:
        print(event)
    if verdict.violations:
        _show_failure(verdict)
    else:
        print(f"simulator: {verdict.case.text} violates nothing; its digest is {verdict.digest:x}")
    return int(bool(verdict.violations))


def _shrunk(verdict: Verdict) -> Case:
    """Find a smaller case that violates one of the same invariants."""
    names = set(verdict.violations)
    drawn: dict[Case, int] = {verdict.case: verdict.drawn}

    def fails(case: Case) -> bool:
        again = run(case)
        drawn[case] = again.drawn
        return bool(names & set(again.violations))

    shrinking = Shrinking(verdict.case, fails, _time_for(_SHRINK_SECONDS))
    scenarios = Shape.of(verdict.case).scenarios
    case = shrinking.shrink(scenarios, drawn.__getitem__)
    print(f"simulator: the smallest of {shrinking.tried} cases", file=sys.stderr)
    return case


def _time_for(seconds: float) -> Callable[[], bool]:
    until = monotonic() + seconds
    return lambda: monotonic() < until


def _commit() -> str:
    git = ("git", "rev-parse", "--short", "HEAD")
    done = subprocess.run(git, cwd=_ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - git
    return done.stdout.strip() or "unknown"


# What is shown


def _show_failure(verdict: Verdict) -> None:
    text = verdict.case.text
    case = f"{text}@{_commit()}" if text.isdigit() else f"'{text}'"
    print(f"\nFAILED: python -m tests.simulator.main --repeat {case} --shrink --trace")
    for name, violations in verdict.violations.items():
        for violation in violations[:_SHOWN_VIOLATIONS]:
            print(f"  {name}: {violation}")
        if len(violations) > _SHOWN_VIOLATIONS:
            print(f"  {name}: and {len(violations) - _SHOWN_VIOLATIONS} more")
    sys.stdout.flush()


def _show_progress(total: Sum, seeds: int, seconds: float) -> None:
    share = total.seeds / seeds
    left = seconds / share - seconds
    print(
        f"simulator: {total.seeds:,} of {seeds:,} seeds, {total.executions:,} executions,"
        f" {len(total.failed)} failed; {seconds:.0f} s, about {left:.0f} s to go",
        flush=True,
    )


def _show_sum(total: Sum, seconds: float, processes: int) -> None:
    faults = sum(total.faults.values())
    stores = ", ".join(f"{count:,} on {store}" for store, count in total.stores.most_common())
    print(f"\nseeds       {total.seeds:>12,}   {stores}; {seconds:.0f} s in {processes} processes")
    print(f"executions  {total.executions:>12,}   {total.executions / seconds:,.0f} a second")
    print(f"updates     {total.updates:>12,}   accepted")
    print(f"callbacks   {total.steps:>12,}   of the event loop")
    print(f"faults      {faults:>12,}")
    for kind in sorted({*KINDS, *total.faults}, key=lambda kind: -total.faults[kind]):
        print(f"  {total.faults[kind]:>20,}   {kind}")
    came_to = len(SOMETIMES) - len(total.missed)
    print(f"reached     {came_to:>12,}   of {len(SOMETIMES)} states, each in so many seeds")
    for state in sorted(SOMETIMES, key=lambda state: -total.reached[state]):
        print(f"  {total.reached[state]:>20,}   {state}")
    print(f"failed      {len(total.failed):>12,}   seeds")
    for verdict in total.failed:
        print(f"  {', '.join(verdict.violations):>20}   --repeat '{verdict.case.text}'")


if __name__ == "__main__":
    sys.exit(main())
