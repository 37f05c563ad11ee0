"""Greet somebody, twice, with a sleep between: the smallest durable function.

$ durably run examples/hello.py:hello --input '"Ada"' --name hello-ada

Stop it with Ctrl-C while it sleeps and type the same again: the first greeting is not repeated.
"""

from datetime import timedelta

from durably import DurableContext, durable_execution


def greet(greeting: str, name: str) -> str:
    """Do the work. Any function can be a step."""
    return f"{greeting}, {name}!"


@durable_execution
async def hello(name: str, ctx: DurableContext) -> list[str]:
    """Each step runs until its result is recorded, and never again."""
    first = await ctx.step("welcome", greet, "Hello", name)
    await ctx.wait("pause", timedelta(seconds=2))
    second = await ctx.step("farewell", greet, "Goodbye", name)
    return [first, second]
