"""An agent: a model says which tools to call, they run beside each other, until it has an answer.

$ durably run examples/agent.py:answer --input '"Is it warmer in Oslo or in Rome?"' --name q-1
"""

import asyncio
from typing import TypedDict

from durably import DurableContext, durable_execution

MAX_TURNS = 10


class Turn(TypedDict):
    """What the model says, and for which cities it wants to know the temperature first."""

    text: str
    cities: list[str]


def think(messages: list[str]) -> Turn:
    """Ask the model; this one only knows how to compare."""
    if len(messages) == 1:
        return Turn(text="", cities=["Oslo", "Rome"])
    return Turn(text=max(messages[1:], key=lambda one: float(one.split()[-1])), cities=[])


def temperature(city: str) -> str:
    """Use a tool. It may be slow or fail: as a step it is retried, and what it said is kept."""
    return f"{city}: {2.5 * len(city) + ord(city[0])}"


@durable_execution
async def answer(question: str, ctx: DurableContext) -> str:
    """Each turn is recorded: after a crash the talk goes on where it was."""
    messages = [question]
    for _ in range(MAX_TURNS):
        turn = await ctx.step("think", think, messages)
        if not turn["cities"]:
            return turn["text"]
        calls = [ctx.step("temperature", temperature, city) for city in turn["cities"]]
        messages += await asyncio.gather(*calls)
    raise RuntimeError("the model does not come to an end")
