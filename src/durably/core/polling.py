"""When to look again, where the backend does not tell by itself what has changed."""

from __future__ import annotations

from datetime import datetime

FIRST_DELAY_SECONDS = 1.0
MAX_DELAY_SECONDS = 10.0
PATIENT_AFTER_POLLS = 95
MAX_PATIENT_DELAY_SECONDS = 60.0


def poll_delay_seconds(polls_made: int, now: datetime, expected_at: datetime | None) -> float:
    """Say how long to wait before the next look at an operation.

    First when it is expected to change, or after a second; then a second later each time, up to
    ten; after 95 looks up to a minute, as the official SDKs do.
    """
    if polls_made == 0 and expected_at is not None:
        return max(0.0, (expected_at - now).total_seconds())
    ceiling = MAX_DELAY_SECONDS if polls_made < PATIENT_AFTER_POLLS else MAX_PATIENT_DELAY_SECONDS
    return min(FIRST_DELAY_SECONDS + polls_made, ceiling)
