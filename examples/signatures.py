"""Collect answers from several sides, all of them or until a deadline, whichever comes first.

$ durably run examples/signatures.py:sign --input '{"paper": "lease", "signers": ["Ada", "Bob"]}'
$ durably callback succeed CALLBACK_ID --payload 'Ada L.'
"""

from dataclasses import dataclass

from durably import DurableContext, durable_execution


@dataclass(frozen=True)
class Contract:
    """What is to be signed, by whom, and within what time."""

    paper: str
    signers: list[str]
    patience_seconds: int = 7 * 86_400


def send(paper: str, callback_ids: dict[str, str]) -> None:
    """Send each signer a link; here by printing."""
    for signer, callback_id in callback_ids.items():
        print(f"{signer}: sign the {paper} and answer to {callback_id}")


@durable_execution
async def sign(contract: Contract, ctx: DurableContext) -> str:
    """Who was first is recorded. The deadline that lost ends with this, and a warning says so."""
    callbacks = {signer: await ctx.create_callback(signer) for signer in contract.signers}
    links = {signer: callback.callback_id for signer, callback in callbacks.items()}
    await ctx.step("send", send, contract.paper, links)
    everybody = ctx.all("everybody", [callback.result() for callback in callbacks.values()])
    deadline = ctx.wait("deadline", contract.patience_seconds)
    signed: list[str] | None = await ctx.race("first", [everybody, deadline])
    return "too late" if signed is None else f"signed by {' and '.join(signed)}"
