"""What every invocation of one function is run with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from durably.clock import Clock
from durably.core.observer import Observers
from durably.core.scope import Scope
from durably.seams import IdSource


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What a driver is given besides the journal and the way to the backend.

    Attributes:
        make_context: makes the context that the body of a scope is called with.
        started_at: when the execution was started, on the backend's clock.
        logger: where user code's records go.
        observers: the plugins, if there are any.
    """

    make_context: Callable[[Scope, Any], Any]
    started_at: datetime
    clock: Clock
    ids: IdSource
    logger: logging.Logger
    observers: Observers | None = None
