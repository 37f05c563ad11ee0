"""`durably callback`: answer what executions wait for."""

from __future__ import annotations

import click

from durably.cli.errors import Trouble
from durably.cli.options import store_option, text_of, with_store
from durably.cli.printing import safe
from durably.cli.stores import ask
from durably.engine.control import (
    AnyRequest,
    CallbackFailRequest,
    CallbackHeartbeatRequest,
    CallbackSucceedRequest,
)
from durably.errors import ResourceNotFoundException
from durably.wire.operation import ErrorObject

_callback_id = click.argument("callback_id", metavar="CALLBACK_ID")


@click.group()
def callback() -> None:
    """Answer what executions wait for."""


@callback.command()
@_callback_id
@click.option(
    "--payload",
    metavar="TEXT|@FILE|-",
    help="The answer, sent as it is: text, @ and the name of a file, or - for standard input. How"
    " it is read is up to the function: as that text, unless its configuration has a serdes.",
)
@store_option
def succeed(*, callback_id: str, payload: str | None, url: str) -> None:
    """Answer a callback. The answer is final."""
    text = None if payload is None else text_of(payload)
    _tell(url, CallbackSucceedRequest(callback_id, text))
    click.echo("The callback has succeeded.", err=True)


@callback.command()
@_callback_id
@click.option("--error", "message", default="", help="What went wrong.")
@click.option("--error-type", help="What kind of error it is, as in PaymentRefused.")
@click.option("--data", help="Whatever else the function should know.")
@store_option
def fail(
    *, callback_id: str, message: str, error_type: str | None, data: str | None, url: str
) -> None:
    """Report a failure to a callback. It is final."""
    error = ErrorObject(error_type=error_type, error_message=message, error_data=data)
    _tell(url, CallbackFailRequest(callback_id, error))
    click.echo("The callback was answered with a failure.", err=True)


@callback.command()
@_callback_id
@store_option
def heartbeat(*, callback_id: str, url: str) -> None:
    """Say that whoever is to answer a callback is alive."""
    _tell(url, CallbackHeartbeatRequest(callback_id))
    click.echo("The heartbeat has been taken.", err=True)


def _tell(url: str, request: AnyRequest) -> None:
    try:
        ask(url, request)
    except ResourceNotFoundException as error:
        why = safe(with_store(url, "why", "NAME"))
        step = f"`{why}` shows the callbacks that an execution waits for."
        raise Trouble(error.message, step) from error
