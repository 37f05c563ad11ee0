"""What only real processes show: the SQLite store under kill -9, forks, limits and full disks."""

import asyncio
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from durably.engine.store import Store
from durably.errors import (
    StoreFullError,
    StoreLockedError,
    StoreReadOnlyError,
    StoreUnavailableError,
)
from durably.stores.sqlite import SqliteStore
from durably.testing.store_values import LEASE, T0, change, claim_at, creation, facts_of

# ruff: noqa: S603, S607 - the programs are our own, and mount's

pytestmark = pytest.mark.process

NOBODY = 65_534
HERE = Path(__file__).parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "durably.db"


@contextmanager
def running(program: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    arguments = [sys.executable, str(HERE / program), str(path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def with_store(path: Path, use: Callable[[SqliteStore], Awaitable[object]]) -> None:
    async def run() -> None:
        store = SqliteStore(path)
        await store.open()
        try:
            await use(store)
        finally:
            await store.close()

    asyncio.run(run())


def test_whatever_was_acknowledged_survives_kill_9(path: Path) -> None:
    acknowledged: dict[str, int] = {}
    for _ in range(3):
        path.unlink(missing_ok=True)
        with running("append_until_killed.py", path) as process:
            lines = [read_line(process) for _ in range(1_000)]
            process.send_signal(signal.SIGKILL)
            assert process.stdout is not None
            lines += process.stdout.readlines()
        for line in lines:
            if line.endswith("\n"):
                name, version = line.split()
                acknowledged[name] = int(version)

        async def check(store: SqliteStore) -> None:
            for name, version in acknowledged.items():
                facts = await facts_of(store, f"f/{name}")
                assert len(facts) >= version
                assert facts == tuple(b"%d" % number for number in range(len(facts)))
            claims = await claim_at(store, limit=100)
            assert len(claims) == 20
            assert all(claim.is_takeover for claim in claims)

        with_store(path, check)
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        acknowledged.clear()


def test_one_process_at_a_time_and_kill_9_frees_the_store(path: Path) -> None:
    async def nothing(store: SqliteStore) -> None:
        """Open and close."""

    with running("append_until_killed.py", path) as process:
        read_line(process)
        with pytest.raises(StoreLockedError, match=rf"process {process.pid}\b"):
            with_store(path, nothing)
        process.send_signal(signal.SIGKILL)
        process.wait()

        with_store(path, nothing)


def test_a_reader_works_beside_another_process(path: Path) -> None:
    async def read() -> None:
        reader = SqliteStore(path, read_only=True)
        await reader.open()
        assert await facts_of(reader, "f/0")
        await reader.close()

    with running("append_until_killed.py", path) as process:
        read_line(process)

        asyncio.run(read())

        assert read_line(process)


def test_a_forked_child_neither_uses_the_store_nor_keeps_its_lock(path: Path) -> None:
    with running("fork_while_open.py", path) as process:
        lines = [read_line(process) for _ in range(4)]
        [child] = [int(line) for line in lines if line.strip().isdigit()]
        try:
            assert sum(line.startswith("refused: ") for line in lines) == 3
            process.send_signal(signal.SIGKILL)
            process.wait()

            async def check(store: SqliteStore) -> None:
                assert await facts_of(store, "f/a") == (b"started", b"parent")
                os.kill(child, signal.SIGTERM)
                await store.append([change("a", 2, b"2")])

            with_store(path, check)
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_program_that_does_not_close_its_store_ends(path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from durably.stores.sqlite import SqliteStore\n"
        "from durably.testing.store_values import creation\n"
        "store = SqliteStore(sys.argv[1])\n"
        "async def main():\n"
        "    await store.open()\n"
        "    store.append_soon(creation('a'))\n"
        "    await store.append([creation('b'), creation('c')])\n"
        "asyncio.run(main())\n"
    )

    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=8)

    async def check(store: SqliteStore) -> None:
        assert await facts_of(store, "f/b") == (b"started",)

    with_store(path, check)


@pytest.mark.parametrize("is_free", [True, False])
def test_a_soon_change_is_written_while_the_loop_is_blocked(
    path: Path,
    is_free: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Without the interpreter's lock the thread comes last, by a switch interval or two."""

    async def check(store: SqliteStore) -> None:
        await store.append([creation("a")])
        reader = sqlite3.connect(path)
        for version in range(1, 40):
            store.append_soon(change("a", version, b"x"))
            began = time.perf_counter()
            while reader.execute("SELECT max(position) FROM facts").fetchone() != (version,):
                if is_free:
                    time.sleep(0.0001)  # noqa: TID251, ASYNC251 - user code that blocks the loop
                assert time.perf_counter() - began < 1
        reader.close()

    with_store(path, check)


def test_a_file_that_may_not_grow_fails_whole_appends(path: Path) -> None:
    async def check(store: SqliteStore) -> None:
        await store.append([creation("a")])
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
        try:
            version = await _fill(store, StoreUnavailableError)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert len(await facts_of(store, "f/a")) == version
        await store.append([change("a", version, b"next")])

    with_store(path, check)


def test_a_full_disk_fails_whole_appends_until_there_is_room(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(300_000))

        async def check(store: SqliteStore) -> None:
            await store.append([creation("a")])
            version = await _fill(store, StoreFullError)
            assert len(await facts_of(store, "f/a")) == version
            with pytest.raises(StoreFullError):
                await store.append([change("a", version, bytes(100_000))])

            ballast.unlink()

            await store.append([change("a", version, b"next")])
            assert len(await facts_of(store, "f/a")) == version + 1

        with_store(disk / "durably.db", check)
        with_store(disk / "durably.db", lambda store: facts_of(store, "f/a"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


async def _fill(store: Store, error: type[Exception]) -> int:
    """Append to `f/a` until it fails; give the version it has then."""
    for version in range(1, 1_000):
        try:
            await store.append([change("a", version, bytes(10_000))])
        except error:
            return version
    pytest.fail(f"{error.__name__} was not raised")


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """Make a folder that other users can read."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_what_may_not_be_written_can_be_read(shared_folder: Path) -> None:
    path = shared_folder / "durably.db"
    with_store(path, lambda store: store.append([creation("a")]))
    path.chmod(0o444)
    Path(f"{path}.lock").unlink()
    shared_folder.chmod(0o555)

    async def read() -> None:
        reader = SqliteStore(path, read_only=True)
        await reader.open()
        assert await facts_of(reader, "f/a") == (b"started",)
        await reader.close()

    async def write() -> None:
        with pytest.raises(StoreReadOnlyError):
            await SqliteStore(path).open()

    _without_rights(read)
    _without_rights(write)


def test_a_file_that_may_not_be_written_is_refused(shared_folder: Path) -> None:
    path = shared_folder / "durably.db"
    with_store(path, lambda store: store.append([creation("a")]))
    path.chmod(0o444)
    Path(f"{path}.lock").unlink()
    shared_folder.chmod(0o777)

    async def write() -> None:
        with pytest.raises(StoreReadOnlyError):
            await SqliteStore(path).open()

    _without_rights(write)


def _without_rights(use: Callable[[], Awaitable[None]]) -> None:
    """Run *use* in a child that file permissions hold for, whoever runs the tests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that forking and threads do not mix
        child = os.fork()
    if not child:
        code = 1
        try:
            if not os.geteuid():
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            asyncio.run(_awaited(use))
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


async def _awaited(use: Callable[[], Awaitable[None]]) -> None:
    await use()


def test_the_cost_of_claiming_does_not_depend_on_who_sleeps(path: Path) -> None:
    """A coarse guard; `benchmarks/store_floor.py` gives the figures."""

    async def check(store: SqliteStore) -> None:
        sleeping = [creation(str(number)) for number in range(5_000)]
        await store.append(sleeping)
        began = time.perf_counter()
        for _ in range(20):
            assert not await claim_at(store, T0 + LEASE)
        assert time.perf_counter() - began < 0.05

    with_store(path, check)
