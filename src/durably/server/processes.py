"""Functions in processes of their own: started, shown, started again, ended."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from durably.engine.arns import LATEST
from durably.errors import ValidationError
from durably.server.access import AccessKey
from durably.server.attached import FunctionSettings
from durably.server.listening import LOOPBACK
from durably.server.runtimes import Runtime, lost
from durably.words import in_words

START_SECONDS = 10.0
"""How long a process may take at least until it asks for an invocation: as on Lambda."""

_TIED = (
    "/bin/sh",
    "-c",
    (
        "exec 3<&0 </dev/null;"
        " ( (trap '' TERM; read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 & );"
        ' exec "$@" 3<&-'
    ),
    "durably",
)
"""Runs the command that follows, as this very process, and ends it with all that it has started
when nobody holds the other end of standard input any more: when this server is gone."""

_ANYTHING = "durably"
_FIRST_PAUSE_SECONDS = 0.25
_MAX_PAUSE_SECONDS = 10.0
_PATIENCE_SECONDS = 2.0
_READ_BYTES = 65_536
_MAX_LINE_BYTES = 65_536
_REST_SECONDS = 1.0
"""How long the end of a line is waited for: what comes later is another line."""

_LINES_IN_TURN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What processes of functions are told of the world.

    Attributes:
        endpoint: where the API is served.
        region: which region it is said to be.
        key: what they sign requests with there; any will do if it is `None`.
        folder: where they are started.
        environ: what they inherit. Settings of AWS are not among it: neither the profile nor the
            keys of whoever has started this server are any business of a function's.
    """

    endpoint: str
    region: str
    folder: Path
    environ: Mapping[str, str]
    key: AccessKey | None = None

    def environ_for(self, settings: FunctionSettings, command: str, port: int) -> dict[str, str]:
        """Give the environment of a function's process."""
        own = {name: value for name, value in self.environ.items() if not name.startswith("AWS_")}
        return own | {
            "AWS_ACCESS_KEY_ID": _ANYTHING if self.key is None else self.key.key_id,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_LAMBDA": self.endpoint,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(settings.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": settings.name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": f"{settings.timeout_seconds:.15g}",
            "AWS_LAMBDA_FUNCTION_VERSION": LATEST,
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{settings.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
            "AWS_LAMBDA_RUNTIME_API": f"{LOOPBACK}:{port}",
            "AWS_REGION": self.region,
            "AWS_SECRET_ACCESS_KEY": _ANYTHING if self.key is None else self.key.secret,
            "LAMBDA_TASK_ROOT": str(self.folder),
            "PYTHONUNBUFFERED": "1",
            "_HANDLER": own.get("_HANDLER") or split_command(command)[-1],
        }


def split_command(command: str) -> tuple[str, ...]:
    """Split a command into words, as a shell does; nothing else that a shell does is done.

    Raises:
        ValidationError: there are no words, or a quotation mark is missing.
    """
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise ValidationError("command", f"{command!r}: {error}") from error
    if not words:
        raise ValidationError("command", "is empty")
    return words


class FunctionProcess:
    """Keeps the process of one function running, from `run` until that is cancelled.

    Args:
        runtime: the function, as its process meets it.
        command: what is run.
        environ: its environment.
        folder: where it is run.
        say: told the lines that the process writes, some at once, and what becomes of it.
        start_seconds: how long it may take until it asks for an invocation, at the start and after
            each answer; or the function's time-out, if that is longer.
    """

    def __init__(
        self,
        runtime: Runtime,
        command: str,
        environ: Mapping[str, str],
        folder: Path,
        say: Callable[[str], None],
        *,
        start_seconds: float = START_SECONDS,
    ) -> None:
        self.runtime = runtime
        self._start_seconds = max(start_seconds, runtime.settings.timeout_seconds)
        self._words = split_command(command)
        self._environ = dict(environ)
        self._folder = folder
        self._say = say
        self._process: Process | None = None
        self._told: Process | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._hurry = asyncio.Event()
        runtime.on_timeout = self._end_at_time_out
        runtime.on_change = self._look

    async def run(self) -> None:
        """Start the process, and again whenever it ends; ever later while it does nothing."""
        idle_ends = 0
        while True:
            self.runtime.begin()
            is_told = await self._run_once()
            idle_ends = 0 if is_told or self.runtime.has_handed_out else idle_ends + 1
            self._hurry.clear()
            if idle_ends:
                pause = min(_FIRST_PAUSE_SECONDS * 2 ** (idle_ends - 1), _MAX_PAUSE_SECONDS)
                self._say(f"will be started again in {pause:g} s")
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._hurry.wait()

    async def reload(self) -> None:
        """Have the process started anew, once it has answered what it works on.

        It has its time-out for that. Meanwhile, to ask again changes nothing: it will have the
        files as they are then.
        """
        self._hurry.set()
        process = self._process
        if process is None or process is self._told:
            return
        self._told = process
        self._say("files have changed: it is started anew")
        with self.runtime.paused():
            await self.runtime.wait_until_idle()
            await _end(process)

    async def _run_once(self) -> bool:
        """Run the process once. `True`: it ended because it was told to."""
        try:
            process, output = await self._start()
        except OSError as error:
            self._give_up(f"{self._words[0]} cannot be started: {error.strerror}")
            return False
        self._process = process
        self._look()
        showing = asyncio.create_task(self._show(output))
        try:
            code = await process.wait()
            is_told = self._told is process
            self._give_up("" if is_told else f"the process ended: {_exit_text(code)}")
            return is_told
        finally:
            self._process = None
            self._look()
            await asyncio.shield(_end(process))
            if process.stdin is not None:
                process.stdin.close()
            await _ended(showing)

    async def _start(self) -> tuple[Process, int]:
        """Start the process, and give it with the end of a pipe where its output is to be read.

        The pipe is not asyncio's, which notices no death as long as others hold its other end.
        """
        reading, writing = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *_tied(self._words, self._environ),
                stdin=PIPE,
                stdout=writing,
                stderr=STDOUT,
                env=self._environ,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C is ours to pass on, and it may start others
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return process, reading

    def _give_up(self, why: str) -> None:
        if why:
            self._say(why)
        exited = lost(f"Error: Runtime exited: {why or 'it was started anew'}")
        error = self.runtime.init_error or exited
        self.runtime.end(error, with_waiting=not self.runtime.has_asked)

    def _look(self) -> None:
        """Wait for a process that neither asks for an invocation nor works on one; not for long."""
        is_awaited = self._process is not None and not self.runtime.is_present
        if is_awaited and self._patience is None:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(self._start_seconds, self._end_silent)
        elif not is_awaited and self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _end_silent(self) -> None:
        self._patience = None
        self._kill(
            f"did not ask for an invocation within {in_words(self._start_seconds)}"
            " (at AWS_LAMBDA_RUNTIME_API, as a runtime of Lambda does)"
        )

    def _end_at_time_out(self) -> None:
        seconds = self.runtime.settings.timeout_seconds
        self._kill(f"did not answer within {in_words(seconds)}")

    def _kill(self, why: str) -> None:
        """End a process that takes too long, whatever it does."""
        self._say(why)
        if self._process is not None:
            _signal(self._process, signal.SIGKILL)

    async def _show(self, output: int) -> None:
        async with _reading(output) as reader:
            rest = b""
            while (chunk := await _read(reader, _REST_SECONDS if rest else None)) != b"":
                if chunk is None:
                    await self._say_all(rest)
                    rest = b""
                    continue
                done, newline, rest = (rest + chunk).rpartition(b"\n")
                if len(rest) > _MAX_LINE_BYTES:
                    done, rest = done + newline + rest, b""
                if done or newline:
                    await self._say_all(done)
            if rest:
                await self._say_all(rest)

    async def _say_all(self, output: bytes) -> None:
        """Say what stands in *output*, so many lines a turn: there may be one for every byte.

        Runtimes of Lambda end those inside one with a CR.
        """
        lines = output.decode(errors="replace").replace("\r\n", "\n").removesuffix("\r")
        parts = lines.replace("\r", "\n").split("\n")
        for first in range(0, len(parts), _LINES_IN_TURN):
            self._say("\n".join(parts[first : first + _LINES_IN_TURN]))
            await asyncio.sleep(0)


@asynccontextmanager
async def _reading(pipe: int) -> AsyncGenerator[asyncio.StreamReader]:
    """Read what comes out of *pipe*, and close it in the end."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", buffering=0)
    )
    try:
        yield reader
    finally:
        transport.close()


async def _read(reader: asyncio.StreamReader, seconds: float | None) -> bytes | None:
    """Read what is there, nothing at the end. `None`: for so long, nothing has come."""
    try:
        async with asyncio.timeout(seconds):
            return await reader.read(_READ_BYTES)
    except TimeoutError:
        return None


def _tied(words: tuple[str, ...], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Give what runs a command so that it does not outlive this process, however that ends.

    What cannot be started stays as it is, so that whoever starts it is told why.
    """
    is_there = shutil.which(words[0], path=environ.get("PATH")) is not None
    return (*_TIED, *words) if is_there else words


async def _end(process: Process) -> None:
    """End *process* and what it has started: told first, made to soon after."""
    if process.returncode is None:
        _signal(process, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await process.wait()
    _signal(process, signal.SIGKILL)
    await process.wait()


async def _ended(showing: asyncio.Task[None]) -> None:
    """Wait for the last lines, but not for ever: others may hold the pipe open."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await asyncio.shield(showing)
    showing.cancel()


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal: {signal.Signals(-code).name}"
    except ValueError:
        return f"signal: {-code}"
