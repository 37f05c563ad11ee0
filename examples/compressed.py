"""Write all results of a function in another form, here compressed, with one setting.

$ durably run examples/compressed.py:digest --input '"a long text "' --name digest-1
"""

import base64
import zlib
from typing import Any

from durably import DurableContext, SerdesContext, durable_execution, typed_serdes


class Compressed:
    """Compresses what is written by the annotation otherwise."""

    def __init__(self, annotation: Any) -> None:
        self._plain = typed_serdes(annotation)

    def serialize(self, value: Any, context: SerdesContext) -> str:
        """Write a result."""
        text = self._plain.serialize(value, context)
        return base64.b85encode(zlib.compress(text.encode())).decode()

    def deserialize(self, text: str, context: SerdesContext) -> Any:
        """Read one."""
        return self._plain.deserialize(zlib.decompress(base64.b85decode(text)).decode(), context)


def repeat(text: str) -> str:
    """Make much of little."""
    return text * 10_000


@durable_execution(default_serdes=Compressed)
async def digest(text: str, ctx: DurableContext) -> int:
    """Input and result of the execution stay plain JSON: others read them."""
    much = await ctx.step("repeat", repeat, text)
    return len(await ctx.step("trim", much.strip))
