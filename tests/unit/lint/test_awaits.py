"""Futures that are dropped, and suspensions that are caught."""

import pytest

from tests.unit.lint.marked import OFFICIAL, check, in_handler


def test_a_future_that_is_dropped_is_found() -> None:
    check(
        """
        async def helper(ctx):
            await ctx.wait("w", 1)

        def plain(ctx):
            return ctx.wait("w", 1)

        @durable_execution
        async def handler(event, ctx):
            ctx.step("s", str)  #! not-awaited
            dropped = ctx.step("s", str)  #! not-awaited
            helper(ctx)  #! not-awaited
            callback = await ctx.create_callback("c")
            callback.result()  #! not-awaited
            kept = ctx.step("s", str)
            read_below = ctx.step("s", str)
            event.future = ctx.step("s", str)
            first = second = ctx.step("s", str)
            plain(ctx)
            ctx.random()
            await ctx.step("s", str)
            futures = [ctx.step("s", str)]
            if event:
                return ctx.step("s", str)  #! not-awaited

            async def body(child):
                await read_below
                return child.step("s", str)  #! not-awaited

            async def unknown():
                return ctx.step("s", str)

            await ctx.run_in_child_context("c", body)
            await ctx.run_in_child_context("c", lambda child: child.step("s", str))
            return await kept
        """
    )


def test_in_a_plain_function_there_is_nothing_to_await() -> None:
    program = """
        @durable_execution
        def handler(event, ctx):
            ctx.step("s", str)
            ctx.wait("w", 1)
        """
    check(program)
    check("async def also(ctx: DurableContext):\n    ctx.wait(1)\n", sdk=OFFICIAL)


@pytest.mark.parametrize(
    "clause",
    [
        "except BaseException:",
        "except:",
        "except asyncio.CancelledError:",
        "except (ValueError, asyncio.CancelledError) as error:",
        "except BaseException as error: raise RuntimeError from error",
    ],
)
def test_who_catches_a_suspension_and_goes_on_is_found(clause: str) -> None:
    head, colon, rest = clause.partition(":")
    check(
        in_handler(
            f"""
            try:
                await ctx.step("s", str)
            {head}{colon}  #! swallowed-cancellation
                {rest or "pass"}
            """,
            "import asyncio",
        )
    )


@pytest.mark.parametrize(
    "clause",
    [
        "except Exception: pass",
        "except BaseException: raise",
        "except BaseException as error: raise error",
        "except (ValueError, TypeError): pass",
        "except InvocationSuspended: pass",
        "finally: pass",
    ],
)
def test_who_lets_it_through_is_left_alone(clause: str) -> None:
    check(in_handler(f"try: await ctx.step('s', str)\n{clause}", "import asyncio"))


def test_what_was_raised_again_does_not_get_to_the_next_clause() -> None:
    check(
        in_handler(
            """
            try:
                await ctx.step("s", str)
            except asyncio.CancelledError:
                raise
            except BaseException:
                pass
            """,
            "import asyncio",
        )
    )


def test_only_clauses_around_operations_count() -> None:
    check(
        """
        import asyncio, contextlib

        async def helper(ctx):
            await ctx.wait("w", 1)

        @durable_execution
        async def handler(event, ctx):
            future = ctx.step("s", str)
            try:
                event.anything()
            except BaseException:
                await ctx.step("s", str)
            try:
                while event:
                    await helper(ctx)
            except BaseException:  #! swallowed-cancellation
                pass
            try:
                await future
            except BaseException:  #! swallowed-cancellation
                pass
            try:
                await event
            except asyncio.CancelledError:
                pass
            with contextlib.suppress(asyncio.CancelledError):  #! swallowed-cancellation
                await future
            with contextlib.suppress(ValueError), open_nothing(), event:
                await future
            with contextlib.suppress(BaseException):
                event.anything()
        """
    )


def test_a_plain_function_is_suspended_by_another_signal() -> None:
    check(
        """
        import asyncio

        @durable_execution
        def handler(event, ctx):
            try:
                ctx.step("s", str)
            except InvocationSuspended:  #! swallowed-cancellation
                pass
            try:
                ctx.step("s", str)
            except asyncio.CancelledError:
                pass
        """
    )
