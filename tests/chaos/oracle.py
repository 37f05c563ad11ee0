"""What must hold between the ledger and the database, after every death and at the end.

It knows what each order should give (`load.parts_of`, `load.foreseen`) and nothing of how the
library gets there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from pathlib import Path

from durably.engine import facts as f
from tests.chaos.journal import Database, Journal, Recorded, View
from tests.chaos.ledger import (
    Answered,
    Asked,
    Entered,
    Fenced,
    Finished,
    Intended,
    LedgerReader,
    Left,
    Line,
    Refused,
    Started,
    Trouble,
)
from tests.chaos.load import INTERRUPTED, ITEMS, Order, foreseen, parts_of, shown

_INTERRUPTED_TYPE = "StepInterruptedError"
# How many bodies each part of an order has at most, for one execution, without repeats.
_BODIES = {"items": ITEMS, "both": 2, "nested": 2, "call": 2}
# Which parts give what their operation is recorded with, as it is.
_SAID = frozenset({"first", "once", "retried", "flaky", "nested", "call"})

Attempt = tuple[str, str, int]


class Oracle:
    """Looks on after every life of a worker.

    Args:
        ledger: the file that says what has really happened.
        view: shows what is recorded.
        is_shared: whether several workers live at a time. Then what was run again needlessly is
            seen at the end, when it is recorded whose claim was lost.

    Attributes:
        violations: what was broken, by the rule it breaks.
    """

    def __init__(self, ledger: Path, view: View, *, is_shared: bool = False) -> None:
        self.violations: defaultdict[str, list[str]] = defaultdict(list)
        self.database = Database(view, self._report)
        self._is_shared = is_shared
        self._reader = LedgerReader(ledger)
        self._intended: dict[str, Intended] = {}
        self._arns: dict[str, str] = {}
        self._entered: defaultdict[Attempt, list[Entered]] = defaultdict(list)
        self._left: defaultdict[Attempt, list[Left]] = defaultdict(list)
        self._answered: dict[str, str] = {}
        self._refused: set[str] = set()
        self._finished: dict[str, Finished] = {}
        self._newly_finished: dict[str, Finished] = {}
        self._ended_in: dict[tuple[str, str], int] = {}
        self._new: list[Entered] = []
        self.cut_off = 0
        self.fenced: Counter[int] = Counter()

    def _report(self, rule: str, text: str) -> None:
        self.violations[rule].append(text)

    # After a life

    def look(self, lives: Collection[int], *, is_last: bool = False) -> None:
        """Judge what the lives that have just ended have left behind.

        What had ended before is judged again by the last look, which finds whatever has changed.
        """
        self._new = []
        self._newly_finished = self._finished if is_last else {}
        for line in self._reader.read_new():
            self._take(line)
        self.cut_off = sum(
            all(left.life != one.life for left in self._left[_attempt(one)])
            for all_entered in self._entered.values()
            for one in all_entered
            if one.life in lives
        )
        self.database.look(is_last=is_last)
        self._check_acknowledged()
        self._check_answers()
        for entered in self._new:
            self._check_entered(entered)
        if not self._is_shared:
            self._note_ends(max(lives))

    def _take(self, line: Line) -> None:
        match line:
            case Entered():
                self._entered[_attempt(line)].append(line)
                self._new.append(line)
            case Left():
                self._left[line.arn, line.operation_id, line.attempt].append(line)
            case Asked() | Answered() | Refused():
                self._take_answer(line)
            case Fenced():
                self.fenced[line.life] += 1
            case Trouble():
                self._report("trouble", line.text)
            case _:
                self._take_order(line)

    def _take_answer(self, line: Asked | Answered | Refused) -> None:
        if isinstance(line, Answered):
            self._answered[line.callback_id] = line.answer
        elif isinstance(line, Refused):
            self._refused.add(line.callback_id)

    def _take_order(self, line: Intended | Started | Finished) -> None:
        match line:
            case Intended():
                self._intended[line.run] = line
            case Started():
                if self._arns.setdefault(line.run, line.arn) != line.arn:
                    self._report("acknowledged", f"{line.run} has two arns (P1)")
            case Finished():
                before = self._finished.setdefault(line.run, line)
                self._newly_finished[line.run] = line
                if before.result != line.result:
                    self._report("terminal", f"{line.run} has two results")

    def _check_acknowledged(self) -> None:
        """Whatever the worker was told is durable must be there (I6)."""
        journals = self.database.journals
        for run, arn in self._arns.items():
            if arn not in journals:
                self._report("acknowledged", f"the start of {run} is lost")
        for run, finished in self._newly_finished.items():
            journal = journals.get(self._arns[run])
            if journal is None or journal.result != finished.result:
                self._report("acknowledged", f"the result of {run} is lost")

    def _check_answers(self) -> None:
        """The same of callbacks: what was answered is so, what was refused has an answer (I17)."""
        ends = {
            callback_id: journal.operations[operation_id].end
            for journal in self.database.journals.values()
            for callback_id, operation_id in journal.callbacks.items()
        }
        for callback_id, answer in self._answered.items():
            end = ends.get(callback_id)
            if not isinstance(end, f.CallbackSucceeded) or end.result != answer:
                self._report("acknowledged", f"the answer to {callback_id} is lost: {end}")
        for callback_id in self._refused:
            if ends.get(callback_id) is None:
                self._report("acknowledged", f"{callback_id} is open, and an answer was refused")

    def _check_entered(self, entered: Entered) -> None:
        """A body that began: was it allowed to, and did it rest on what is durable?"""
        journal = self.database.journals.get(entered.arn)
        if journal is None:
            self._report("acknowledged", f"{entered.arn} ran, and is not there")
            return
        self._check_before(entered, journal)
        lives = [one.life for one in self._entered[_attempt(entered)]]
        operation = journal.operations.get(entered.operation_id)
        if entered.once:
            if len(lives) > 1:
                self._report("at-most-once", f"{entered} began in lives {lives} (P4)")
            if operation is None or operation.begun < entered.attempt:
                self._report("at-most-once", f"{entered} began before its START was durable")
        elif max(Counter(lives).values()) > 1 and not self._is_shared:
            self._report("repeated", f"{entered} began twice in one life (I3)")
        ended_in = self._ended_in.get((entered.arn, entered.operation_id))
        if ended_in is not None and ended_in < entered.life:
            self._report("repeated", f"{entered} began after its outcome was durable (I1)")

    def _check_before(self, entered: Entered, journal: Journal) -> None:
        """The handler has gone on to this part: the part before must be durable, as it was seen."""
        if not entered.after:
            return
        before = journal.at_root(entered.after)
        if before is None or before.end is None:
            self._report("acknowledged", f"{entered}, and {entered.after} is not recorded")
        elif (said := _said(entered.after, before)) is not None and said != entered.seen:
            self._report("value", f"{entered}, and {entered.after} is recorded with {said} (I4)")
        for earlier in self._entered[_attempt(entered)]:
            if earlier.seen != entered.seen:
                self._report("value", f"{entered} saw something else in life {earlier.life} (I4)")

    def _note_ends(self, life: int) -> None:
        for arn, journal in self.database.journals.items():
            for operation in journal.operations.values():
                if operation.end is not None:
                    self._ended_in.setdefault((arn, operation.id), life)

    # At the end

    def finish(self) -> None:
        """Judge the whole, after everything has come to its end."""
        if self.database.claimed:
            self._report("liveness", f"{self.database.claimed} claims are left over")
        for run, intended in self._intended.items():
            arn = self._arns.get(run)
            journal = None if arn is None else self.database.journals.get(arn)
            if journal is None or run not in self._finished:
                self._report("liveness", f"{run} has not come to its end (L1)")
            else:
                self._check_result(Order(run, intended.seed), journal)
        for arn, journal in self.database.journals.items():
            if journal.closing is None:
                self._report("liveness", f"{arn} has not come to its end (L1)")
        for attempt, all_entered in self._entered.items():
            self._check_recorded(attempt, all_entered[0])
            self._check_repeats(attempt, len(all_entered))

    def _check_result(self, order: Order, journal: Journal) -> None:
        """The result must be what the model says, and made of what is recorded."""
        result = journal.result
        if not isinstance(result, list) or [part for part, _ in result] != parts_of(order):
            self._report("result", f"{order} gave {result}")
            return
        for part, value in result:
            recorded = journal.at_root(part)
            said = None if recorded is None else _said(part, recorded)
            if said is not None and said != value:
                self._report("value", f"{order}: {part} is {value}, and recorded as {said} (I4)")
            if value.startswith(INTERRUPTED):
                self._check_interrupted(order, value, recorded)
            elif not _is_foreseen(part, order, value):
                self._report("result", f"{order}: {part} gave {value}")

    def _check_interrupted(self, order: Order, value: str, step: Recorded | None) -> None:
        """An attempt counts as cut off only if its process died after the START was durable."""
        error = getattr(None if step is None else step.end, "error", None)
        is_recorded = error is not None and error.error_type == _INTERRUPTED_TYPE
        if value != INTERRUPTED + _INTERRUPTED_TYPE or not is_recorded:
            self._report("result", f"{order} was interrupted, and nothing says so: {value}")

    def _check_recorded(self, attempt: Attempt, entered: Entered) -> None:
        """The result of a step must be what one of its bodies gave."""
        arn, operation_id, number = attempt
        operation = self.database.journals[arn].operations[operation_id]
        if operation.begun < number:
            self._report("acknowledged", f"{entered} began, and its START was never recorded")
        end = operation.end
        if not isinstance(end, f.StepSucceeded) or operation.ended != number:
            return
        given = [left.value for left in self._left[attempt]]
        if entered.part != "answer" and operation.result not in given:
            self._report("value", f"{entered} gave {given}, and recorded is {operation.result}")

    def _check_repeats(self, attempt: Attempt, times: int) -> None:
        """A body is run again only where the invocation that ran it has ended without an answer."""
        broken_off = self.database.journals[attempt[0]].broken_off
        if times > 1 + broken_off:
            self._report("repeated", f"{attempt} began {times} times, {broken_off} broken off (I3)")

    # For the report

    @property
    def orders(self) -> int:
        """How many were asked for."""
        return len(self._intended)

    @property
    def finished(self) -> int:
        """How many have come to their end."""
        return len(self._finished)

    def totals(self) -> dict[str, int]:
        """Count what has happened, so that a run can show that it was no idle one."""
        entries = Counter(len(entered) for entered in self._entered.values())
        interrupted = sum(
            error is not None and error.error_type == _INTERRUPTED_TYPE
            for journal in self.database.journals.values()
            for operation in journal.operations.values()
            if (error := getattr(operation.end, "error", None)) is not None
        )
        return {
            "executions": len(self.database.journals),
            "facts": sum(len(journal.facts) for journal in self.database.journals.values()),
            "step bodies begun": sum(len(entered) for entered in self._entered.values()),
            "attempts begun more than once": sum(n for times, n in entries.items() if times > 1),
            "at-most-once steps given up after a kill": interrupted,
            "invocations lost and made again": sum(
                journal.lost for journal in self.database.journals.values()
            ),
            "callbacks answered": len(self._answered),
            "answers sent twice and refused": len(self._refused),
            "claims found lost by workers that had more to say": self.fenced.total(),
        }


def _attempt(entered: Entered) -> Attempt:
    return entered.arn, entered.operation_id, entered.attempt


def _said(part: str, operation: Recorded) -> str | None:
    """Give what an operation is recorded to have given, where that is the value that was seen."""
    if part not in _SAID:
        return None
    result = operation.result
    return None if result is None else shown(result)


def _is_foreseen(part: str, order: Order, value: str) -> bool:
    """Whether *value* is what the model of *part* says, up to its words of chance."""
    start = foreseen(part, order)
    pieces = value.split("+")
    if part == "sleep":
        return value == start
    if part == "check":
        return value == f"{start}=2"
    return len(pieces) == _BODIES.get(part, 1) and all(one.startswith(start) for one in pieces)
