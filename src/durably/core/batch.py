"""Which updates make the next checkpoint."""

from __future__ import annotations

from collections.abc import Iterable

MAX_PAYLOAD_SIZE = 750 * 1024
"""Bytes of one checkpoint request, as the other SDKs count them."""

MAX_ITEMS_IN_BATCH = 250
"""Updates in one checkpoint request."""

_OVERHEAD_BYTES = 100


def batch_length(sizes: Iterable[int], token_bytes: int) -> int:
    """Say how many of the queued updates, given by their *sizes* in bytes, go out together.

    The batch stops before the update that would pass either limit, but it never is empty: an
    update that is too large alone travels alone.
    """
    total = token_bytes + _OVERHEAD_BYTES
    count = 0
    for size in sizes:
        total += size
        if count == MAX_ITEMS_IN_BATCH or (count > 0 and total > MAX_PAYLOAD_SIZE):
            break
        count += 1
    return count
