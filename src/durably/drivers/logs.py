"""Loggers that know where they are, and keep quiet about what a replay says again."""

from __future__ import annotations

import logging
from collections.abc import Iterable, MutableMapping
from typing import Any

from durably.core.op import Op
from durably.core.scope import Scope
from durably.wire.arns import title_of

package_log = logging.getLogger("durably")

_TAKEN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""What `logging` gives every record by itself, and lets nobody replace."""


def log_left_open(arn: str, operations: Iterable[Op]) -> None:
    """Warn of operations that nobody awaits any more, because their context's body is over."""
    named = [str(one) for one in operations]
    package_log.warning(
        "operations of %s are given up, because nobody awaited them before the body of their "
        "context ended: %s; write `await` before each call, or gather the futures: "
        "`await asyncio.gather(first, second)`",
        title_of(arn),
        ", ".join(named),
        extra={"executionArn": arn, "operations": named},
    )


def log_not_unwound(arn: str, operations: Iterable[Op]) -> None:
    """Tell that operations go on, in an invocation that is over."""
    named = [str(one) for one in operations]
    package_log.error(
        "operations of %s do not unwind, and are left behind: %s",
        title_of(arn),
        ", ".join(named),
        extra={"executionArn": arn, "operations": named},
    )


def log_left_behind(arn: str) -> None:
    """Tell that the handler of an execution goes on, in an invocation that is over."""
    package_log.error(
        "the handler of %s does not unwind, and is left behind without its token",
        title_of(arn),
        extra={"executionArn": arn},
    )


class DurableLogger(logging.LoggerAdapter[logging.Logger]):
    """A standard logger whose records carry the execution and the operation as fields.

    The fields are `executionArn`, `operationId`, `operationName`, `parentId` and `attempt`, and
    what plugins add. While its context replays, records are dropped, because the run before has
    written them; with `mode_aware=False` they are not.
    """

    def __init__(
        self,
        logger: logging.Logger,
        scope: Scope,
        op: Op | None = None,
        attempt: int | None = None,
        *,
        mode_aware: bool = True,
    ) -> None:
        super().__init__(logger, _fields(scope, op, attempt))
        self._scope = scope
        self._op = op
        self._attempt = attempt
        self._mode_aware = mode_aware

    def with_mode(self, *, mode_aware: bool) -> DurableLogger:
        """Give the same logger, silent during replay or not."""
        return DurableLogger(
            self.logger, self._scope, self._op, self._attempt, mode_aware=mode_aware
        )

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the standard library's name
        """Whether a record of *level* would be written now."""
        if self._mode_aware and self._op is None and self._scope.is_replaying:
            return False
        return self.logger.isEnabledFor(level)

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the fields to those that the call gives."""
        own = self.extra or {}
        watcher = self._scope.watcher
        added = {} if watcher is None else watcher.log_fields(own, _TAKEN)
        kwargs["extra"] = {**added, **own, **kwargs.get("extra", {})}
        return msg, kwargs


def _fields(scope: Scope, op: Op | None, attempt: int | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"executionArn": scope.journal.arn}
    place = op if op is not None else scope.op
    if place is not None:
        fields["operationId"] = place.id
        fields["operationName"] = place.name
        fields["parentId"] = place.parent_id
    if attempt is not None:
        fields["attempt"] = attempt
    return fields
