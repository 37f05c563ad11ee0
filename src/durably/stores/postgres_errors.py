"""What an error of PostgreSQL means to whoever uses the store: the one place."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import psycopg

from durably.errors import (
    StoreCorruptedError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    StoreUnavailableError,
)


class Meaning(Enum):
    """What to do about an error."""

    AGAIN = "the transaction did not happen, and may at once be tried again"
    TAKEN = "likewise: somebody else was first, which the next try will notice"
    LOCKED = "likewise, but another transaction has kept a row for long"
    UNKNOWN = "the connection broke: whether the transaction happened must be found out"
    VALUES = "one statement's values are to blame, and the database is well"
    FAILED = "the transaction did not happen, and would not now"


# By SQLSTATE, or by its class: its first two characters.
_BY_STATE: Mapping[str, tuple[Meaning, type[StoreError]]] = {
    "08": (Meaning.UNKNOWN, StoreUnavailableError),  # connection exception
    "21": (Meaning.VALUES, StoreError),  # cardinality violation
    "22": (Meaning.VALUES, StoreError),  # data exception
    "23": (Meaning.TAKEN, StoreError),  # integrity constraint violation
    "25": (Meaning.FAILED, StoreUnavailableError),  # invalid transaction state
    "25006": (Meaning.FAILED, StoreReadOnlyError),  # read-only, as after a failover
    "40": (Meaning.AGAIN, StoreUnavailableError),  # serialization failure, deadlock
    "40003": (Meaning.UNKNOWN, StoreUnavailableError),  # statement completion unknown
    "42": (Meaning.FAILED, StoreError),  # no such table, no such permission
    "53": (Meaning.FAILED, StoreUnavailableError),  # insufficient resources
    "53100": (Meaning.FAILED, StoreFullError),  # disk full
    "55": (Meaning.AGAIN, StoreUnavailableError),  # object not in the state for it
    "55P03": (Meaning.LOCKED, StoreUnavailableError),  # a lock that was not to be had in time
    "57": (Meaning.FAILED, StoreUnavailableError),  # operator intervention
    "57014": (Meaning.VALUES, StoreUnavailableError),  # a time-out: there was too much of it
    "57P": (Meaning.UNKNOWN, StoreUnavailableError),  # a shutdown, a terminated backend
    "58": (Meaning.FAILED, StoreUnavailableError),  # system error: I/O
    "XX001": (Meaning.FAILED, StoreCorruptedError),
    "XX002": (Meaning.FAILED, StoreCorruptedError),
}
_REMEDIES: Mapping[str, str] = {
    "42501": 'Give the role the rights that the how-to "From one machine to many" lists.',
    "25006": "It may be a standby: name the primary, or add target_session_attrs=read-write.",
    "28P01": "Check the user and the password in its address.",
    "3D000": "Make the database with `createdb`, or name another one.",
}


def meaning_of(error: Exception) -> Meaning:
    """Say what to do about *error*."""
    if isinstance(error, StoreError):
        return Meaning.FAILED
    if not isinstance(error, psycopg.Error):
        return Meaning.VALUES
    return _look_up(error)[0]


def is_rolled_back(state: str) -> bool:
    """Whether an SQLSTATE says that the database has chosen this transaction to make way."""
    return state.startswith("40") and state != "40003"


def said_by(error: psycopg.Error) -> str:
    """Give what *error* says, and nothing of what the rows hold that it is about."""
    said = error.diag.message_primary or str(error)
    words = " ".join(said.split()) or type(error).__name__
    return f"{words} ({error.sqlstate})" if error.sqlstate else words


def store_error(error: Exception) -> Exception:
    """Give *error* as one of ours, in a new exception each time it is asked."""
    if not isinstance(error, psycopg.Error):
        return error
    state = error.sqlstate or ""
    _, kind = _look_up(error)
    told = kind(f"PostgreSQL: {said_by(error)}", remedy=_REMEDIES.get(state))
    told.__cause__ = error
    return told


def unreachable(error: psycopg.Error, title: str) -> StoreError:
    """Say why there is no connection to be had: the server's own words are all there is."""
    said = " ".join(str(error).split()).removeprefix("connection failed: ")
    remedy = next((_REMEDIES[state] for words, state in _WORDS if words in said), None)
    told = StoreUnavailableError(f"no connection to {title}: {said}", remedy=remedy)
    told.__cause__ = error
    return told


# What a server says of a failed login carries no SQLSTATE. In another language it has no remedy.
_WORDS = (
    ("password authentication failed", "28P01"),
    ("no password supplied", "28P01"),
    ("FATAL: role", "28P01"),
    ("FATAL: database", "3D000"),
    ("permission denied for database", "42501"),
)


def _look_up(error: psycopg.Error) -> tuple[Meaning, type[StoreError]]:
    state = error.sqlstate
    if state is None:  # the client's own: it has no connection, or lost it; or it cannot send this
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return Meaning.UNKNOWN, StoreUnavailableError
        return Meaning.VALUES, StoreError
    for length in (5, 3, 2):
        found = _BY_STATE.get(state[:length])
        if found is not None:
            return found
    return Meaning.FAILED, StoreError
