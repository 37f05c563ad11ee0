"""What every invocation of one function is run with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

from durably.clock import Clock, SystemClock
from durably.core.active import Transactions
from durably.core.effects import Attempt
from durably.core.lifecycle import COOLDOWN_SECONDS, MAX_SWALLOWED_SIGNALS, MAX_UNWIND_SECONDS
from durably.core.observer import Observers
from durably.core.scope import Scope
from durably.seams import IdSource, RandomIds

StandIn: TypeAlias = Callable[[Scope, Attempt, Callable[..., Any]], Callable[..., Any]]


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What runs functions: an engine hands it over with its client; on Lambda it is the machine.

    Attributes:
        clock: where the time comes from.
        ids: where ids come from.
        jitter: what the delays of strategies are drawn from, 0 to 1; by default real chance.
        stand_in: says what is run for an attempt instead of its body, or the body itself: how a
            test has its fakes run.
        transactions: where steps get a connection, if the backend has one to give.
    """

    clock: Clock = SystemClock()
    ids: IdSource = RandomIds()
    jitter: Callable[[], float] | None = None
    stand_in: StandIn | None = None
    transactions: Transactions | None = None


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a driver is given besides the journal and the way to the backend.

    Attributes:
        make_context: makes the context that the body of a scope is called with.
        started_at: when the execution was started, on the backend's clock.
        logger: where user code's records go.
        observers: the plugins, if there are any.
        time_left: says how many seconds are left before the invocation must come to its end;
            `None` if it need not.
        cooldown_seconds: how long to look away before the second look, where it is not certain
            that nothing goes on.
        unwind_seconds: how long user code may take to unwind before it is left behind.
        max_swallowed_signals: how many signals user code may swallow before it is left behind.
    """

    make_context: Callable[[Scope, Any], Any]
    started_at: datetime
    clock: Clock
    ids: IdSource
    logger: logging.Logger
    jitter: Callable[[], float] | None = None
    stand_in: StandIn | None = None
    transactions: Transactions | None = None
    observers: Observers | None = None
    time_left: Callable[[], float] | None = None
    cooldown_seconds: float = COOLDOWN_SECONDS
    unwind_seconds: float = MAX_UNWIND_SECONDS
    max_swallowed_signals: int = MAX_SWALLOWED_SIGNALS
