"""State that a replay does not make again, and state that is shared."""

from tests.unit.lint.marked import check


def test_what_a_step_does_to_variables_around_it_is_lost() -> None:
    [first, *_] = check(
        """
        from collections import defaultdict
        from functools import partial

        @durable_execution
        async def handler(event, ctx):
            total, done = 0, []
            found: dict[str, int] = event.found()
            groups = defaultdict(list)

            async def step(taken):
                nonlocal total
                total += 1  #! mutated-closure
                done.append(1)  #! mutated-closure
                found["a"] = 1  #! mutated-closure
                del found["a"]  #! mutated-closure
                event.status = "paid"  #! mutated-closure
                event.items[0].name = "x"  #! mutated-closure
                groups.update(a=[])  #! mutated-closure
                event.update("this may be anything")
                taken.append(1)
                own = []
                own.append(len(done))
                total_of = {"a": 1}
                total_of["b"] = 2
                return own

            await ctx.step("s", step, [])
            await ctx.step("s", lambda: done.append(1))  #! mutated-closure
            await ctx.step("s", done.append, 1)  #! mutated-closure
            await ctx.step("s", partial(done.append, 1))  #! mutated-closure
            done.append(await ctx.step("s", str))
            total += 1
        """
    )

    assert "`total += 1` changes `total` of `handler`" in first.message
    assert first.instead == "Return the value, and let `handler` put it where it belongs."


def test_what_a_body_does_to_variables_around_it_is_lost() -> None:
    check(
        """
        VIRTUAL = ChildConfig(is_virtual=True)
        OTHER = ChildConfig(sub_type="other")

        @durable_execution
        async def handler(event, ctx):
            done = []

            async def body(child, item):
                seen = []
                async def step():
                    seen.append(1)  #! mutated-closure
                await child.step("s", step)
                done.append(item)  #! mutated-closure

            async def virtual(child):
                done.append(1)

            async def recorded(child):
                done.append(1)  #! mutated-closure

            await ctx.map("m", event, body)
            await ctx.run_in_child_context("v", virtual, config=ChildConfig(is_virtual=True))
            await ctx.run_in_child_context("v", virtual, config=VIRTUAL)
            await ctx.run_in_child_context("r", recorded, config=OTHER)
        """
    )


def test_what_lies_outside_of_replayed_code_is_no_closure_of_it() -> None:
    check(
        """
        def test_something():
            calls = []

            @durable_execution
            async def handler(event, ctx):
                calls.append("handler")
                await ctx.step("s", calls.append, "step")
                await ctx.step("s", lambda: LOG.append("step"))

        LOG = []
        """
    )


def test_what_belongs_to_the_module_is_shared() -> None:
    [first, *_] = check(
        """
        import settings
        CACHE, count, total = {}, 0, 0
        LOG = []
        OTHER = make()

        class Limits:
            most = 1

        @durable_execution
        async def handler(event, ctx):
            global count, total
            count += 1  #! global-state
            total = event  #! global-state
            CACHE["a"] = 1  #! global-state
            CACHE.setdefault("a", 1)  #! global-state
            del CACHE["a"]  #! global-state
            Limits.most = 2  #! global-state
            settings.DEBUG = True  #! global-state
            handler.calls = 1  #! global-state
            LOG.append(1)  #! global-state
            OTHER.append(1)
            local = CACHE.get("a")
            local["a"] = 1
            len(LOG)
            helper(event)

        def helper(event, seen=[], also=None, *, most={}):
            seen.append(event)  #! global-state
            most["a"] = 1  #! global-state
            also.append(event)
            def nested():
                seen.append(event)  #! global-state
            nested()

        def outside():
            CACHE["a"] = 1
        """
    )

    assert "changes `count`, which is shared" in first.message


def test_what_is_made_once_is_left_alone_unless_an_operation_depends_on_it() -> None:
    check(
        """
        client = rates = other = None

        @durable_execution
        async def handler(event, ctx):
            global client, rates, other
            if client is None:
                client = connect()
            if not client:
                client = connect()
            if rates is None:
                rates = await ctx.step("rates", load)  #! global-state
            if other is None:
                client = connect()  #! global-state
            if event:
                other = connect()  #! global-state
        """
    )
