"""A human in the loop: write a draft, have it read, write it again until the reader is content.

$ durably run examples/review.py:write --input '"tea"' --name essay-1
$ durably callback succeed CALLBACK_ID --payload 'shorter, please'
$ durably callback succeed CALLBACK_ID --payload ok
"""

from durably import Callback, DurableContext, durable_execution


def draft(topic: str, wishes: list[str]) -> str:
    """Write; a language model would do it here."""
    return f"On {topic}" + "".join(f" ({wish})" for wish in wishes)


def show(callback_id: str, text: str) -> None:
    """Put the draft before the reader."""
    print(f"{text!r}: 'ok', or what to change, to {callback_id}")


@durable_execution
async def write(topic: str, ctx: DurableContext) -> str:
    """Days may pass between the rounds, and the machine may change."""
    wishes: list[str] = []
    while True:
        text = await ctx.step("draft", draft, topic, wishes)
        reader: Callback[str] = await ctx.create_callback("reader")
        await ctx.step("show", show, reader.callback_id, text)
        wish = await reader.result()
        if wish == "ok":
            return text
        wishes.append(wish)
