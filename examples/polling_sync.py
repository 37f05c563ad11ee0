"""`polling.py` for plain functions: look again until it is done, asleep between the looks.

    durably run examples/polling_sync.py:render --input '"holiday.mov"' --name render-1
"""

from durably import (
    SyncDurableContext,
    WaitForConditionConfig,
    WaitStrategyConfig,
    create_wait_strategy,
    durable_execution,
)


def look(percent: int) -> int:
    """Ask how far it is. Each look gets what the last one gave, even after a crash."""
    return min(percent + 40, 100)


def is_unfinished(percent: int) -> bool:
    """Say whether to look again."""
    return percent < 100


PATIENT = WaitForConditionConfig(
    create_wait_strategy(
        WaitStrategyConfig(is_unfinished, initial_delay=1, max_delay=60, max_attempts=50)
    ),
    initial_state=0,
)


@durable_execution
def render(video: str, ctx: SyncDurableContext) -> str:
    """Wait until the video is rendered."""
    percent = ctx.wait_for_condition("rendered", look, PATIENT)
    return f"{video}: {percent} %"
