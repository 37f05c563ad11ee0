"""What becomes of code that does not end when its process is to: nothing waits for it."""

import subprocess
import sys

import pytest

STUCK = """
import asyncio, threading
from durably import DurableContext, Engine, SyncDurableContext, durable_execution
from durably.clients.in_memory import InMemoryClient
from durably.handler import validate_durable_execution_event

entered = threading.Event()

def block() -> None:
    entered.set()
    threading.Event().wait()

@durable_execution
def stuck(event: object, ctx: SyncDurableContext) -> None:
    block()

@durable_execution
def stuck_in_a_step(event: object, ctx: SyncDurableContext) -> None:
    ctx.step("stuck", block)

@durable_execution
async def with_a_step(event: object, ctx: DurableContext) -> None:
    await ctx.step("stuck", block)

class Stuck(InMemoryClient):
    answers_at_once = False

    def checkpoint(self, request):
        block()

async def leave_engine(function) -> None:
    async with Engine("memory:", [function], grace=0.1) as engine:
        await engine.start(function)
        await asyncio.to_thread(entered.wait)
    print("closed")

async def leave_client() -> None:
    client = Stuck()
    invocation = validate_durable_execution_event(client.event())
    running = asyncio.ensure_future(with_a_step.invoke(invocation, client))
    await asyncio.to_thread(entered.wait)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    print("closed")

"""


@pytest.mark.process
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "main",
    [
        "leave_engine(stuck)",
        "leave_engine(stuck_in_a_step)",
        "leave_engine(with_a_step)",
        "leave_client()",
    ],
)
def test_code_that_never_returns_does_not_keep_its_process_from_ending(main: str) -> None:
    script = f"{STUCK}asyncio.run({main})"

    ended = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=False
    )

    assert (ended.returncode, ended.stdout) == (0, "closed\n"), ended.stderr
