"""Operation ids: they follow from the order in which a context's operations are called."""

from __future__ import annotations

from hashlib import md5

ID_HEX_DIGITS = 16


def hash_id(step_id: str) -> str:
    """Give the id under which the operation at *step_id* is recorded.

    `step_id` is `n` for the n-th operation of the root, and `<step id of the context>-n` below it.
    Executions under way depend on this function, so it never changes. It is that of the
    official SDKs.
    """
    return md5(step_id.encode(), usedforsecurity=False).hexdigest()[:ID_HEX_DIGITS]
