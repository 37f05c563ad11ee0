"""What `durably dev` and `durably serve` do. Nothing else of the command line needs the server."""

from __future__ import annotations

import asyncio
import errno
import re
import shutil
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from durably.app.settings import EngineSettings, is_function_name, is_postgres, shown_url
from durably.app.signals import StopSignals
from durably.cli.errors import Trouble
from durably.cli.logs import log_to_console
from durably.cli.printing import colored, counted, safe, safe_lines, tell_at_once
from durably.errors import ValidationError
from durably.handler import DurableFunction
from durably.seams import RandomIds
from durably.server.access import (
    EVERYTHING,
    LOOPBACK_HOSTS,
    Access,
    AccessKey,
    BearerToken,
    Permission,
    is_loopback,
)
from durably.server.attached import FunctionSettings
from durably.server.connections import allow_open_files
from durably.server.credentials import read_credentials
from durably.server.http_target import shown_address, split_url
from durably.server.listening import bound_socket
from durably.server.processes import split_command
from durably.server.serving import Serving, Source
from durably.server.watching import changes
from durably.words import in_words

__all__ = ["asked_for", "changes", "nothing_else", "run_server"]

_OF_FUNCTIONS = frozenset({Permission.CALLBACK, Permission.CHECKPOINT, Permission.START})
"""What the processes of functions may do where every credential says what it is for."""

_HOW_TO_NAME = (
    "Write NAME=COMMAND or NAME=URL, as in --function 'resize=node resize.mjs'; a NAME has letters,"
    " digits, '-' and '_'."
)
_MAX_HANDLER = 128  # characters, in the model of Lambda
_is_other_address = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://").match
_COLORS = ("cyan", "magenta", "green", "yellow", "blue")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What both commands are told."""

    engine: EngineSettings
    sources: tuple[Source, ...]
    host: str
    port: int
    access: Access
    is_key_made: bool = False

    @property
    def is_public(self) -> bool:
        """Whether others than this machine are served."""
        return not is_loopback(self.host)


def asked_for(options: Mapping[str, Any]) -> Asked:
    """Read the options that `server_options` adds, and begin to show log records.

    Raises:
        Trouble: a function is not described as NAME=COMMAND or NAME=URL.
        ValidationError: a command or an address is none.
    """
    log_to_console(options["log_level"])
    sources = [
        _source(text, is_durable=kind == "durable", options=options)
        for kind in ("durable", "plain")
        for text in options[kind]
    ]
    names = [source.settings.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise Trouble(f"Two functions are called {name!r}.", "Give one of them another name.")
    engine = EngineSettings(
        store_url=options["url"],
        max_concurrency=options["max_concurrency"],
        park_after=options["park_after"],
        region=options["region"],
        grace=timedelta(seconds=options["grace"]),
    )
    return Asked(
        engine=engine,
        sources=tuple(sources),
        host=options["host"],
        port=options["port"],
        access=_access(options, sources),
        is_key_made=not (
            options["access_key"] or options["credentials"] or is_loopback(options["host"])
        ),
    )


def _access(options: Mapping[str, Any], sources: Sequence[Source]) -> Access:
    """Say who may use the API: at an address that others reach, only who has a key or a token."""
    host = options["host"]
    named = f"[{host}]" if ":" in host else host
    hosts = dict.fromkeys((*LOOPBACK_HOSTS, named, *(name.lower() for name in options["names"])))
    keys, tokens = _credentials(options, sources)
    return Access(
        hosts=tuple(hosts),
        keys=keys,
        tokens=tokens,
        is_behind_proxy=options.get("behind_proxy", False),
    )


def _credentials(
    options: Mapping[str, Any], sources: Sequence[Source]
) -> tuple[tuple[AccessKey, ...], tuple[BearerToken, ...]]:
    """Give keys and tokens. Processes of functions are given the first key."""
    said, path = options["access_key"], options["credentials"]
    if path is None:
        if said is None:
            return (() if is_loopback(options["host"]) else (_made_key(EVERYTHING),)), ()
        return (_given_key(said),), ()
    if said is not None:
        raise Trouble("A key is given beside a file of keys.", "Write it into the file.")
    keys, tokens = read_credentials(path)
    if all(source.is_address for source in sources):
        return keys, tokens
    return (_made_key(_OF_FUNCTIONS), *keys), tokens


def _given_key(said: str) -> AccessKey:
    key_id, _, secret = said.partition(":")
    try:
        return AccessKey(key_id, secret)
    except ValidationError as error:
        step = "Write ID:SECRET, with --access-key or in DURABLY_ACCESS_KEY."
        raise Trouble(f"The access key cannot be used: {error}.", step) from error


def _made_key(permissions: frozenset[Permission]) -> AccessKey:
    ids = RandomIds()
    return AccessKey(f"DURABLY{ids.hex(12).upper()}", ids.hex(40), permissions)


def _source(text: str, *, is_durable: bool, options: Mapping[str, Any]) -> Source:
    name, equals, where = text.partition("=")
    if not equals or not is_function_name(name):
        raise Trouble(f"{shown_address(text)!r} does not name a function.", _HOW_TO_NAME)
    settings = FunctionSettings(
        name=name,
        is_durable=is_durable,
        timeout_seconds=options["timeout"],
        memory_mb=options["memory"],
    )
    source = Source(settings=settings, where=where)
    try:
        if source.is_address:
            split_url(where)
            handler = shown_address(where)
        else:
            _check_command(name, where)
            handler = _handler_of(where)
    except ValidationError as error:
        raise Trouble(f"Function {name!r}: {error.field} {error.message}.", _HOW_TO_NAME) from error
    return replace(source, settings=replace(settings, handler=handler))


def _handler_of(command: str) -> str:
    """Give the last word of *command*, as it may be shown. The others may be secret."""
    words = split_command(command)
    return shown_address((words[-1].split() or words)[-1])[:_MAX_HANDLER]


def _check_command(name: str, command: str) -> None:
    """Refuse at the start what could never be started."""
    if _is_other_address(command) is not None:
        step = "An address begins with http:// or https://; everything else is a command."
        raise Trouble(f"{shown_address(command)!r} cannot be called for {name!r}.", step)
    if not command.strip():
        raise Trouble(f"The function {name!r} has an empty command.", _HOW_TO_NAME)
    program = split_command(command)[0]
    if shutil.which(program) is None:
        step = "Name a program that is on the PATH, or the path of one that may be executed."
        raise Trouble(f"The function {name!r} cannot be started: there is no {program!r}.", step)


Meanwhile = Callable[[Serving], Awaitable[None]]


async def run_server(
    asked: Asked,
    here: Mapping[str, DurableFunction],
    origins: Mapping[str, str],
    meanwhile: Meanwhile,
) -> None:
    """Serve until a signal comes, and say what is going on.

    Args:
        asked: what was asked for.
        here: the functions of this process.
        origins: the file that each of them is from.
        meanwhile: what is done beside it.

    Raises:
        Trouble: the port is taken.
        StoreError: the store cannot be used.
    """
    allow_open_files()
    serving = Serving(
        asked.engine,
        here,
        asked.sources,
        bound_or_trouble(asked.host, asked.port),
        asked.access,
        teller(asked.sources),
    )
    async with StopSignals() as signals:
        await serving.open()
        beside = asyncio.ensure_future(meanwhile(serving))
        try:
            for line in banner(serving, asked, origins):
                tell_at_once(line)
            await serving.wait_for_work_to_end(signals.first, beside)
        finally:
            beside.cancel()
            await _close(serving, asked.engine, signals)
    if beside.done() and not beside.cancelled():
        beside.result()


async def _close(serving: Serving, engine: EngineSettings, signals: StopSignals) -> None:
    if serving.running:
        many = counted(serving.running, "invocation")
        grace = in_words(engine.grace.total_seconds())
        tell_at_once(f"Ending: {many} may go on for {grace}; Ctrl-C ends that.")
    await signals.hurry(serving.close(engine.grace))
    tell_at_once("Ended; what was not finished goes on the next time.")


async def nothing_else(_: Serving) -> None:
    """Do nothing beside it."""
    await asyncio.Event().wait()


def bound_or_trouble(host: str, port: int, option: str = "--port") -> socket.socket:
    """Give a socket that is bound there; *option* is what names another port.

    Raises:
        Trouble: it cannot be bound.
    """
    try:
        return bound_socket(port, host)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            where = f"{host}, port {port},"
            raise Trouble(f"{safe(where)} cannot be used: {error.strerror}.") from error
        step = f"Name another with {option}; 0 takes a free one."
        raise Trouble(f"Port {port} is taken.", step) from error


def teller(sources: Sequence[Source]) -> Callable[[str, str], None]:
    """Give what shows the lines of processes, each with the name of its function in front."""
    names = [source.settings.name for source in sources if not source.is_address]
    width = max((len(name) for name in names), default=0)
    colors = {name: _COLORS[place % len(_COLORS)] for place, name in enumerate(names)}

    def say(name: str, lines: str) -> None:
        head = colored(f"{name:{width}} |", colors[name])
        tell_at_once("\n".join(f"{head} {line}" for line in safe_lines(lines).split("\n")))

    return say


def banner(serving: Serving, asked: Asked, origins: Mapping[str, str]) -> list[str]:
    """Say where it listens and which functions it has."""
    where = {**origins, **{source.settings.name: _where(source) for source in asked.sources}}
    infos = serving.attached.known()
    width = max((len(info.name) for info in infos), default=0)
    rows = [
        f"{colored(f'{info.name:{width}}', 'cyan')}  {safe(where.get(info.name, ''))}"
        for info in infos
    ]
    labels = [
        ("API", serving.endpoint),
        ("", f"export AWS_ENDPOINT_URL_LAMBDA={serving.endpoint}"),
        *_for_others(asked),
        ("Store", safe(shown_url(asked.engine.store_url))),
        ("Functions", rows[0] if rows else _without_functions(asked)),
        *(("", row) for row in rows[1:]),
    ]
    lines = [f"{colored(f'{label:10}', 'bright_black')} {text}" for label, text in labels]
    return [*lines, colored("Ready.", "green") + " Ctrl-C ends it."]


def _for_others(asked: Asked) -> Iterator[tuple[str, str]]:
    """Say by what names and with what key others come, where they are served."""
    if asked.is_public:
        names = ", ".join(asked.access.hosts)
        yield "Called", safe(names)
        yield "", "by other names with --allow-host NAME"
    if asked.is_key_made:
        key = asked.access.keys[0]
        yield "Key", "shown once:"
        yield "", f"export AWS_ACCESS_KEY_ID={key.key_id}"
        yield "", f"export AWS_SECRET_ACCESS_KEY={key.secret}"


def _without_functions(asked: Asked) -> str:
    if is_postgres(asked.engine.store_url):
        return "none here; those of workers on the database can be started"
    return "none: nothing can run; what is in the store can be looked at and ended"


def _where(source: Source) -> str:
    kind = "" if source.settings.is_durable else "  (not durable)"
    return f"{shown_address(source.where)}{kind}"
