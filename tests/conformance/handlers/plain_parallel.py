"""Parallel branches, `def`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from durably import NamedParallelBranch, NestingType, ParallelConfig, SyncDurableContext
from tests.conformance.handlers.functions import gives, never, raises, steps_to
from tests.conformance.handlers.shared import Wrapped, branches_in_order, verdict
from tests.conformance.suite import Suite

suite = Suite()


def _results(ctx: SyncDurableContext, branches: list[Any], config: ParallelConfig) -> list[Any]:
    return (ctx.parallel("parallel", branches, config)).results()


def _verdict(
    ctx: SyncDurableContext, branches: list[Any], fields: str, **limits: Any
) -> dict[str, object]:
    batch = ctx.parallel("parallel", branches, branches_in_order(**limits))
    return verdict(batch, *fields.split())


@suite.serves("8-1")
def parallel_basic(_event: None, ctx: SyncDurableContext) -> list[Any]:
    return _results(ctx, [steps_to("task-1"), steps_to("task-2")], branches_in_order())


@suite.serves("8-2")
def parallel_without_name(_event: None, ctx: SyncDurableContext) -> list[Any]:
    batch = ctx.parallel(None, [gives("alpha"), gives("beta")], branches_in_order())
    return batch.results()


@suite.serves("8-3")
def parallel_named_branches(_event: None, ctx: SyncDurableContext) -> list[Any]:
    first = NamedParallelBranch("first", gives("one"))
    second = NamedParallelBranch("second", gives("two"))
    return _results(ctx, [first, second], branches_in_order())


@suite.serves("8-4")
def parallel_of_types(_event: None, ctx: SyncDurableContext) -> list[Any]:
    branches = [gives("hello"), gives(42), gives({"k": "v"})]
    return _results(ctx, branches, branches_in_order())


@suite.serves("8-5")
def parallel_of_nothing(_event: None, ctx: SyncDurableContext) -> list[Any]:
    return _results(ctx, [], branches_in_order())


@suite.serves("8-6")
def parallel_fails_fast(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    branches = [gives("ok"), raises, never]
    return _verdict(ctx, branches, "", tolerated_failure_count=0)


@suite.serves("8-7")
def parallel_rethrows(_event: None, ctx: SyncDurableContext) -> None:
    config = branches_in_order(tolerated_failure_count=0)
    batch = ctx.parallel("parallel", [raises, never], config)
    batch.throw_if_error()


@suite.serves("8-8")
def parallel_of_enough(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    branches = [gives("a"), gives("b"), never, never]
    fields = "completionReason successCount totalCount"
    return _verdict(ctx, branches, fields, min_successful=2)


@suite.serves("8-9")
def parallel_tolerates(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    branches = [gives("ok"), raises, gives("ok")]
    return _verdict(ctx, branches, "", tolerated_failure_count=1)


@suite.serves("8-10")
def parallel_tolerates_no_more(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    fields = "completionReason successCount failureCount totalCount"
    return _verdict(ctx, [raises, raises, never], fields, tolerated_failure_count=1)


@suite.serves("8-11")
def parallel_two_at_once(_event: None, ctx: SyncDurableContext) -> list[Any]:
    branches = [gives("r0"), gives("r1"), gives("r2")]
    return _results(ctx, branches, ParallelConfig(max_concurrency=2))


@suite.serves("8-12")
def parallel_flat(_event: None, ctx: SyncDurableContext) -> list[Any]:
    config = replace(branches_in_order(), nesting_type=NestingType.FLAT)
    return _results(ctx, [steps_to("fa"), steps_to("fb")], config)


@suite.serves("8-13")
def parallel_tolerates_no_quarter(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    fields = "completionReason successCount failureCount totalCount"
    branches = [raises, raises, never, never]
    return _verdict(ctx, branches, fields, tolerated_failure_percentage=25)


@suite.serves("8-14")
def parallel_goes_on_after_wait(_event: None, ctx: SyncDurableContext) -> list[Any]:
    def pause(branch: SyncDurableContext) -> str:
        branch.wait(None, 2)
        return "b1"

    return _results(ctx, [steps_to("b0"), pause], branches_in_order())


@suite.serves("8-15")
def parallel_with_serdes(_event: None, ctx: SyncDurableContext) -> list[Any]:
    config = replace(branches_in_order(), item_serdes=Wrapped())
    return _results(ctx, [gives("x"), gives("y")], config)


@suite.serves("8-16")
def parallel_of_failures(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    return _verdict(ctx, [raises, raises, raises], "", tolerated_failure_count=3)


@suite.serves("8-17")
def parallel_of_not_enough(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    return _verdict(ctx, [gives("ok"), raises, gives("ok")], "", min_successful=3)


@suite.serves("8-18")
def parallel_with_two_limits(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    fields = "completionReason successCount failureCount totalCount"
    branches = [raises, raises, never, never]
    return _verdict(ctx, branches, fields, min_successful=3, tolerated_failure_count=1)


@suite.serves("8-19")
def parallel_refused(_event: None, ctx: SyncDurableContext) -> list[Any]:
    return _results(ctx, [gives("a"), gives("b")], ParallelConfig(max_concurrency=0))


@suite.serves("8-20")
def parallel_accessors(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    config = branches_in_order(tolerated_failure_count=1)
    batch = ctx.parallel("parallel", [gives("ok"), raises, gives("ok")], config)
    return {
        "hasFailure": batch.has_failure,
        "successCount": len(batch.succeeded()),
        "failureCount": len(batch.failed()),
        "errorCount": len(batch.errors()),
    }


@suite.serves("8-21")
def parallel_in_parallel(_event: None, ctx: SyncDurableContext) -> list[Any]:
    def inner(branch: SyncDurableContext) -> list[Any]:
        return _results(branch, [steps_to("i1"), steps_to("i2")], branches_in_order())

    return _results(ctx, [inner], branches_in_order())


@suite.serves("8-22")
def parallel_tolerates_a_quarter(_event: None, ctx: SyncDurableContext) -> dict[str, object]:
    branches = [raises, gives("ok"), gives("ok"), gives("ok")]
    return _verdict(ctx, branches, "", tolerated_failure_percentage=25)
