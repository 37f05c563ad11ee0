"""Consume a queue that delivers more than once: what is named after a message is done once.

$ durably run examples/consumer.py:handle --input '{"id": "m-1", "text": "hello"}' --name m-1

Type it again: the execution of that name has ended, and its result is shown.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from durably import DurableContext, Engine, Execution, durable_execution


@dataclass(frozen=True)
class Message:
    """What the queue delivers, with the id that it has in every delivery."""

    id: str
    text: str


def store(message: Message) -> str:
    """Do what the message asks for."""
    return message.text.upper()


@durable_execution
async def handle(message: Message, ctx: DurableContext) -> str:
    """Handle one message, which may take days."""
    return await ctx.step("store", store, message)


async def consume(engine: Engine, messages: Iterable[Message]) -> list[Execution]:
    """Start an execution for each; a message can be acknowledged as soon as this returns."""
    return [await engine.start(handle, message, name=message.id) for message in messages]
