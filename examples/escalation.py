"""Ask for approval up the ladder: who does not answer in time is passed over.

$ durably run examples/escalation.py:approve --input '{"what": "a press", "ladder": ["Ada", "Bob"]}'
$ durably callback succeed CALLBACK_ID --payload true
"""

from dataclasses import dataclass

from durably import (
    CallbackTimeoutError,
    DurableContext,
    WaitForCallbackConfig,
    durable_execution,
    json_serdes,
)


@dataclass(frozen=True)
class Wish:
    """What is wished for, who may approve it, and how long each has to answer."""

    what: str
    ladder: list[str]
    patience_seconds: int = 86_400


def mail(callback_id: str, person: str, what: str) -> None:
    """Ask somebody; here by printing."""
    print(f"{person}, may we have {what}? Answer true or false to {callback_id}")


@durable_execution
async def approve(wish: Wish, ctx: DurableContext) -> str:
    """Days may pass in here; a process is needed for moments only."""
    config = WaitForCallbackConfig(timeout=wish.patience_seconds, serdes=json_serdes(bool))
    for person in wish.ladder:
        try:
            yes: bool = await ctx.wait_for_callback(person, mail, person, wish.what, config=config)
        except CallbackTimeoutError:
            continue
        return f"{'approved' if yes else 'refused'} by {person}"
    return "nobody answered"
