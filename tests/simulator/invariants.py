"""The invariants I1 to I26 and L1 to L4, and the oracle, over what was observed of a run.

Each is a function from `Observed` to violations in words; `violations` asks them all. They see a
run from outside, so they hold for whatever can be made to give the same values: the simulator, real
processes, an engine in memory. What a run does not observe, it is not judged by.

Some can be seen in part only. Where the rest is checked:

- I1, I3: a body entered by a worker that had lost its execution and could not know is excused, as
  P3 and P11 excuse it.
- I7, I23: that nothing of *another* tenant or execution changes is compared by digests that the run
  takes; that a store's transaction is one, by the store suite (`durably.testing.store_suite`).
- I11: a timer or an answer of an operation whose context is over is no child record; the service
  records it when it happens.
- I14, I15, I24: what is queued, alive or held is counted by the run; what is held *during* a run
  is bounded there, too.
- I20: the run replays and hands in what came of it; which prefixes, it decides.
- I26: a suspension has no hook of its own, so operations that are open as an invocation ends are
  no violation; attempts and bodies are.
- P2, the durability of a disk, and P13 for operations that cannot be told apart, cannot be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.simulator import invariants_effects as effects
from tests.simulator import invariants_history as history
from tests.simulator import invariants_liveness as liveness
from tests.simulator import invariants_service as service
from tests.simulator.observed import Observed

Invariant = Callable[[Observed], list[str]]

INVARIANTS: Mapping[str, Invariant] = {
    "I1": effects.i1,
    "I2": effects.i2,
    "I3": effects.i3,
    "I4": effects.i4,
    "I5": history.i5,
    "I6": history.i6,
    "I7": history.i7,
    "I8": service.i8,
    "I9": service.i9,
    "I10": history.i10,
    "I11": history.i11,
    "I12": effects.i12,
    "I13": effects.i13,
    "I14": service.i14,
    "I15": service.i15,
    "I16": history.i16,
    "I17": service.i17,
    "I18": service.i18,
    "I19": service.i19,
    "I20": effects.i20,
    "I21": effects.i21,
    "I22": effects.i22,
    "I23": service.i23,
    "I24": service.i24,
    "I25": service.i25,
    "I26": service.i26,
    "L1": liveness.l1,
    "L2": liveness.l2,
    "L3": liveness.l3,
    "L4": liveness.l4,
    "model": effects.model,
    "foreseen": effects.foreseen,
}
"""Each by its id. `model` holds each execution against what its program makes of its history, and
`foreseen` against the one way it can go, where there is only one."""


def violations(observed: Observed) -> dict[str, list[str]]:
    """Check everything, and give what is violated by the id of the invariant."""
    found = {name: check(observed) for name, check in INVARIANTS.items()}
    return {name: texts for name, texts in found.items() if texts}
