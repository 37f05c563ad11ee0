"""`review.py` for plain functions: write a draft until a human reader is content.

$ durably run examples/review_sync.py:write --input '"tea"' --name essay-1
$ durably callback succeed CALLBACK_ID --payload 'shorter, please'
$ durably callback succeed CALLBACK_ID --payload ok
"""

from durably import SyncCallback, SyncDurableContext, durable_execution


def draft(topic: str, wishes: list[str]) -> str:
    """Write; a language model would do it here."""
    return f"On {topic}" + "".join(f" ({wish})" for wish in wishes)


def show(callback_id: str, text: str) -> None:
    """Put the draft before the reader."""
    print(f"{text!r}: 'ok', or what to change, to {callback_id}")


@durable_execution
def write(topic: str, ctx: SyncDurableContext) -> str:
    """Days may pass between the rounds, and the machine may change."""
    wishes: list[str] = []
    while True:
        text = ctx.step("draft", draft, topic, wishes)
        reader: SyncCallback[str] = ctx.create_callback("reader")
        ctx.step("show", show, reader.callback_id, text)
        wish = reader.result()
        if wish == "ok":
            return text
        wishes.append(wish)
