"""`polling.py` for plain functions: look again until it is done, asleep between the looks.

$ durably run examples/polling_sync.py:render --input '"holiday.mov"' --name render-1
"""

from durably import (
    SyncDurableContext,
    WaitForConditionConfig,
    WaitStrategyConfig,
    create_wait_strategy,
    durable_execution,
)

DONE = 100


def look(percent: int) -> int:
    """Ask how far it is. Each look gets what the last one gave, even after a crash."""
    return min(percent + 40, DONE)


def is_unfinished(percent: int) -> bool:
    """Say whether to look again."""
    return percent < DONE


PATIENT = WaitForConditionConfig(
    wait_strategy=create_wait_strategy(
        WaitStrategyConfig(should_continue_polling=is_unfinished, initial_delay=1, max_attempts=50)
    ),
    initial_state=0,
)


@durable_execution
def render(video: str, ctx: SyncDurableContext) -> str:
    """Wait until the video is rendered."""
    percent = ctx.wait_for_condition("rendered", look, PATIENT)
    return f"{video}: {percent} %"
