"""What both contexts offer without recording anything."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from durably.core.calls import Calls
from durably.drivers.logs import DurableLogger


class Bearings:
    """Where the code runs, and values that are the same in every replay."""

    __slots__ = ("_calls", "_lambda_context", "_logger")

    def __init__(self, calls: Calls, logger: DurableLogger, lambda_context: object = None) -> None:
        self._calls = calls
        self._logger = logger
        self._lambda_context = lambda_context

    @property
    def durable_execution_arn(self) -> str:
        """The execution that this code runs in."""
        return self._calls.scope.journal.arn

    @property
    def is_replaying(self) -> bool:
        """Whether this context still repeats what is recorded. Do not branch on it."""
        return self._calls.scope.is_replaying

    @property
    def lambda_context(self) -> Any:
        """What AWS Lambda passed besides the event; `None` elsewhere. Not the same on replay."""
        return self._lambda_context

    @property
    def logger(self) -> DurableLogger:
        """A standard logger, silent about what a replay says again; see `DurableLogger`."""
        return self._logger

    def now(self) -> datetime:
        """Give a time that is the same in every replay: the end of the latest operation awaited.

        Before the first it is the start of the execution. Costs no record.
        """
        return self._calls.scope.now

    def uuid4(self) -> UUID:
        """Give a random UUID that is the same in every replay. Costs no record.

        It can be foreseen by who knows the execution's ARN: do not use it as a secret.
        """
        return self._calls.uuid4()

    def random(self) -> float:
        """Give a number from 0 up to 1 that is the same in every replay. Costs no record."""
        return self._calls.random()
