"""How whoever goes on with an execution gets at its latest state."""

from __future__ import annotations

from durably.engine.journals import Journals
from durably.engine.tips import Tip


async def pin_latest(journals: Journals, arn: str) -> Tip:
    """Give the state of an execution as it is stored by now; unpin it afterwards.

    What somebody here has at hand may be older than the claim that is to be worked under: a start,
    say, whose answer is late, while another worker has taken what it started some way.

    Raises:
        ResourceNotFoundException: there is none.
        StoreError: it cannot be read.
    """
    while True:
        tip = await journals.pin(arn)
        is_read_now = tip.pins == 1 and tip.session is None
        try:
            if is_read_now or not journals.is_shared or not await journals.drop_if_outdated(tip):
                tip.pins += 1
                return tip
        finally:
            journals.unpin(tip)
