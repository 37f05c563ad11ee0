"""Whether what happened outside with a crash is what should have, beside what happens without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from durably.testing.effects import Effect, Ledger, Place


class Comparison:
    """What happened with a crash, beside what happened without.

    Args:
        usual: without.
        other: with.
        interrupted: the steps of which an at-most-once attempt was given up.

    Attributes:
        differences: what should not be so.
        repeats: what happened again as its step promises.
    """

    def __init__(
        self, usual: Ledger, other: Ledger, interrupted: frozenset[tuple[str, str]]
    ) -> None:
        self.differences: list[str] = []
        self.repeats: list[str] = []
        self._interrupted = interrupted
        for name in dict.fromkeys(effect.name for effect in (*usual.happened, *other.happened)):
            before, now = usual.named(name), other.named(name)
            self._compare_keys(name, before, now)
            self._compare_places(name, before, now)

    def _compare_keys(self, name: str, before: list[Effect], now: list[Effect]) -> None:
        usual, other = _places_of_keys(before), _places_of_keys(now)
        for key in sorted(other.keys() - usual.keys()):
            if before:
                said = f"happened with another key, {key!r}: the outside takes it for another one"
            else:
                where = " and ".join(sorted({place.label for place in other[key]}))
                said = f"with the key {key!r} happened in {where}: without a crash it does not"
            self.differences.append(f"effect {name!r} {said}")
        for key in sorted(usual.keys() - other.keys()):
            if not all(map(self._was_interrupted, usual[key])):
                self.differences.append(f"effect {name!r} with the key {key!r} did not happen")

    def _compare_places(self, name: str, before: list[Effect], now: list[Effect]) -> None:
        usual, other = _places_of(before), _places_of(now)
        is_once = any(effect.is_once for effect in now)
        for place in dict.fromkeys((*usual, *other)):
            more = other[place] - usual[place]
            said = f"effect {name!r} happened {_times(other[place], usual[place])}"
            if more > 0:
                self._judge_repeat(place, said, is_usual=usual[place] > 0, is_once=is_once)
            elif more < 0 and not self._was_interrupted(place):
                self.differences.append(f"{said}: it was lost in {place.label}")

    def _judge_repeat(self, place: Place, said: str, *, is_usual: bool, is_once: bool) -> None:
        where = place.label
        if place.operation_id is None:
            why = f"it is in {where} and not in a step, so every replay does it again"
            self.differences.append(f"{said}: {why}")
        elif not is_usual:
            self.differences.append(f"{said}: without a crash it does not happen in {where}")
        elif is_once:
            why = "and the crash came before its outcome was recorded"
            self.differences.append(f"{said}: {where} runs at least once, {why}")
        else:
            self.repeats.append(f"{said}, as {where} may: it runs at least once")

    def _was_interrupted(self, place: Place) -> bool:
        return (place.arn, place.operation_id or "") in self._interrupted


def _places_of_keys(effects: Sequence[Effect]) -> dict[str, set[Place]]:
    places: dict[str, set[Place]] = {}
    for effect in effects:
        if effect.key is not None:
            places.setdefault(effect.key, set()).add(effect.place)
    return places


def _places_of(effects: Sequence[Effect]) -> Counter[Place]:
    return Counter(effect.place for effect in effects if effect.key is None)


def _times(now: int, usual: int) -> str:
    return f"{_counted(now)} instead of {_counted(usual)}"


def _counted(count: int) -> str:
    return {0: "not at all", 1: "once"}.get(count, f"{count} times")
