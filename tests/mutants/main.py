"""`make mutants`: defects that other systems had are planted one by one; a test must notice each.

Each is put into a copy of the source. The few test files that are about its place are run there,
and then simulated worlds, seed after seed, until one violates something. Both must notice it, but
for those defects that say why no simulation can. The exit code is 1 if one survives: then a test is
missing. A defect whose anchor is not found exactly once is an error, too: the code has moved on,
and the list must follow.

The rows of what was tried are written into the table of `docs/explanation/mutants.md`; with
`CI=true` it is left alone.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import SimpleQueue
from time import monotonic

from tests.mutants.defects import DEFECTS, Defect
from tests.mutants.page import PAGE, Row, write_page

_ROOT = Path(__file__).parents[2]
_COPIED = ("src", "tests", "pyproject.toml")
_SECONDS = 60.0
_SOUND_SECONDS = 300.0
_SIMULATED_SECONDS = 900.0
_SEEDS = 2000
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?::\S+)", re.MULTILINE)
_VIOLATED = re.compile(r"^ +([\w, ]+?) +--repeat '", re.MULTILINE)
_COUNT = re.compile(r"^seeds +([\d,]+) ", re.MULTILINE)


class Verdict(StrEnum):
    """What became of a defect."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    UNUSABLE = "UNUSABLE"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A defect, what became of it, and what noticed it or why it could not be tried.

    Attributes:
        seeds: how many simulated worlds it took until one violated something; 0: none was tried.
        violated: what that violated.
    """

    defect: Defect
    verdict: Verdict
    by: str
    seconds: float
    seeds: int = 0
    violated: str = ""


class Copy:
    """A copy of the repository that defects are planted in, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in _COPIED:
            source = _ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.db*")
                shutil.copytree(source, folder / name, ignore=ignored)
            else:
                shutil.copy(source, folder / name)

    def try_out(self, defect: Defect, seeds: int) -> Outcome:
        """Plant *defect*, run its tests and at most *seeds* worlds, and take it out again."""
        path = self._folder / "src" / "durably" / defect.path
        clean = path.read_text()
        began = monotonic()
        found = clean.count(defect.find)
        if found != 1:
            return Outcome(defect, Verdict.UNUSABLE, f"its anchor is there {found} times", 0.0)
        path.write_text(clean.replace(defect.find, defect.put))
        count, violated = 0, ""
        try:
            verdict, by = _judge(*self.run(defect.tests))
            if verdict is Verdict.KILLED and not defect.unmet:
                count, violated = self.simulate(seeds, defect.store)
                if not count:
                    verdict, by = Verdict.UNUSABLE, violated
        finally:
            path.write_text(clean)
        if count and not violated:
            verdict = Verdict.SURVIVED
        return Outcome(defect, verdict, by, monotonic() - began, count, violated)

    def run(self, tests: Iterable[str], seconds: float = _SECONDS) -> tuple[int | None, str]:
        """Run *tests* to the first failure; the code is `None` when they hang."""
        program = ["pytest", "-x", "-q", "--tb=line"]
        program += ["-p", "no:cacheprovider", "-p", "tests.mutants.quick", *tests]
        program += ["-k", "not Postgres"]  # nothing is planted there, and a server takes its time
        return self._python(program, seconds)

    def simulate(self, seeds: int, store: str) -> tuple[int, str]:
        """Run worlds until one violates something; give their number, and what was violated.

        *store* names the store of all; "": each seed's own. The number is 0 if they came to
        no end, and then what is given is how they ended.
        """
        program = ["tests.simulator.main", "--until-failure", "--processes", "1"]
        program += ["--store", store] if store else []
        code, text = self._python([*program, "--seeds", str(seeds)], _SIMULATED_SECONDS)
        count, violated = _COUNT.search(text), _VIOLATED.search(text)
        if count is None:
            ended = "did not end in time" if code is None else f"ended with {code}: {text[-300:]}"
            return 0, f"the simulated worlds {ended}"
        return int(count[1].replace(",", "")), violated[1] if violated else ""

    def _python(self, program: Sequence[str], seconds: float) -> tuple[int | None, str]:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        environment["PYTHONPATH"] = os.pathsep.join((str(self._folder / "src"), str(self._folder)))
        try:
            done = subprocess.run(  # noqa: S603 - Python, on programs of ours
                [sys.executable, "-m", *program],
                cwd=self._folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            return None, ""
        return done.returncode, done.stdout + done.stderr


def _judge(code: int | None, text: str) -> tuple[Verdict, str]:
    if code is None:
        return Verdict.KILLED, f"hangs for {_SECONDS:.0f} s"
    if code == 0:
        return Verdict.SURVIVED, "no test noticed"
    failed = _FAILED.search(text)
    if failed is None or code != 1:
        return Verdict.UNUSABLE, f"pytest ended with {code}: {text[-300:]}"
    return Verdict.KILLED, failed[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all defects, two at a time, and show what became of them."""
    asked = _parse(arguments)
    chosen = [one for one in DEFECTS if not asked.only or any(a in one.name for a in asked.only)]
    began = monotonic()
    with tempfile.TemporaryDirectory(prefix="durably-mutants-") as name:
        copies: SimpleQueue[Copy] = SimpleQueue()
        for number in range(asked.jobs):
            copies.put(Copy(Path(name) / str(number)))
        if not _is_sound(copies, {test for one in chosen for test in one.tests}):
            return 2
        outcomes = _try_all(copies, chosen, asked)
    _report(outcomes, monotonic() - began)
    if os.environ.get("CI") != "true":
        rows = [Row(one.defect, one.by, one.seeds, one.violated) for one in outcomes]
        PAGE.write_text(write_page(rows, PAGE.read_text()))
    return int(any(one.verdict is not Verdict.KILLED for one in outcomes))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants.main", description=__doc__)
    parser.add_argument("only", nargs="*", help="only defects whose name contains one of these")
    parser.add_argument(
        "--seeds", type=int, default=_SEEDS, help=f"worlds for each, at most; {_SEEDS} by default"
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time; 2 by default")
    return parser.parse_args(arguments)


def _is_sound(copies: SimpleQueue[Copy], tests: set[str]) -> bool:
    """Whether the tests pass without any defect: otherwise their failing would mean nothing."""
    print(f"mutants: first without any defect, {len(tests)} files of tests", flush=True)
    copy = copies.get()
    code, text = copy.run(sorted(tests), _SOUND_SECONDS)
    copies.put(copy)
    if code != 0:
        print(f"mutants: the tests fail without any defect\n{text[-3000:]}")
    return code == 0


def _try_all(
    copies: SimpleQueue[Copy], defects: list[Defect], asked: argparse.Namespace
) -> list[Outcome]:
    def try_out(defect: Defect) -> Outcome:
        copy = copies.get()
        try:
            return copy.try_out(defect, asked.seeds)
        finally:
            copies.put(copy)

    outcomes: dict[str, Outcome] = {}
    with ThreadPoolExecutor(asked.jobs) as pool:
        for future in as_completed([pool.submit(try_out, one) for one in defects]):
            one = future.result()
            outcomes[one.defect.name] = one
            done = f"[{len(outcomes):>2}/{len(defects)}]"
            print(f"{done} {one.verdict:<8} {one.seconds:4.1f} s  {one.defect.name}", flush=True)
    return [outcomes[defect.name] for defect in defects]


def _report(outcomes: list[Outcome], seconds: float) -> None:
    print()
    width = max(len(one.defect.name) for one in outcomes)
    for one in outcomes:
        defect = one.defect
        print(f"{one.verdict:<8}  {defect.name:<{width}}  {one.by}")
        print(f"{'':8}  {'':{width}}  {defect.rule}; seen in {defect.origin}")
        if one.seeds:
            said = f"violated {one.violated}" if one.violated else "no world violated anything"
            print(f"{'':8}  {'':{width}}  {said}, {one.seeds} worlds")
    killed = sum(one.verdict is Verdict.KILLED for one in outcomes)
    print(f"\nmutants: {killed} of {len(outcomes)} defects noticed, in {seconds:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
