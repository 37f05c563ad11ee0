"""A program for tests: runs an execution whose steps write rows, and says when each has.

`pay_until_killed.py URL NAME` goes on until somebody kills it.
"""

import asyncio
import sqlite3
import sys
from typing import Any

import psycopg

from durably import DurableContext, Engine, durable_execution, step_connection


async def pay(number: int) -> int:
    if sys.argv[1].startswith("sqlite:"):
        local = await step_connection(sqlite3.Connection)
        local.execute("INSERT INTO paid VALUES (?)", (number,))
    else:
        connection = await step_connection(psycopg.AsyncConnection)
        await connection.execute("INSERT INTO paid VALUES (%s)", (number,))
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()
    return number


@durable_execution
async def order(event: Any, ctx: DurableContext) -> None:
    for number in range(100_000):
        await ctx.step(None, pay, number)


async def main() -> None:
    async with Engine(sys.argv[1], [order], lease=1, grace=0) as engine:
        run = await engine.start(order, name=sys.argv[2])
        await run.result()


if __name__ == "__main__":
    asyncio.run(main())
