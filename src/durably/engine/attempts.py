"""What is told of attempts that fail, whatever SDK and language they are of."""

from __future__ import annotations

import logging

from durably.engine.execution import Execution
from durably.engine.facts import StepRetried
from durably.engine.reports import logged
from durably.wire.arns import title_of

log = logging.getLogger("durably.engine")


def tell_of_retry(execution: Execution, fact: StepRetried) -> None:
    """Log that an attempt has failed, and is to be made again. A condition's polls do not fail."""
    if fact.error is None or not log.isEnabledFor(logging.INFO):
        return
    name = execution.operations[execution.places[fact.id]].name
    log.info(
        "an attempt of %s of %s failed, and is made again in %s s: %s",
        f"step {name!r}" if name else f"step {fact.id}",
        title_of(execution.arn),
        fact.delay_seconds,
        logged(fact.error),
        extra={"executionArn": execution.arn, "operationId": fact.id, "operationName": name},
    )
