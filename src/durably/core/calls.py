"""What a call on a context becomes: an operation with its identity, and the program that runs it.

Both contexts are thin fronts over this, so that there is one place for each operation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any, Protocol, Union, cast
from uuid import UUID

from msgspec.structs import replace

from durably.batch_result import BatchResult
from durably.checks import check_function, shown
from durably.config import (
    CallbackConfig,
    ChildConfig,
    ConcurrencyConfig,
    FanOutConfig,
    InvokeConfig,
    MapConfig,
    NamedParallelBranch,
    NestingType,
    ParallelConfig,
    StepConfig,
    WaitForCallbackConfig,
    WaitForConditionConfig,
)
from durably.core.active import nested_too_deep
from durably.core.effects import Program
from durably.core.given import (
    branch_of,
    check_body,
    check_takes,
    config_of,
    function_name_of,
    list_of,
)
from durably.core.hints import annotation_of, count_for_item, item_caller
from durably.core.op import Op
from durably.core.operations.batch import Branch, Plan, batch
from durably.core.operations.callback import (
    CALLBACK_SUFFIX,
    callback_result,
    create_callback,
    wait_for_callback,
)
from durably.core.operations.child import child
from durably.core.operations.combinators import Combinator, Observable, combine, combined
from durably.core.operations.condition import wait_for_condition
from durably.core.operations.invoke import invoke
from durably.core.operations.step import step
from durably.core.operations.wait import never, wait
from durably.core.scope import Scope
from durably.errors import ValidationError
from durably.limits import MAX_NESTING, as_name, duration_seconds
from durably.serdes import ChooseSerdes, JsonSerdes, PassThroughSerdes, Serdes, typed_serdes
from durably.wire.operation import OperationSubType, OperationType
from durably.wire.update import ChainedInvokeOptions

_STEP: StepConfig[Any] = StepConfig()
_INVOKE: InvokeConfig[Any] = InvokeConfig()
_CALLBACK: CallbackConfig[Any] = CallbackConfig()
_WAIT_FOR_CALLBACK: WaitForCallbackConfig[Any] = WaitForCallbackConfig()
_CONDITION: type[WaitForConditionConfig[Any]] = WaitForConditionConfig
_CHILD: ChildConfig[Any] = ChildConfig()
_ITEM_NAME = "item name"
_JSON = JsonSerdes()
_TEXT = PassThroughSerdes()


class Launcher(Protocol):
    """The driver, as contexts see it."""

    def begin(self, scope: Scope, name: str | None, type_: OperationType, sub_type: str) -> Op:
        """Give the operation that is being called on *scope* its identity."""
        ...

    def launch(self, scope: Scope, op: Op, program: Program[Any]) -> Any:
        """Run *program*: to its end, or to the first thing that takes time."""
        ...


class FutureLauncher(Launcher, Protocol):
    """The driver of an `async def` handler: what it launches can be waited for together."""

    def ends_of(self, scope: Scope, futures: Sequence[Any]) -> Callable[[], Awaitable[None]]:
        """Give what can be awaited again and again: until one more of *futures* has ended."""
        ...


class Calls:
    """The operations of one context, for whichever driver runs it."""

    __slots__ = ("_choose", "_random", "_run", "scope")

    def __init__(self, scope: Scope, run: Launcher, choose: ChooseSerdes = typed_serdes) -> None:
        self.scope = scope
        self._run = run
        self._choose = choose
        self._random: Random | None = None

    def step(
        self,
        name: str | None,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        config: StepConfig[Any] | None,
    ) -> Any:
        """Run *fn* until its outcome is recorded."""
        config = config_of(StepConfig, config, _STEP)
        check_body(fn, "fn", args)
        op = self._begin(name, OperationType.STEP, config.sub_type or OperationSubType.STEP)
        body = partial(fn, *args) if args else fn
        serdes = config.serdes or self._serdes_of(fn)
        return self._launch(op, step(self.scope.journal, op, body, config, serdes))

    def wait(self, name: str | None, duration: timedelta | float) -> Any:
        """Sleep."""
        seconds = duration_seconds(duration, "duration", minimum=1)
        op = self._begin(name, OperationType.WAIT, OperationSubType.WAIT)
        return self._launch(op, wait(self.scope.journal, op, seconds))

    def invoke(
        self,
        name: str | None,
        function_name: str,
        payload: object,
        config: InvokeConfig[Any] | None,
    ) -> Any:
        """Call another durable function."""
        config = config_of(InvokeConfig, config, _INVOKE)
        target = function_name_of(function_name)
        op = self._begin(name, OperationType.CHAINED_INVOKE, OperationSubType.CHAINED_INVOKE)
        serdes = (config.payload_serdes or _JSON, config.result_serdes or _JSON)
        options = ChainedInvokeOptions(
            function_name=target,
            tenant_id=config.tenant_id,
            x_amzn_trace_id=self._trace_of(op, target),
        )
        program = invoke(self.scope.journal, op, options, payload, serdes)
        return self._launch(op, program)

    def _trace_of(self, op: Op, function_name: str) -> str | None:
        if self.scope.watcher is None or op.id in self.scope.journal:
            return None
        return self.scope.watcher.trace_of(op, function_name)

    def create_callback(
        self,
        name: str | None,
        config: CallbackConfig[Any] | None,
        make: Callable[[str, Callable[[], Any]], Any],
    ) -> Any:
        """Make a callback; *make* builds what the user gets from its id and a way to its result."""
        config = config_of(CallbackConfig, config, _CALLBACK)
        op = self._begin(name, OperationType.CALLBACK, config.sub_type or OperationSubType.CALLBACK)
        serdes = config.serdes or _TEXT

        def result() -> Any:
            return self._launch(op, callback_result(self.scope.journal, op, serdes))

        def program() -> Program[Any]:
            callback_id = yield from create_callback(self.scope.journal, op, config)
            return make(callback_id, result)

        return self._launch(replace(op, outlives_call=True), program())

    def wait_for_callback(
        self,
        name: str | None,
        submitter: Callable[..., Any],
        args: tuple[Any, ...],
        config: WaitForCallbackConfig[Any] | None,
    ) -> Any:
        """Tell the outside of a callback, and wait for the answer."""
        config = config_of(WaitForCallbackConfig, config, _WAIT_FOR_CALLBACK)
        check_body(submitter, "submitter", args)
        name = as_name(name, room=len(CALLBACK_SUFFIX))
        op = self._begin(name, OperationType.CONTEXT, OperationSubType.WAIT_FOR_CALLBACK)

        def told(callback_id: str) -> Callable[[], Any]:
            return partial(submitter, callback_id, *args)

        program = wait_for_callback(self.scope, op, told, config, config.serdes or _TEXT)
        return self._launch(op, program)

    def wait_for_condition(
        self, name: str | None, check: Callable[..., Any], config: WaitForConditionConfig[Any]
    ) -> Any:
        """Check until a strategy is content."""
        config = config_of(_CONDITION, config, None)
        check_body(check, "check")
        op = self._begin(name, OperationType.STEP, OperationSubType.WAIT_FOR_CONDITION)
        serdes = config.serdes or self._serdes_of(check)
        return self._launch(op, wait_for_condition(self.scope.journal, op, check, config, serdes))

    def run_in_child_context(
        self,
        name: str | None,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        config: ChildConfig[Any] | None,
    ) -> Any:
        """Run *fn* with a context of its own."""
        config = config_of(ChildConfig, config, _CHILD)
        check_body(fn, "fn", args)
        check_takes(fn, "fn", 1 + len(args), f"{1 + len(args)} values" if args else "one value")
        op = self._open(name, config.sub_type or OperationSubType.RUN_IN_CHILD_CONTEXT)
        body = partial(_with_context_first, fn, args) if args else fn
        serdes = config.serdes or self._serdes_of(fn)
        program = child(self.scope, op, body, config, serdes)
        if config.is_virtual:  # it has no record that could say that it was left open
            return self._run.launch(self.scope, op, program)
        return self._launch(op, program)

    def map(
        self,
        name: str | None,
        items: Iterable[Any],
        fn: Callable[..., Any],
        config: MapConfig | None,
    ) -> Any:
        """Run *fn* for each item."""
        config = config_of(MapConfig, config, _MAP)
        check_function(fn, "fn", "a function, after the name and the items")
        check_takes(fn, "fn", count_for_item(fn), "two to four values")
        sequence = list_of(items, "items")
        body_of = item_caller(fn, sequence)
        namer = config.item_namer
        branches = [
            Branch(
                f"map-item-{index}" if namer is None else as_name(namer(item, index), _ITEM_NAME),
                body_of(item, index),
                config.item_serdes or self._serdes_of(fn),
            )
            for index, item in enumerate(sequence)
        ]
        kinds = (OperationSubType.MAP, OperationSubType.MAP_ITERATION)
        return self._fan_out(name, branches, config, kinds, annotation_of(fn, "return"))

    def parallel(
        self,
        name: str | None,
        branches: Iterable[Callable[..., Any] | NamedParallelBranch[Any]],
        config: ParallelConfig | None,
    ) -> Any:
        """Run the branches beside each other."""
        config = config_of(ParallelConfig, config, _PARALLEL)
        listed = list_of(branches, "branches")
        named = [branch_of(branch, index) for index, branch in enumerate(listed)]
        made = [
            Branch(branch.name, branch.func, config.item_serdes or self._serdes_of(branch.func))
            for branch in named
        ]
        kinds = (OperationSubType.PARALLEL, OperationSubType.PARALLEL_BRANCH)
        returned = [annotation_of(branch.func, "return") for branch in named]
        any_of_them = Union[tuple(returned)] if returned else Any  # noqa: UP007 - made of values
        return self._fan_out(name, made, config, kinds, any_of_them)

    def execute_concurrently(
        self,
        name: str | None,
        items: Iterable[Any],
        executor: Callable[..., Any],
        config: ConcurrencyConfig | None,
    ) -> Any:
        """Run *executor* for each item, recorded under the caller's own sub types."""
        config = config_of(ConcurrencyConfig, config, _CONCURRENTLY)
        check_function(executor, "executor", "a function, after the name and the items")
        check_takes(executor, "executor", 2, "two values")
        sequence = list_of(items, "items")
        namer = config.item_namer
        branches = [
            Branch(
                f"item-{index}" if namer is None else as_name(namer(item, index), _ITEM_NAME),
                partial(_with_context_first, executor, (item,)),
                config.item_serdes or self._serdes_of(executor),
            )
            for index, item in enumerate(sequence)
        ]
        kinds = (
            config.top_level_sub_type or OperationSubType.MAP,
            config.iteration_sub_type or OperationSubType.MAP_ITERATION,
        )
        return self._fan_out(name, branches, config, kinds, annotation_of(executor, "return"))

    def _fan_out(
        self,
        name: str | None,
        branches: Sequence[Branch],
        config: FanOutConfig,
        sub_types: tuple[str, str],
        result_type: Any,
    ) -> Any:
        config.completion_config.check_total(len(branches))
        op = self._open(name, sub_types[0])
        serdes = config.serdes or self._choose(BatchResult[result_type])
        plan = Plan(
            branches=branches,
            branch_sub_type=sub_types[1],
            completion=config.completion_config,
            max_concurrency=config.max_concurrency,
            is_flat=config.nesting_type is NestingType.FLAT,
            serdes=serdes,
            summary_generator=config.summary_generator,
        )
        return self._launch(op, batch(self.scope, op, plan))

    def combine(self, name: str | None, rule: Combinator, futures: Iterable[object]) -> Any:
        """Wait for several futures, until *rule* is content."""
        listed = [_observable(future) for future in list_of(futures, "futures")]
        rule.check_count(len(listed), "futures")
        op = self._begin(name, OperationType.CONTEXT, OperationSubType.RUN_IN_CHILD_CONTEXT)
        ends_of = partial(cast("FutureLauncher", self._run).ends_of, self.scope)
        return self._launch(op, combine(self.scope, op, rule, listed, ends_of))

    def combine_branches(
        self, name: str | None, rule: Combinator, branches: Iterable[Callable[..., Any]]
    ) -> Any:
        """Run branches beside each other, until *rule* is content; for a driver that blocks."""
        given = list_of(branches, "branches")
        functions = [branch_of(branch, index).func for index, branch in enumerate(given)]
        listed = [Branch(None, function, self._serdes_of(function)) for function in functions]
        rule.check_count(len(listed), "branches")
        config = FanOutConfig(completion_config=rule.completion)
        kinds = (OperationSubType.RUN_IN_CHILD_CONTEXT, OperationSubType.RUN_IN_CHILD_CONTEXT)
        result: BatchResult[Any] = self._fan_out(name, listed, config, kinds, Any)
        return combined(rule, result, len(listed), name)

    def uuid4(self) -> UUID:
        """Give a random UUID that is the same in every replay."""
        return UUID(int=self._chance().getrandbits(128), version=4)

    def random(self) -> float:
        """Give a number from 0 up to 1 that is the same in every replay."""
        return self._chance().random()

    def _chance(self) -> Random:
        if self._random is None:
            seed = f"{self.scope.journal.arn}#{self.scope.step_id}"
            self._random = Random(seed)  # noqa: S311 - it has to be the same in every replay
        return self._random

    def _begin(self, name: str | None, type_: OperationType, sub_type: str) -> Op:
        return self._run.begin(self.scope, as_name(name), type_, sub_type)

    def _serdes_of(self, function: Callable[..., Any]) -> Serdes[Any]:
        return self._choose(annotation_of(function, "return"))

    def _open(self, name: str | None, sub_type: str) -> Op:
        """Begin an operation that runs code in contexts of its own."""
        if self.scope.depth >= MAX_NESTING:
            raise nested_too_deep(name)
        return self._begin(name, OperationType.CONTEXT, sub_type)

    def _launch(self, op: Op, program: Program[Any]) -> Any:
        if self.scope.never_resolves(op):
            program = never(op)
        return self._run.launch(self.scope, op, program)


_MAP = MapConfig()
_PARALLEL = ParallelConfig()
_CONCURRENTLY = ConcurrencyConfig()


def _with_context_first(function: Callable[..., Any], args: tuple[Any, ...], ctx: Any) -> Any:
    return function(ctx, *args)


def _observable(future: object) -> Observable:
    if isinstance(future, Observable):
        return future
    text = f"must be what operations of the context return, not {shown(future)}"
    raise ValidationError("futures", text)
