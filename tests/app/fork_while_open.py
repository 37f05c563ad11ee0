"""A program for tests: forks while its engine is open, and has the child try everything.

`fork_while_open.py async|sync PATH` prints what the child was told, each line with its class, then
the child's id and `forked`. It goes on when it is sent a line: it runs an execution, prints its
result, closes the engine and prints `closed`. The child waits to be killed, or ends by itself if
the third argument is `ends`.
"""

import asyncio
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Iterable
from typing import Any, NoReturn

from durably import DurableContext, DurableError, Engine, SyncEngine, durable_execution


@durable_execution
async def plus(number: int, ctx: DurableContext) -> int:
    return await ctx.step("plus", lambda: number + 1)


def say(*words: object) -> None:
    sys.stdout.write(f"{' '.join(map(str, words))}\n")
    sys.stdout.flush()


def end_child() -> NoReturn:
    if sys.argv[3:] == ["ends"]:
        os._exit(0)
    signal.pause()
    os._exit(1)


def calls_on(engine: Any, run: Any) -> Iterable[Any]:
    return (
        lambda: engine.start(plus, 1),
        lambda: engine.get(run.arn),
        engine.list,
        lambda: engine.callback_heartbeat("x"),
        run.result,
        run.history,
        engine.run_forever,
    )


async def main() -> None:
    async with Engine(f"sqlite:{sys.argv[2]}", [plus]) as engine:
        run = await engine.start(plus, 1)
        await run.result()
        child = os.fork()
        if not child:
            for call in (*calls_on(engine, run), engine.__aenter__):
                await told(call)
            await engine.__aexit__(None, None, None)  # nothing, and no error
            end_child()
        say(child, "forked")
        await asyncio.to_thread(sys.stdin.readline)
        say(await (await engine.start(plus, 2)).result())
    say("closed")


async def told(call: Any) -> None:
    try:
        await call()
    except DurableError as error:
        say(type(error).__name__, error)


def main_sync() -> None:
    with SyncEngine(f"sqlite:{sys.argv[2]}", [plus]) as engine:
        run = engine.start(plus, 1)
        run.result()

        def in_child() -> None:
            for call in (*calls_on(engine, run), engine.__enter__):
                try:
                    call()
                except DurableError as error:
                    say(type(error).__name__, error)
            engine.__exit__(None, None, None)
            end_child()

        child = multiprocessing.get_context("fork").Process(target=in_child)
        child.start()
        say(child.pid, "forked")
        sys.stdin.readline()
        say(engine.start(plus, 2).result())
    say("closed")
    os._exit(0)  # multiprocessing would wait for the child


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)  # that forking and threads do not mix
    if sys.argv[1] == "sync":
        main_sync()
    else:
        asyncio.run(main())
