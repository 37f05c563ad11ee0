"""`durably dev`: engine, worker, API and reload in one process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from durably.app.loops import run_loop
from durably.cli.errors import Trouble, tell
from durably.cli.loading import EMPTY, load_functions, unload
from durably.cli.logs import show_attempts
from durably.cli.printing import counted, safe, tell_at_once
from durably.cli.serve import server_options, the_server
from durably.errors import StoreError
from durably.handler import DurableFunction

if TYPE_CHECKING:
    from durably.server.processes import FunctionProcess
    from durably.server.serving import Serving


@click.command(short_help="Run functions and serve the Lambda API, with reload.")
@click.argument("files", metavar="[FILE]...", nargs=-1)
@server_options
def dev(*, files: tuple[str, ...], **options: Any) -> None:
    """Run the durable functions of FILEs and others, and serve the API of AWS Lambda over them.

    boto3, the AWS command line and functions in any language work on it. What changes in the
    folders of the FILEs, and in this one for --function, is loaded anew.
    """
    serving = the_server()
    asked = serving.asked_for(options)
    show_attempts()
    if not files and not asked.sources:
        raise Trouble("There is nothing to run.", "Name a Python file, or use --function.")
    functions = Functions(files)
    taken = [one.settings.name for one in asked.sources if one.settings.name in functions.by_name]
    if taken:
        raise Trouble(f"Two functions are called {taken[0]!r}.", "Give one of them another name.")
    folders = {Path(file).resolve().parent for file in files}
    if any(not source.is_address for source in asked.sources):
        folders.add(Path.cwd())

    async def reload(server: Serving) -> None:
        async with asyncio.TaskGroup() as reloading:  # one that works may take its time
            async for changed in serving.changes(_outermost(folders)):
                gone = await functions.reload(changed)
                with suppress(StoreError):  # to load is what matters, and not how many there are
                    if left := await server.count_open(gone):
                        tell_at_once(f"{counted(left, 'execution')} of those cannot go on here.")
                for process in _concerned(server, changed):
                    reloading.create_task(process.reload())

    run_loop(serving.run_server(asked, functions.by_name, functions.origins(), reload))


class Functions:
    """The durable functions of files, loaded anew when these change.

    Attributes:
        by_name: as they are now.
    """

    def __init__(self, files: tuple[str, ...]) -> None:
        self._files = files
        self._roots = tuple({Path(file).resolve().parent for file in files})
        self._is_loaded = False
        self.by_name: dict[str, DurableFunction] = {}
        self._load()

    def _load(self) -> None:
        found = load_functions(*self._files) if self._files else EMPTY
        self.by_name.clear()
        self.by_name.update(found)
        self._is_loaded = True

    def origins(self) -> Mapping[str, str]:
        """Give the file that each of them is from."""
        return {name: _file_of(one) for name, one in self.by_name.items()}

    async def reload(self, changed: frozenset[Path]) -> frozenset[str]:
        """Load the files anew if what has *changed* may concern them, and name what is gone.

        What cannot be loaded leaves everything as it was. Invocations that run go on as they are.
        """
        if not self._files or not any(self._concerns(path) for path in changed):
            return frozenset()
        before = frozenset(self.by_name)
        unload(self._roots)
        self._is_loaded = False
        try:
            self._load()
        except Trouble as trouble:
            tell(trouble)
            tell_at_once("Not loaded; the functions are as they were.")
            return frozenset()
        gone = before.difference(self.by_name)
        parts = [counted(len(self.by_name), "function")]
        for word, names in (("new", set(self.by_name) - before), ("gone", gone)):
            parts += [f"{word}: {safe(', '.join(sorted(names)))}"] if names else []
        tell_at_once(f"Loaded anew: {'; '.join(parts)}.")
        return gone

    def _concerns(self, path: Path) -> bool:
        if not self._is_loaded:
            return True  # what was missing may be there now
        loaded = {getattr(module, "__file__", None) for module in tuple(sys.modules.values())}
        return str(path) in loaded


def _concerned(serving: Serving, changed: frozenset[Path]) -> Sequence[FunctionProcess]:
    folder = Path.cwd()
    return serving.processes if any(path.is_relative_to(folder) for path in changed) else ()


def _outermost(folders: set[Path]) -> set[Path]:
    return {
        one
        for one in folders
        if not any(one != other and one.is_relative_to(other) for other in folders)
    }


def _file_of(function: DurableFunction) -> str:
    module = sys.modules.get(function.handler.__module__)
    file = Path(getattr(module, "__file__", None) or "?")
    return str(file.relative_to(Path.cwd())) if file.is_relative_to(Path.cwd()) else str(file)
