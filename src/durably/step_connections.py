"""The connection that a step's outcome is committed with, for the code inside the step."""

from __future__ import annotations

from typing import TypeVar

from durably.core.active import Attempting, Transactions, active
from durably.errors import TransactionError

C = TypeVar("C")


async def step_connection(kind: type[C]) -> C:
    """Give the connection that the outcome of this step will be committed with.

    What the step writes with it is stored together with the step's outcome, or not at all (P6). It
    is in a transaction already, and ends with the step: do not commit, roll back or close it;
    savepoints are fine. A replay does nothing: the outcome is recorded. Where another transaction
    is in the way, such as after a serialization failure, the step is run again from its start.

    Call it in the step, once an attempt, and do nothing else with the store meanwhile: in SQLite,
    nobody else in this process can write before the step has ended.

    Args:
        kind: the class of connection that is wanted. In PostgreSQL `psycopg.AsyncConnection`, or
            `AsyncConnection` of `sqlalchemy.ext.asyncio`; in SQLite `sqlite3.Connection`, or
            `sqlalchemy.Connection`, which block.

    Raises:
        TransactionError: no step runs here, its attempt has ended or has a connection already, or
            executions are kept where no connection leads, such as in memory or on AWS.
        ValidationError: the store has no such kind of connection.
        StoreError: there is no connection to be had now.
    """
    transactions, attempting = _here()
    return await transactions.open(attempting, kind)


def sync_step_connection(kind: type[C]) -> C:
    """Give the connection that the outcome of this step will be committed with, in a `def`.

    See `step_connection`, also for what it raises.

    Args:
        kind: the class of connection that is wanted. In PostgreSQL `psycopg.Connection`, or
            `sqlalchemy.Connection`; in SQLite `sqlite3.Connection`, or `sqlalchemy.Connection`.
    """
    transactions, attempting = _here()
    return transactions.open_blocking(attempting, kind)


def _here() -> tuple[Transactions, Attempting]:
    attempting = active.get()
    if not isinstance(attempting, Attempting):
        raise TransactionError(_OUTSIDE)
    if attempting.transactions is None:
        raise TransactionError(_NOWHERE)
    return attempting.transactions, attempting


_OUTSIDE = (
    "the connection of a step was asked for where no step runs. Ask for it in the function that "
    "ctx.step calls; what it returns commits what was written"
)
_NOWHERE = (
    "this execution is not kept in a database that a step could write to. Use an Engine on "
    "sqlite:PATH or postgresql://…, or open a connection of your own and make the step idempotent"
)
