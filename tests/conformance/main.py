"""Run the official conformance suite: a server, our handlers, the official validator.

`python -m tests.conformance.main` runs everything, in every flavour and in every way. Exit code 0
only when every requirement is met in every run.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tests.conformance.logs import ExecutionLogs, capture
from tests.conformance.runs import HANDLERS, RUNS, STORES, SUITES, Run, new_store
from tests.conformance.server import ServerUnderTest
from tests.conformance.suite import Suite
from tests.conformance.validator import (
    Requirement,
    Validator,
    Verdict,
    find_requirements,
    silenced,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what *arguments* select; say how it went."""
    parser = _parser()
    options = parser.parse_args(arguments)
    runs = [run for run in RUNS if options.flavour in (None, run.flavour)]
    runs = [run for run in runs if options.store in (None, run.store)]
    runs = [run for run in runs if options.remote in (None, run.is_remote)]
    if not runs:
        parser.error("there is no such run")
    requirements = [
        requirement
        for requirement in find_requirements(options.requirements)
        if options.suite is None or requirement.suite in options.suite
        if options.only is None or requirement.id in options.only
    ]
    if not requirements:
        parser.error("there are no such requirements")
    logs = capture(HANDLERS)
    is_whole = True
    for run in runs:
        suites = run.handlers()
        chosen = requirements
        if run.flavour == "def":  # the others have no handlers of this flavour
            chosen = [requirement for requirement in chosen if requirement.suite in suites]
        verdicts = _validate(run, list(suites.values()), chosen, logs, options.workers)
        is_whole &= _report(run, verdicts)
    return 0 if is_whole else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("--flavour", choices=("async", "def"), help="only handlers of this one")
    parser.add_argument("--store", choices=STORES, help="only on this one")
    parser.add_argument(
        "--remote",
        action=argparse.BooleanOptionalAction,
        help="only handlers that come in over HTTP, or only those that do not",
    )
    parser.add_argument("--suite", nargs="+", choices=SUITES, help="only these suites")
    parser.add_argument("--only", nargs="+", metavar="ID", help="only these requirements")
    parser.add_argument(
        "--requirements",
        type=Path,
        metavar="DIR",
        help="a folder of requirement files, one subfolder a suite; default: the package's own",
    )
    parser.add_argument("--workers", type=int, default=16, help="how many at once (default 16)")
    return parser


def _validate(
    run: Run,
    suites: Sequence[Suite],
    requirements: Sequence[Requirement],
    logs: ExecutionLogs,
    workers: int,
) -> list[Verdict]:
    functions = [function for suite in suites for function in suite.all()]
    names = {
        requirement: function.name
        for suite in suites
        for requirement, function in suite.functions.items()
    }
    verdicts = []
    with new_store(run.store) as store:
        console = sys.stdout
        server = ServerUnderTest(store, functions, is_remote=run.is_remote)
        with server, silenced(console):
            validator = Validator(server.endpoint, names, logs)
            with ThreadPoolExecutor(workers) as pool:
                futures = [pool.submit(validator.validate, one) for one in requirements]
                for future in as_completed(futures):
                    verdict = future.result()
                    verdicts.append(verdict)
                    for error in verdict.errors:
                        print(f"{verdict.requirement.id}: {error}", file=console, flush=True)
    return verdicts


def _place(verdict: Verdict) -> Requirement:
    return verdict.requirement


def _report(run: Run, verdicts: Sequence[Verdict]) -> bool:
    """Print how many of each suite passed; `True` when all did, and there were any."""
    total = Counter(verdict.requirement.suite for verdict in verdicts)
    passed = Counter(verdict.requirement.suite for verdict in verdicts if not verdict.errors)
    print(f"conformance: {run}")
    for suite in dict.fromkeys(
        verdict.requirement.suite for verdict in sorted(verdicts, key=_place)
    ):
        print(f"  {suite:<20} {passed[suite]:>3} of {total[suite]:>3}")
    print(f"  {'in all':<20} {passed.total():>3} of {total.total():>3}", flush=True)
    return 0 < total.total() == passed.total()


if __name__ == "__main__":
    sys.exit(main())
