"""The invariants I1 to I26 and L1 to L4, as far as they can be seen from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.simulator.observed import Observed

Invariant = Callable[[Observed], list[str]]

INVARIANTS: Mapping[str, Invariant] = {}
"""Each by its id; what it gives are violations, in words."""


def violations(observed: Observed) -> dict[str, list[str]]:
    """Check everything, and give what is violated by the id of the invariant."""
    found = {name: check(observed) for name, check in INVARIANTS.items()}
    return {name: texts for name, texts in found.items() if texts}
