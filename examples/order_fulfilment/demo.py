"""Fulfil some hundreds of orders, be killed twice, and show that nothing was lost or doubled.

$ python -m examples.order_fulfilment.demo --orders 300 --kills 2 --seed 7
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom
from threading import Event
from time import monotonic
from typing import Any

from rich.console import Console
from rich.text import Text

from examples.order_fulfilment.books import Books
from examples.order_fulfilment.ledger import check
from examples.order_fulfilment.make_orders import ORDERS
from examples.order_fulfilment.manager import durably
from examples.order_fulfilment.progress import Progress
from examples.order_fulfilment.report import print_report
from examples.order_fulfilment.screen import Screen, screen_for
from examples.order_fulfilment.shop import Shop, read_orders

LOOK_EVERY_SECONDS = 0.08
EARLIEST_KILL, LATEST_KILL = 0.08, 0.85
KILL_DELAY_SECONDS = 0.3
MOURNING_SECONDS = 0.8
PATIENCE_SECONDS = 45
LOG_LINES_SHOWN = 15
INTERRUPTED = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the person asked for.

    Attributes:
        folder: where everything is written. What an earlier demo left there is removed.
        sync: use the `def` flavour.
    """

    orders: int
    kills: int
    seed: int
    folder: Path
    sync: bool

    @property
    def shop(self) -> Path:
        """Where the shop's books and labels are."""
        return self.folder / "shop"

    @property
    def store_url(self) -> str:
        """Where durably keeps the executions."""
        return f"sqlite:{self.folder / 'durably.db'}"

    @property
    def command(self) -> list[str]:
        """What a user would type, word for word: first, and again after each kill."""
        flavour = "fulfilment_sync.py" if self.sync else "fulfilment.py"
        file = os.path.relpath(Path(__file__).with_name(flavour))
        job = {"orders": str(self.folder / "orders.csv"), "shop": {"folder": str(self.shop)}}
        words = ["durably", "run", f"{file}:fulfil_orders", "--name", "demo"]
        return [*words, "--input", json.dumps(job), "--store", self.store_url]


class WorkerFailed(Exception):  # noqa: N818 - what it is
    """The command ended by itself, and not as it should."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if the check holds."""
    settings = parse(arguments)
    console = Console()
    try:
        return demonstrate(settings, console)
    except WorkerFailed as failure:
        console.print(Text.assemble(("✗ ", "bold red"), str(failure)), soft_wrap=True)
        console.print(f"  files: {settings.folder}", style="dim", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        return INTERRUPTED


def parse(arguments: Sequence[str] | None) -> Settings:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--orders", type=int, default=300, help="how many orders (300)")
    parser.add_argument("--kills", type=int, default=2, help="how often to kill the worker (2)")
    parser.add_argument("--seed", type=int, help="decides when to kill it; by default, chance does")
    parser.add_argument("--folder", type=Path, default=Path(".demo"), help="for its files (.demo)")
    parser.add_argument("--sync", action="store_true", help="use the `def` flavour")
    given = parser.parse_args(arguments)
    if given.orders < 1 or given.kills < 0:
        parser.error("there must be an order, and no fewer than 0 kills")
    if given.seed is None:
        given.seed = SystemRandom().randrange(10_000)
    return Settings(**vars(given))


def demonstrate(settings: Settings, console: Console) -> int:
    """Do the work, check it, and say what came out; 0 if the check holds.

    Raises:
        WorkerFailed: the work could not be done.
    """
    prepare(settings)
    orders = read_orders(str(settings.folder / "orders.csv"))
    books = Books(settings.shop)
    console.print(typed(settings.command), highlight=False, soft_wrap=True)
    title = f"{len(orders)} orders, kills: {settings.kills} (--seed {settings.seed})"
    with manager(settings), screen_for(console, title) as screen:
        answer, kills = drive(settings, Progress(orders, books), screen)
    ledger = check(orders, books.effects(), books.labels(), answer, kills)
    print_report(console, ledger, books.inquiries(), kills)
    console.print(f"\n  files: {settings.folder}", style="dim", highlight=False, soft_wrap=True)
    return 1 if ledger.problems else 0


def prepare(settings: Settings) -> None:
    """Make an empty folder with the orders and a shop in it; git is told to overlook it."""
    folder = settings.folder
    if folder.exists() and any(folder.iterdir()) and not (folder / "orders.csv").exists():
        raise SystemExit(f"{folder} has files in it that are not the demo's: name another --folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / ".gitignore").write_text("*\n")
    lines = ORDERS.read_text().splitlines(keepends=True)
    (folder / "orders.csv").write_text("".join(lines[: settings.orders + 1]))
    Shop(str(settings.shop)).open()


def typed(command: Sequence[str]) -> Text:
    """Show *command* as a person would type it."""
    line = shlex.join(command).replace(" --", " \\\n    --")
    return Text.assemble(("$ ", "dim"), (line, "bold"), "\n")


@contextmanager
def manager(settings: Settings) -> Iterator[None]:
    """Have somebody answer the callbacks, through the command line, all the while."""
    module = "examples.order_fulfilment.manager"
    command = [sys.executable, "-m", module, str(settings.shop), settings.store_url]
    with (settings.folder / "manager.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603 - ours
        try:
            yield
        finally:
            process.kill()
            process.wait()


def drive(settings: Settings, progress: Progress, screen: Screen) -> tuple[dict[str, Any], int]:
    """Run the command until it has an answer, and kill it on the way as often as asked.

    Gives the answer, and how often it was killed: fewer times than asked if it was done before.

    Raises:
        WorkerFailed: it did not succeed, or does not go on.
    """
    random = Random(settings.seed)  # noqa: S311 - no secret
    moments = sorted(random.uniform(EARLIEST_KILL, LATEST_KILL) for _ in range(settings.kills))
    again, kills = "", 0
    for moment in moments:
        with worker(settings) as process:
            screen.say(f"durably run{again}: worker {process.pid}")
            watch(process, progress, screen, until=moment)
            Event().wait(random.uniform(0, KILL_DELAY_SECONDS))
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
        kills += 1
        progress.look()
        screen.say(
            f"SIGKILL at {progress.share:.0%} of all effects, "
            f"with {progress.open_orders} orders half way",
            "bold red",
        )
        screen.show(progress, Text(f"worker {process.pid} killed", "bold red"))
        Event().wait(MOURNING_SECONDS)
        again = ", the same command again"
    with worker(settings) as process:
        screen.say(f"durably run{again}: worker {process.pid}")
        watch(process, progress, screen, until=None)
    answer = read_answer(settings, process)
    screen.say("durably run has the result", "bold green")
    return answer, kills


def watch(
    process: subprocess.Popen[bytes], progress: Progress, screen: Screen, until: float | None
) -> None:
    """Show the progress until that share of it is done, or the process has ended.

    Raises:
        WorkerFailed: nothing has happened for long.
    """
    deadline = monotonic() + PATIENCE_SECONDS
    while True:
        if progress.look():
            deadline = monotonic() + PATIENCE_SECONDS
        if monotonic() > deadline:
            raise WorkerFailed(f"nothing has happened for {PATIENCE_SECONDS} s: see the logs")
        screen.show(progress, Text(f"worker {process.pid} runs", "green"))
        if until is not None and progress.share >= until:
            return
        try:
            process.wait(LOOK_EVERY_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


@contextmanager
def worker(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command; never leave it behind."""
    command = [durably(), *settings.command[1:]]
    answer, log = settings.folder / "answer.json", settings.folder / "worker.log"
    with answer.open("wb") as out, log.open("ab") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)  # noqa: S603 - ours
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def read_answer(settings: Settings, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Give what the command wrote to standard output.

    Raises:
        WorkerFailed: it did not succeed.
    """
    if process.returncode != 0:
        log = (settings.folder / "worker.log").read_text(errors="replace")
        tail = "\n".join(log.splitlines()[-LOG_LINES_SHOWN:])
        raise WorkerFailed(f"durably run ended with exit code {process.returncode}:\n{tail}")
    answer: dict[str, Any] = json.loads((settings.folder / "answer.json").read_text())
    return answer


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
