"""What the small examples say of themselves: the command that runs each."""

import json
import re
import shlex
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from durably import DurableFunction

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(path for path in EXAMPLES.glob("*.py") if path.stem != "__init__")
_RUN = re.compile(r"^\$ (durably run (?:.*\\\n)*.*)$", re.MULTILINE)


class Command(NamedTuple):
    """A `durably run`: the file, the function in it, and what it is called with."""

    module: ModuleType
    function: DurableFunction
    event: Any

    @property
    def functions(self) -> list[DurableFunction]:
        """Every durable function of the file: all may be invoked."""
        return [one for one in vars(self.module).values() if isinstance(one, DurableFunction)]


def command_of(path: Path) -> Command:
    """Read the command in the docstring of an example."""
    module = import_module(f"examples.{path.stem}")
    [line] = _RUN.findall(module.__doc__ or "")
    _, _, target, *options = shlex.split(line.replace("\\\n", " "))
    file, name = target.split(":")
    assert file == f"examples/{path.name}"
    given = dict(zip(options[::2], options[1::2], strict=True))
    return Command(module, getattr(module, name), json.loads(given["--input"]))
