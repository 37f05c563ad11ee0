"""What is told of attempts that fail, whatever SDK and language they are of."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from durably.engine.reports import logged
from durably.wire.arns import title_of
from durably.wire.update import OperationAction, OperationUpdate

log = logging.getLogger("durably.engine")


def tell_of_retries(arn: str, updates: Iterable[OperationUpdate]) -> None:
    """Log which attempts have failed, and are to be made again."""
    for update in updates if log.isEnabledFor(logging.INFO) else ():
        if update.action is not OperationAction.RETRY or update.error is None:
            continue
        options = update.step_options
        delay = 0 if options is None else options.next_attempt_delay_seconds
        log.info(
            "an attempt of %s of %s failed, and is made again in %s s: %s",
            f"step {update.name!r}" if update.name else f"step {update.id}",
            title_of(arn),
            delay,
            logged(update.error),
            extra={"executionArn": arn, "operationId": update.id, "operationName": update.name},
        )
