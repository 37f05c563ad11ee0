"""Contexts in steps, in the bodies of others, in tasks and in threads."""

from tests.unit.lint.marked import check


def test_an_operation_in_a_step_is_found_however_it_gets_there() -> None:
    check(
        """
        from functools import partial

        async def helper(ctx, item):
            return await ctx.step("s", str, item)

        @durable_execution
        async def handler(event, ctx):
            async def nested():
                await ctx.step("inner", str)  #! operation-in-step
                ctx.random()  #! operation-in-step
                await helper(ctx, event)  #! operation-in-step
                await deeper()  #! operation-in-step
                ctx.logger.info("fine")
                ctx.now()

            async def deeper():
                return [await ctx.wait("w", 1) for _ in event]

            callback = await ctx.create_callback("c")
            await ctx.step("outer", nested)
            await ctx.step("outer", lambda: ctx.uuid4())  #! operation-in-step
            await ctx.step("outer", helper, ctx, 1)  #! operation-in-step
            await ctx.step("outer", partial(helper, ctx), 1)  #! operation-in-step
            await ctx.step("outer", lambda: callback.result())  #! operation-in-step
            await ctx.step("outer", str, callback.callback_id, event)
            await ctx.wait_for_callback("c", lambda name: ctx.wait("w", 1))  #! operation-in-step
        """
    )


def test_a_body_uses_the_context_that_it_got() -> None:
    [first, *_] = check(
        """
        from functools import partial

        async def helper(ctx, item):
            return await ctx.step("s", str, item)

        @durable_execution
        async def handler(event, ctx):
            callback = await ctx.create_callback("c")

            async def body(child, item):
                await ctx.step("s", str)  #! outer-context
                await child.step("s", str)
                await helper(ctx, item)  #! outer-context
                await helper(child, item)
                ctx.random()  #! outer-context
                ctx.logger.info(ctx.now())
                return await callback.result()

            async def shadowing(ctx, item):
                await ctx.step("s", str)

            async def shared():
                await ctx.step("s", str)

            async def calling(child):
                await shared()  #! outer-context
                async def inner(grandchild):
                    await child.step("s", str)  #! outer-context
                await child.run_in_child_context("c", inner)

            await ctx.map("m", event, body)
            await ctx.map("m", event, shadowing)
            await ctx.run_in_child_context("c", calling)
            await ctx.run_in_child_context("c", lambda _: ctx.step("s", str))  #! outer-context
            await ctx.run_in_child_context("c", helper, ctx)  #! outer-context
            await ctx.parallel("p", [partial(both, ctx)])  #! outer-context
            await shared()

        async def both(outer, child):
            await child.step("s", str)
        """
    )

    assert "of `handler`" in first.message


def test_tasks_over_functions_that_call_operations_leave_their_order_to_chance() -> None:
    check(
        """
        import asyncio
        from asyncio import gather

        async def helper(ctx, item):
            return await ctx.step("s", str, item)

        async def logs(ctx):
            ctx.logger.info("fine")

        @durable_execution
        async def handler(event, ctx):
            async def nested():
                await ctx.wait("w", 1)

            await asyncio.create_task(helper(ctx, 1))  #! concurrent-operations
            await gather(nested(), logs(ctx))  #! concurrent-operations
            await gather(*[helper(ctx, item) for item in event])  #! concurrent-operations
            coroutines = [helper(ctx, item) for item in event]  #! concurrent-operations
            await gather(*coroutines)
            one = nested()  #! concurrent-operations
            asyncio.ensure_future(one)
            async with asyncio.TaskGroup() as group:
                group.create_task(nested())  #! concurrent-operations
            await gather(ctx.step("a", str), ctx.wait("b", 1), logs(ctx))
            await gather(*[ctx.step("a", str, item) for item in event])
            await gather(*[ctx.run_in_child_context("a", helper, item) for item in event])
        """
    )


def test_threads_over_what_calls_operations_do_as_well() -> None:
    check(
        """
        import asyncio, threading
        from concurrent.futures import ThreadPoolExecutor

        def helper(ctx, item):
            return ctx.step("s", str, item)

        def plain(item):
            return item

        @durable_execution
        def handler(event, ctx):
            def nested():
                ctx.wait("w", 1)

            threading.Thread(target=nested).start()  #! concurrent-operations
            threading.Thread(None, nested)  #! concurrent-operations
            threading.Thread(target=helper, args=(ctx, 1))  #! concurrent-operations
            threading.Thread(target=plain, args=(1,))
            threading.Thread()
            with ThreadPoolExecutor() as pool:
                pool.submit(helper, ctx, 1)  #! concurrent-operations
                pool.submit(lambda: helper(ctx, 1))  #! concurrent-operations
                pool.map(ctx.invoke, event)  #! concurrent-operations
                pool.submit(helper, None, 1)
                pool.submit(event.step, ctx)

        async def other(ctx: DurableContext):
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, helper, ctx, 1)  #! concurrent-operations
            await asyncio.to_thread(ctx.step, "s", str)  #! concurrent-operations
            await asyncio.to_thread(ctx.logger.info, "s")
        """
    )
