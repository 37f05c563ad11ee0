"""Sets, and what depends on their order."""

from tests.unit.lint.marked import check, in_handler


def test_going_through_a_set_is_found() -> None:
    check(
        in_handler(
            """
            names = {event, "b"}
            for one in names: pass  #! set-order
            async for one in names: pass  #! set-order
            [one for one in names]  #! set-order
            list(names)  #! set-order
            ", ".join(names)  #! set-order
            dict(enumerate(names))  #! set-order
            first, *rest = [*names]  #! set-order
            names.pop()  #! set-order
            next(iter(names))  #! set-order
            tuple(frozenset(event))  #! set-order
            list(set(event) | names)  #! set-order
            list(event - names)  #! set-order
            list(names.union(event))  #! set-order
            list({one for one in event})  #! set-order
            for key in event.keys() - {"a"}: pass  #! set-order
            await ctx.map("m", names, str)  #! set-order
            await ctx.all("all", {ctx.step(one, str) for one in event})  #! set-order
            """
        )
    )


def test_what_is_the_same_in_any_order_is_left_alone() -> None:
    check(
        in_handler(
            """
            names = {event, "b"}
            sorted(names), len(names), max(names), "a" in names
            sum(one for one in names)
            sorted([one for one in names])
            sorted(list(names))
            {one for one in names}, set(names), {*names}
            for one in sorted(names): pass
            for one in {1, 2, 3}: pass
            for one in {"a": 1}: pass
            for one in event.keys(): pass
            event.pop(), [].pop(0), event.join(names)
            changed = {"a"}
            changed = sorted(changed)
            for one in changed: pass
            """
        )
    )


def test_annotations_say_what_is_a_set() -> None:
    check(
        """
        from collections.abc import Set
        from typing import FrozenSet

        @durable_execution
        async def handler(event: set[str], ctx: DurableContext):
            list(event)  #! set-order
            numbers: set[int] = ctx
            list(numbers)
            found: Set[str] = ctx
            list(found)  #! set-order
            made: "FrozenSet[str]" = ctx
            list(made)  #! set-order
            list(named())  #! set-order

        def named() -> set[str]:
            return {"a"}
        """
    )
