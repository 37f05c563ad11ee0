"""Which code runs in every replay, and which does not."""

import inspect

from durably import DurableContext, SyncDurableContext
from durably.drivers.bearings import Bearings
from durably.lint.operations import DRAWS, DURABLY
from tests.unit.lint.marked import OFFICIAL, check

TIME = "import time\n"


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_the_linter_knows_every_operation_and_where_its_arguments_are() -> None:
    for context in (DurableContext, SyncDurableContext):
        assert public(context) - public(Bearings) == set(DURABLY)
        for name, shape in DURABLY.items():
            taken = list(inspect.signature(getattr(context, name)).parameters)[1:]
            assert shape.name == taken.index("name")
            if shape.body is not None:
                assert taken[shape.body] in {
                    *("branches", "check", "executor", "fn", "func", "futures", "submitter"),
                }
            if shape.items is not None:
                assert taken[shape.items] in {"branches", "futures", "items"}
    assert public(Bearings) >= DRAWS


def test_handlers_of_both_flavours_are_known_however_they_are_made() -> None:
    check(
        """
        import durably, time
        from durably import durable_execution as durable

        @durable
        async def one(event, ctx):
            time.time()  #! clock

        @durably.durable_execution(plugins=[])
        def two(event, ctx):
            time.time()  #! clock

        def three(event, ctx):
            time.time()  #! clock
            ctx.step("s", lambda: ctx.wait("w", 1))  #! operation-in-step

        class Flow:
            def four(self, event, ctx):
                ctx.step("s", lambda: ctx.wait("w", 1))  #! operation-in-step

        function = durable(three, client=None)
        durable(Flow().four)
        other = durably.durable_execution(lambda event, ctx: time.time())  #! clock
        durable()

        def none_of_these(event, ctx):
            time.time()

        def durable_execution(handler):
            return handler

        @durable_execution
        def not_ours(event, ctx):
            time.time()
        """,
        sdk="",
    )


def test_who_takes_a_context_is_replayed() -> None:
    check(
        """
        import durably, time
        from typing import Any, Optional

        @anything.at_all("7-1")
        def one(event: Any, ctx: SyncDurableContext) -> Any:
            time.time()  #! clock

        async def two(ctx: "durably.DurableContext | None"):
            time.time()  #! clock
            await ctx.step("s", time.time)

        class Flow:
            def __init__(self, ctx: Optional[DurableContext]) -> None:
                time.time()  #! clock

        def three(context: OtherContext, durable: Any, name: "not [a type"):
            time.time()
        """
    )


def test_what_a_handler_calls_is_replayed_and_the_caller_named() -> None:
    found = check(
        """
        import time

        @durable_execution
        async def handler(event, ctx):
            def nested():
                time.time()  #! clock

            nested()
            await helper(event)
            (lambda: time.time())()  #! clock
            sorted(event, key=lambda one: time.time())  #! clock
            list(map(late, event))
            Order(event).total()
            Order.made(event)
            event.helper()
            unknown(unused)

        async def helper(event):
            deeper()

        def deeper():
            time.time()  #! clock
            helper(1)

        def late(one):
            time.time()  #! clock

        class Order:
            taxes: Taxes

            def __init__(self, event):
                time.time()  #! clock

            def total(self):
                self.add()
                self.taxes.add()
                self.tax
                super().total()

            def add(self):
                time.time()  #! clock

            @staticmethod
            def made(event):
                time.time()  #! clock

            @property
            def tax(self):
                time.time()

        class Taxes:
            @classmethod
            def add(cls):
                cls.sum()

            @staticmethod
            def sum():
                time.time()  #! clock

        def unused():
            time.time()
        """
    )

    said = [one.message.partition("; ")[2] for one in found]
    assert "`helper` calls `deeper` in line 21." in said
    assert "`handler` calls `late` in line 14." in said
    assert said.count("") == 2  # the lambdas


def test_a_method_does_not_see_the_names_of_its_class() -> None:
    check(
        """
        class Flow:
            def open(self, name):
                return name

            async def run(self, ctx: DurableContext):
                open("x")  #! file
                self.open("x")
        """
    )


def test_an_inherited_method_is_followed() -> None:
    check(
        """
        import time

        class Base:
            def total(self):
                time.time()  #! clock

        class Order(Base):
            pass

        @durable_execution
        def handler(event, ctx):
            Order().total()
        """
    )


def test_what_a_step_runs_may_do_anything() -> None:
    check(
        """
        import time
        from functools import partial

        class Shop:
            def charge(self):
                time.time()

            @durable_execution
            async def handler(self, event, ctx):
                async def nested(at):
                    time.time()

                await ctx.step("s", nested, 1)
                await ctx.step("s", lambda: time.time())
                await ctx.step("s", partial(nested, 1))
                await ctx.step("s", self.charge)
                await ctx.step(name="s", fn=nested)
                await ctx.wait_for_callback("c", nested)
                await ctx.wait_for_condition("c", nested, None)
                await ctx.step("s", nested if event else self.charge)
        """
    )


def test_what_a_step_runs_and_a_handler_calls_is_replayed() -> None:
    check(
        """
        import time

        def stamp():
            return time.time()  #! clock

        @durable_execution
        def handler(event, ctx):
            ctx.step("s", stamp)
            stamp()
        """
    )


def test_bodies_are_replayed_and_get_a_context() -> None:
    check(
        """
        import time
        from functools import partial

        @durable_execution
        async def handler(event, ctx):
            async def one(child, item=None):
                time.time()  #! clock
                await child.step("s", lambda: child.wait("w", 1))  #! operation-in-step

            await ctx.run_in_child_context("c", one)
            await ctx.parallel("p", [two, NamedParallelBranch("b", three), *[four for _ in event]])
            await ctx.execute_concurrently("e", event, partial(five, event))
            await ctx.with_retry("r", func=six)
            branches = (seven, partial(eight, other=1))
            await ctx.race("p", branches)
            await ctx.map("m", event, Flow().nine)

        def two(ctx): time.time()  #! clock
        def three(ctx): time.time()  #! clock
        def four(ctx): time.time()  #! clock
        def five(event, ctx, item): ctx.step("s", lambda: ctx.wait("w", 1))  #! operation-in-step
        def six(ctx, attempt): time.time()  #! clock
        def seven(ctx): time.time()  #! clock
        def eight(ctx, other): ctx.step("s", lambda: ctx.wait("w", 1))  #! operation-in-step

        class Flow:
            def nine(self, ctx, item):
                ctx.step("s", lambda: ctx.wait("w", 1))  #! operation-in-step
        """
    )


def test_a_context_is_known_wherever_it_is_passed_on() -> None:
    check(
        """
        @durable_execution
        async def handler(event, ctx):
            await deliver(event, context=ctx)
            await ship(*event, ctx)

        async def deliver(event, context):
            await pack(context, *event)

        async def pack(durable, event):
            await durable.step("s", lambda: durable.wait("w", 1))  #! operation-in-step

        async def ship(event, unknown):
            await unknown.step("s", lambda: unknown.wait("w", 1))
        """
    )


def test_mappers_and_namers_in_settings_are_replayed() -> None:
    check(
        """
        import time

        @durable_execution
        async def handler(event, ctx):
            config = ChildConfig(error_mapper=mapped)
            StepConfig(retry_strategy=lambda error, attempt: time.time())

        def mapped(error):
            return time.time()  #! clock
        """
    )


def test_the_functions_of_the_official_sdk_are_understood() -> None:
    check(
        """
        import random, time

        @durable_step
        def charge(step_context, order):
            return time.time()

        @durable_with_child_context
        def ship(child, order):
            time.time()  #! clock
            child.step(charge(order), name="charge")
            child.step(lambda _: child.wait(Duration.from_seconds(1)))  #! operation-in-step

        @durable_parallel_branch(name="label")
        def label(context, order):
            random.random()  #! random

        @durable_wait_for_callback
        def submit(callback_id, context, order):
            time.time()

        @durable_execution(plugins=[])
        def handler(event, context):
            context.step(lambda _: random.random(), name="draw")
            context.step(charge(event), name=f"{time.time()}")  #! operation-name
            context.run_in_child_context(ship(event), name="ship")
            context.wait_for_callback(submit(event))
            context.parallel([label(event), ParallelBranch(func=lambda c: time.time())])  #! clock
            context.map([1], lambda c, item, index, items: c.step(lambda _: item, name="x"))
            context.map(inputs=[1], func=lambda c, *_: context.wait(1))  #! outer-context
            context.step(lambda _: context.wait(1))  #! operation-in-step
            context.wait(1, name=f"{random.random()}")  #! operation-name
            for item in {"a", event}: pass  #! set-order
        """,
        sdk=OFFICIAL,
    )


def test_a_step_is_no_replayed_code_because_its_parameter_is_called_a_context() -> None:
    check(
        """
        import time
        from aws_durable_execution_sdk_python import DurableContext

        @durable_step
        def bound(context: DurableContext, item):
            return time.time()

        def given(_: DurableContext):
            return time.time()

        def helper(context: DurableContext):
            return time.time()  #! clock

        @durable_execution
        def handler(event, context):
            context.step(bound(1))
            context.step(given)
            helper(context)
        """,
        sdk=OFFICIAL,
    )


def test_whoever_decides_that_enough_is_done_decides_in_every_replay() -> None:
    check(
        """
        import random

        @durable_execution
        async def handler(event, ctx):
            decide = lambda status: random.random() > 0.5  #! random
            enough = CompletionConfig(should_complete=decide)
            await ctx.map("m", event, str, MapConfig(completion_config=enough))
        """
    )


def test_a_branch_of_the_official_sdk_is_named_by_its_keyword() -> None:
    check(
        """
        import time, uuid

        @durable_execution
        def handler(event, context):
            context.parallel([ParallelBranch(str, name=f"{uuid.uuid4()}")])  #! operation-name
            context.parallel([ParallelBranch(lambda c: time.time())])  #! clock
        """,
        sdk=OFFICIAL,
    )
