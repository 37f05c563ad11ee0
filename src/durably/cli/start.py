"""`durably start`: start an execution, and leave it to whoever works on the store."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click

from durably.app.names import as_execution_name
from durably.app.payloads import check_input
from durably.app.settings import is_postgres
from durably.cli.errors import Trouble
from durably.cli.loading import EMPTY, load_function
from durably.cli.options import input_option, json_of, store_option, with_store, workers_for
from durably.cli.printing import safe
from durably.cli.stores import ask, has_worker, is_held
from durably.engine.control import StartRequest
from durably.errors import DurableExecutionAlreadyStartedException, ResourceNotFoundException
from durably.handler import DurableFunction


@click.command()
@click.argument("target", metavar="FUNCTION|FILE:FUNCTION")
@input_option
@click.option(
    "--name", help="What to call the execution. Given again with the same input, it is the same."
)
@store_option
def start(*, target: str, source: str | None, name: str | None, url: str) -> None:
    """Start an execution, and print its ARN. Nobody waits for it.

    FUNCTION is one of the process that holds the store, or of a worker on the database. With FILE
    none need run: whoever works on the store next goes on with it.
    """
    as_execution_name(name)
    payload = json_of(source)
    if ":" in target or target.endswith(".py"):
        function, functions = load_function(target)
        check_input(function, payload)
        function_name = function.name
    else:
        function_name, functions = target, EMPTY
        if not is_postgres(url) and not is_held(url):
            said = f"No process works on {url}, so nobody here knows a function {target!r}."
            named = with_store(url, "start", f"FILE:{target}")
            raise Trouble(
                said, f"Name its file, as in `{named}`, or start {workers_for(url, target)}."
            )
    arn = _started(url, StartRequest(function_name, payload, name), functions)
    sys.stdout.write(f"{arn}\n")
    if arn is None or not has_worker(url, arn):
        said = f"No worker that is alive has {function_name}"
        said = said if is_postgres(url) else "No process works on this store"
        click.echo(safe(f"{said}: start {workers_for(url, function_name)}."), err=True)


def _started(
    url: str, request: StartRequest, functions: Mapping[str, DurableFunction]
) -> str | None:
    try:
        return ask(url, request, functions)
    except ResourceNotFoundException as error:
        step = "Start it with the file that has the function, or name another store with --store."
        raise Trouble(error.message, step) from error
    except DurableExecutionAlreadyStartedException as error:
        step = "Choose another --name, or give the same --input: `durably show NAME` tells it."
        raise Trouble(error.message, step) from error
