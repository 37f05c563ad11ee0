"""An execution as a test sees it: how it stands, and what its operations have come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from durably.app.execution import error_of, name_in, result_of
from durably.app.operations import kind_of, label_of, origin_among
from durably.checks import check_kind
from durably.engine.history import MAX_PAGE
from durably.engine.reports import places_in
from durably.engine.service import Service
from durably.engine.views import Description, Standing, Why
from durably.handler import DurableFunction
from durably.serdes import JsonSerdes, SerdesContext
from durably.testing.costs import RunCost, cost_of
from durably.testing.errors import (
    FailedRunError,
    OperationNotFoundError,
    UnfinishedRunError,
    hides_frames,
)
from durably.testing.store import at_once
from durably.testing.tables import error_text, length, short, table
from durably.wire.arns import title_of
from durably.wire.execution import ExecutionStatus
from durably.wire.history import Event
from durably.wire.operation import (
    CallbackDetails,
    ChainedInvokeDetails,
    ContextDetails,
    ErrorObject,
    Operation,
    OperationStatus,
    OperationType,
    StepDetails,
)


class RunOperation:
    """An operation of an execution, as it stood when it was asked for.

    Attributes:
        record: what is recorded of it.
        path: the names of the contexts around it and its own, with slashes between.
        children: the operations inside.
    """

    __slots__ = ("children", "path", "record")

    def __init__(self, record: Operation, path: str, children: tuple[RunOperation, ...]) -> None:
        self.record = record
        self.path = path
        self.children = children

    def __repr__(self) -> str:
        return f"<{self.kind} {self.path!r} {self.status.value}>"

    @property
    def name(self) -> str | None:
        """What its call names it."""
        return self.record.name

    @property
    def label(self) -> str:
        """Its name; if it has none, what it is."""
        return self.record.name or label_of(self.record).rpartition(" ")[0]

    @property
    def kind(self) -> str:
        """Which operation of the library it is: `step`, `wait`, `map`, `item` and so on."""
        return kind_of(self.record)

    @property
    def status(self) -> OperationStatus:
        """Where it stands."""
        return self.record.status

    @property
    def attempts(self) -> int:
        """How many attempts there were, one under way included; 0 for all but steps."""
        details = self.record.step_details
        if self.record.type is not OperationType.STEP:
            return 0
        ended = 0 if details is None else details.attempt
        return ended + (self.status is OperationStatus.STARTED)

    @property
    def payload(self) -> str | None:
        """The result as it is recorded: text, mostly JSON."""
        details = _details(self.record)
        return None if details is None else details.result

    @property
    def result(self) -> Any:
        """The result, read as JSON; a value of a type of yours comes as JSON says it.

        Raises:
            SerdesError: it is no JSON: read `payload` yourself.
        """
        return None if self.payload is None else _JSON.deserialize(self.payload, _NOBODY)

    @property
    def error(self) -> ErrorObject | None:
        """What it failed with, or what its last attempt did."""
        details = _details(self.record)
        return None if details is None else details.error

    @property
    def callback_id(self) -> str | None:
        """The id that whoever answers is given, for a callback and for what waits for one."""
        details = self.record.callback_details
        if details is not None:
            return details.callback_id
        return next((one.callback_id for one in self.children if one.callback_id), None)

    @property
    def started_at(self) -> datetime | None:
        """When it started."""
        return self.record.start_timestamp

    @property
    def ended_at(self) -> datetime | None:
        """When it ended."""
        return self.record.end_timestamp

    @property
    def duration(self) -> timedelta | None:
        """How long it took, or is going to take if it is a wait; `None` where nobody knows."""
        wait, ended_at = self.record.wait_details, self.record.end_timestamp
        if wait is not None and wait.scheduled_end_timestamp is not None:
            ended_at = wait.scheduled_end_timestamp
        started_at = self.record.start_timestamp
        return None if started_at is None or ended_at is None else ended_at - started_at


class TestRun:
    """One execution of a durable function in a test. What is asked of it is true at that moment.

    Attributes:
        arn: what it is called everywhere.
    """

    __test__ = False

    def __init__(self, arn: str, function: DurableFunction, service: Service) -> None:
        self.arn = arn
        self._function = function
        self._service = service

    def __repr__(self) -> str:
        return f"<TestRun {self.title} {self.status.value}>"

    @property
    def name(self) -> str:
        """What it is called among those of its function."""
        return name_in(self.arn)

    @property
    def title(self) -> str:
        """The function and the name."""
        return title_of(self.arn)

    # How it stands

    @property
    def description(self) -> Description:
        """Everything that is known of it as a whole."""
        return at_once(self._service.get(self.arn))

    @property
    def status(self) -> ExecutionStatus:
        """Where it stands."""
        return self.description.status

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self.description.is_closed

    @property
    def error(self) -> ErrorObject | None:
        """What it failed with."""
        return self.description.error

    @property
    def result(self) -> Any:
        """What the function returned, read by its annotation.

        Raises:
            FailedRunError: it failed; the text says of what, and what had run before.
            UnfinishedRunError: it has not ended; the text says what it waits for.
        """
        found = self.description
        if found.status is ExecutionStatus.SUCCEEDED:
            return result_of(found, self._function)
        if not found.is_closed and found.parked_reason is None:
            raise UnfinishedRunError(f"{self.title} has not ended.\n{self.report()}")
        error = self._failure(found)
        text = self.table() if found.is_closed else self.report()
        raise FailedRunError("\n".join([*_failure_lines(error, found), text])) from error

    @property
    def why(self) -> Why:
        """Why it stands where it does: what it waits for, and what would wake it."""
        return at_once(self._service.why(self.arn))

    # What has happened

    @property
    def history(self) -> tuple[Event, ...]:
        """Everything that has happened to it, oldest first."""
        events: tuple[Event, ...] = ()
        marker: str | None = None
        while True:
            page = at_once(self._service.history(self.arn, max_items=MAX_PAGE, marker=marker))
            events += page.events
            if page.next_marker is None:
                return events
            marker = page.next_marker

    @property
    def operations(self) -> tuple[RunOperation, ...]:
        """Its operations, each followed by those inside."""
        return tuple(one for top in self._tree() for one in _with_all_inside(top))

    def step(self, name: str) -> RunOperation:
        """Give the one step of this name, in whatever context it is.

        Raises:
            OperationNotFoundError: there is none, or there are several.
        """
        found = [one for one in self.operations if one.kind == "step" and one.name == name]
        if len(found) == 1:
            return found[0]
        if not found:
            raise OperationNotFoundError(self._none_such(f"step {name!r}"))
        paths = ", ".join(repr(one.path) for one in found)
        said = f"{self.title} has {len(found)} steps {name!r}: ask for one by its path, of {paths}"
        raise OperationNotFoundError(said)

    def operation(self, path: str) -> RunOperation:
        """Give an operation by its path, as in `"ship/0/label"`.

        Each part is a name, or else a place counted from 0 among the operations of its context.
        Of several with one name the first is given.

        Raises:
            OperationNotFoundError: there is none.
            ValidationError: *path* is no text.
        """
        check_kind(path, "path", str, 'a path, such as "ship/0/label"')
        inside: Sequence[RunOperation] = self._tree()
        found: RunOperation | None = None
        for part in path.split("/"):
            found = _named(inside, part)
            if found is None:
                raise OperationNotFoundError(self._none_such(f"operation {path!r}"))
            inside = found.children
        assert found is not None, "there is a part, if only an empty one"
        return found

    def callback_id(self, path: str) -> str:
        """Give the id of a callback, for whoever answers it.

        Raises:
            OperationNotFoundError: there is no such operation, or it waits for no callback.
        """
        callback_id = self.operation(path).callback_id
        if callback_id is None:
            raise OperationNotFoundError(self._none_such(f"callback {path!r}"))
        return callback_id

    @property
    def cost(self) -> RunCost:
        """What it has cost so far, where somebody counts."""
        stored = at_once(self._service.store.find(self.arn))
        facts = () if stored is None else stored.facts
        return cost_of(self.title, self.history, sum(map(len, facts)))

    # As text

    def table(self) -> str:
        """Give the execution and its operations as text.

        It says nothing that changes from run to run, so that it can be compared with a snapshot.
        """
        found = self.description
        said = f": {short(found.result or error_text(found.error))}" if found.is_closed else ""
        return table(f"{self._function.name} {found.status.value}{said}", self._tree())

    def report(self) -> str:
        """Give the table, and why the execution stands where it does."""
        return "\n".join([self.table(), *self._reasons()])

    def _reasons(self) -> Iterator[str]:
        why = self.why
        if why.standing is Standing.CLOSED:
            found = self.description
            if found.status is not ExecutionStatus.SUCCEEDED:
                yield from _failure_lines(self._failure(found), found)
            return
        yield f"It is {why.standing.value}{_until(why)}."
        if why.parked_reason is not None:
            yield f"It was parked because of this: {why.parked_reason}"
        elif why.last_error is not None and why.failures:
            yield f"{why.failures} of its invocations failed in a row, the last one with:"
            yield f"  {error_text(why.last_error)}"
        for awaited in why.waits_for:
            at = "" if awaited.due_at is None else f", due in {length(awaited.due_at - why.since)}"
            what = f"{kind_of(awaited.operation)} {label_of(awaited.operation)!r}"
            yield f"  {what} waits for {awaited.waker}{at}"

    # Inside

    def _failure(self, found: Description) -> Exception:
        return error_of(found, origin_among(self._records(), found.error or ErrorObject()))

    def _records(self) -> tuple[Operation, ...]:
        return at_once(self._service.operations(self.arn))

    def _tree(self) -> tuple[RunOperation, ...]:
        inside: dict[str | None, list[Operation]] = {}
        for record in self._records():
            if record.type is not OperationType.EXECUTION:
                inside.setdefault(record.parent_id, []).append(record)
        return _placed(inside, None, "")

    def _none_such(self, what: str) -> str:
        paths = [one.path for one in self.operations]
        has = f"it has {', '.join(map(repr, paths))}" if paths else "it has none yet"
        return f"{self.title} has no {what}: {has}"


def _failure_lines(error: Exception, found: Description) -> Iterator[str]:
    """Say how it failed, in full, and in which lines of the user's code."""
    yield str(error)
    yield from (f"  {place}" for place in places_in(found.error))


def _until(why: Why) -> str:
    if why.wakes_at is None or why.next is None:
        return ""
    return f", and {why.next.value} in {length(why.wakes_at - why.since)}"


def _placed(
    inside: dict[str | None, list[Operation]], parent_id: str | None, prefix: str
) -> tuple[RunOperation, ...]:
    placed: list[RunOperation] = []
    for place, record in enumerate(inside.get(parent_id, ())):
        path = f"{prefix}{place if record.name is None else record.name}"
        placed.append(RunOperation(record, path, _placed(inside, record.id, f"{path}/")))
    return tuple(placed)


def _with_all_inside(operation: RunOperation) -> Iterator[RunOperation]:
    yield operation
    for child in operation.children:
        yield from _with_all_inside(child)


def _named(among: Sequence[RunOperation], part: str) -> RunOperation | None:
    for operation in among:
        if operation.name == part:
            return operation
    if part.isdecimal() and int(part) < len(among):
        return among[int(part)]
    return None


def _details(
    record: Operation,
) -> StepDetails | ContextDetails | CallbackDetails | ChainedInvokeDetails | None:
    return (
        record.step_details
        or record.context_details
        or record.callback_details
        or record.chained_invoke_details
    )


__tracebackhide__ = hides_frames

_JSON = JsonSerdes()
_NOBODY = SerdesContext("", "")
