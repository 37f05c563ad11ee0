"""`hello.py` for plain functions: no `async`, no `await`, the same names, and every call blocks.

$ durably run examples/hello_sync.py:hello --input '"Ada"' --name hello-ada
"""

from datetime import timedelta

from durably import SyncDurableContext, durable_execution


def greet(greeting: str, name: str) -> str:
    """Do the work. Any function can be a step."""
    return f"{greeting}, {name}!"


@durable_execution
def hello(name: str, ctx: SyncDurableContext) -> list[str]:
    """Each step runs until its result is recorded, and never again."""
    first = ctx.step("welcome", greet, "Hello", name)
    ctx.wait("pause", timedelta(seconds=2))
    second = ctx.step("farewell", greet, "Goodbye", name)
    return [first, second]
