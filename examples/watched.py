"""Watch executions without touching them: a plugin that reports each failed attempt.

$ durably run examples/watched.py:fetch --input '"page"' --name page-1 --log-level INFO
"""

import logging

from durably import (
    AttemptInfo,
    DurableContext,
    DurablePlugin,
    RetryPresets,
    StepConfig,
    current_step,
    durable_execution,
)

log = logging.getLogger("watched")
SOON = StepConfig[int](retry_strategy=RetryPresets.fixed(1))


class Alarm(DurablePlugin):
    """Tells of failures; what executions do is none of its business."""

    def on_operation_attempt_end(self, info: AttemptInfo) -> None:
        """Report a failure with what there is to search for."""
        if info.error is not None:
            said = f"{info.error.error_type}: {info.error.error_message}"
            log.warning("%s failed: %s", info.name, said, extra={"attempt": info.attempt})


def load(page: str) -> int:
    """Load a page; the first time the network is down."""
    if current_step().attempt == 1:
        raise ConnectionError("no route")
    return len(page)


@durable_execution(plugins=[Alarm()])
async def fetch(page: str, ctx: DurableContext) -> int:
    """A record of `ctx.logger` names its execution, and is written once, not in every replay."""
    ctx.logger.info("fetching %s", page)
    return await ctx.step("load", load, page, config=SOON)
