"""How a chained invoke becomes an execution of its own, and how that one's end comes back."""

from __future__ import annotations

from durably.engine import rules
from durably.engine.arns import execution_name_of
from durably.engine.commands import CompleteInvoke, Start, Target
from durably.engine.execution import Execution
from durably.engine.facts import ChainedInvokeStarted, ExecutionStarted
from durably.engine.limits import MAX_INVOKE_DEPTH, MAX_RECURSION
from durably.engine.policy import ServicePolicy
from durably.wire.operation import ErrorObject, OperationStatus


def child_start(
    parent: ExecutionStarted, fact: ChainedInvokeStarted, policy: ServicePolicy
) -> Start:
    """Say how the execution that an invoke stands for is started."""
    return Start(
        arn=fact.child_arn,
        function_name=fact.function_name,
        version=fact.version,
        execution_name=execution_name_of(fact.child_arn),
        input_payload=fact.input_payload,
        timeout_seconds=policy.execution_timeout_seconds,
        retention_days=policy.retention_days,
        parent_arn=parent.arn,
        parent_operation_id=fact.id,
        ancestors=(*parent.ancestors, parent.function_name),
        tenant_id=fact.tenant_id,
        trace_id=fact.trace_id or parent.trace_id,
    )


def unreachable(execution: Execution, target: Target | None, name: str) -> ErrorObject | None:
    """Say why a function cannot be invoked, if it cannot: it then fails like one that ran."""
    if target is None:
        return ErrorObject(
            error_type=rules.INVOKE_NOT_FOUND_TYPE,
            error_message=f"There is no function {name!r} to invoke.",
        )
    above = (*execution.start.ancestors, execution.start.function_name)
    if len(above) >= MAX_INVOKE_DEPTH:
        return ErrorObject(
            error_type=rules.INVOKE_TOO_DEEP_TYPE,
            error_message=f"{len(above)} executions invoke one another already.",
        )
    if above.count(target.function_name) >= MAX_RECURSION:
        return ErrorObject(
            error_type=rules.INVOKE_LOOP_TYPE,
            error_message=(
                f"{target.function_name} stands {MAX_RECURSION} times already among the "
                "executions that invoke one another here."
            ),
        )
    return None


def child_end(child: Execution, parent: Execution) -> CompleteInvoke:
    """Say what a closed child's end is for the invoke in *parent* that it stands for."""
    operation_id = child.start.parent_operation_id
    if operation_id is None:  # its record is damaged, and only the parent knows
        operation_id = next((key for key, arn in parent.children.items() if arn == child.arn), "")
    status = OperationStatus(child.status.value)
    return CompleteInvoke(operation_id, status, child.result, child.error)


def has_invoked(parent: Execution, child: Execution) -> bool:
    """Whether *parent*, as it is known here, has the invoke that *child* stands for."""
    operation_id = child.start.parent_operation_id
    if operation_id is None:  # its record is damaged, and only the parent knows
        return child.arn in parent.children.values()
    return operation_id in parent.places
