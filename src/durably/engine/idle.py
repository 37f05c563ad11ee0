"""Executions that nobody works on, remembered so that they need not be read again."""

from __future__ import annotations

from collections import OrderedDict

from durably.engine.tips import Tip

_FACT_BYTES = 350
"""What a fact takes in memory beside what it carries: 200 to 320 bytes of it were measured."""


class Idle:
    """The tips that were used last: so many at most, which take so many bytes, about.

    One that takes more than all may is not kept.
    """

    def __init__(self, max_number: int, max_bytes: int) -> None:
        self._max_number = max_number
        self._max_bytes = max_bytes
        self._bytes = 0
        self._tips: OrderedDict[str, tuple[Tip, int]] = OrderedDict()  # the least used first

    def find(self, arn: str) -> Tip | None:
        """Give the tip of an execution, which stays here."""
        kept = self._tips.get(arn)
        return None if kept is None else kept[0]

    def take(self, arn: str) -> Tip | None:
        """Give the tip of an execution, to be worked on: it is not here any more."""
        kept = self._tips.pop(arn, None)
        if kept is None:
            return None
        tip, size = kept
        self._bytes -= size
        return tip

    def keep(self, tip: Tip) -> None:
        """Remember a tip that nobody works on, and forget those for which there is no room then."""
        arn = tip.execution.arn
        self.take(arn)
        size = tip.stored_bytes + tip.execution.version * _FACT_BYTES
        if size > self._max_bytes:
            return
        self._tips[arn] = tip, size
        self._bytes += size
        while len(self._tips) > self._max_number or self._bytes > self._max_bytes:
            self.take(next(iter(self._tips)))
