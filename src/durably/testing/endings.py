"""How an execution ended, beside how today's code ends it."""

from __future__ import annotations

from msgspec.structs import replace

from durably.drivers.futures import Raised, Returned
from durably.drivers.outputs import output_of
from durably.engine.execution import Execution
from durably.errors import DurableOperationError, said_of
from durably.testing.differences import Difference, about_the_end, name_of
from durably.testing.places import Place, place_of_error, place_of_function
from durably.testing.replay import Replay
from durably.wire.execution import ExecutionStatus
from durably.wire.invocation import InvocationOutput, InvocationStatus
from durably.wire.operation import ErrorObject

_SHOWN = 200


def failure_of(execution: Execution, replay: Replay) -> Difference | None:
    """Tell of code that fails where the execution has succeeded, or is to go on.

    The failure of an operation that no invocation has been told of yet is no news of the code.
    """
    if isinstance(replay.ending, Returned):
        return _unwritable(execution, replay)
    if not isinstance(replay.ending, Raised):
        return None
    error = replay.ending.error
    if execution.is_closed:
        is_news = execution.status is ExecutionStatus.SUCCEEDED
    else:
        is_untold = execution.owed > 0 or execution.invocation is not None
        is_news = not (is_untold and isinstance(error, DurableOperationError))
    if not is_news:
        return None
    now = f"the function raises {said_of(error)}"
    return about_the_end(replay, _standing(execution), now, place_of_error(error))


def _unwritable(execution: Execution, replay: Replay) -> Difference | None:
    """Tell of a result that cannot be written, which fails an execution just the same."""
    output = output_of(replay.ending, replay.function.result_type)
    is_news = not execution.is_closed or execution.status is ExecutionStatus.SUCCEEDED
    if output.error is None or not is_news:
        return None
    now = output.error.error_message or ""
    return about_the_end(replay, _standing(execution), now, _place_of_end(replay))


def _standing(execution: Execution) -> str:
    return "it succeeded" if execution.is_closed else "it is under way"


def other_end_of(execution: Execution, replay: Replay, *, is_masked: bool) -> Difference | None:
    """Tell of anything in which the end of a closed execution is another one now."""
    recorded = _recorded_end(execution)
    if recorded is None:
        return None
    now = _without_trace(output_of(replay.ending, replay.function.result_type))
    if _compared(now, is_masked=is_masked) == _compared(recorded, is_masked=is_masked):
        return None
    return about_the_end(replay, _said(recorded, replay), _said(now, replay), _place_of_end(replay))


def _recorded_end(execution: Execution) -> InvocationOutput | None:
    """Give what the handler answered, unless the execution goes on or was ended from outside."""
    match execution.status:
        case ExecutionStatus.SUCCEEDED:
            return InvocationOutput(status=InvocationStatus.SUCCEEDED, result=execution.result)
        case ExecutionStatus.FAILED:
            failed = InvocationOutput(status=InvocationStatus.FAILED, error=execution.error)
            return _without_trace(failed)
        case _:
            return None


def _without_trace(output: InvocationOutput) -> InvocationOutput:
    error = output.error
    return output if error is None else replace(output, error=replace(error, stack_trace=None))


def _compared(output: InvocationOutput, *, is_masked: bool) -> InvocationOutput:
    """Leave out of *output* what a mask has replaced."""
    if not is_masked:
        return output
    kind = None if output.error is None else ErrorObject(error_type=output.error.error_type)
    return replace(output, result=None, error=kind)


def _said(output: InvocationOutput, replay: Replay) -> str:
    match output.status:
        case InvocationStatus.SUCCEEDED:
            return f"returns {output.result:.{_SHOWN}}"
        case InvocationStatus.FAILED:
            error = output.error or ErrorObject()
            return f"fails with {error.error_type}: {error.error_message}"
        case InvocationStatus.PENDING:
            op = replay.trace.beyond
            return "waits" if op is None else f"goes on with {name_of(op)}"


def _place_of_end(replay: Replay) -> Place | None:
    if isinstance(replay.ending, Raised):
        return place_of_error(replay.ending.error)
    op = replay.trace.beyond
    if op is not None:
        return replay.trace.asked[op.id].place
    return place_of_function(replay.function.handler)
