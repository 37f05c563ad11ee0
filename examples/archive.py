"""Keep a large result in a file, and only a preview of it in the record.

$ durably run examples/archive.py:archive --input '{"customer": "Ada", "folder": "."}'
"""

from dataclasses import dataclass

from durably import DurableContext, StepConfig, durable_execution
from durably.plugins.offload import FileSystemSerdes
from durably.plugins.preview import PreviewConfig, PreviewField, PreviewMode

VISIBLE = PreviewConfig(
    mode=PreviewMode.EXCLUDE_ALL, include=(PreviewField("customer"),), mask=(PreviewField("iban"),)
)


@dataclass(frozen=True)
class Request:
    """Whose past is asked for, and a folder that every process can see."""

    customer: str
    folder: str


def load(customer: str) -> dict[str, str]:
    """Load everything there is of a customer: more than a record could hold."""
    return {"customer": customer, "iban": "NO93 8601 1117 947", "scans": "x" * 3_000_000}


@durable_execution
async def archive(request: Request, ctx: DurableContext) -> int:
    """The step gives what the file holds, in a replay too."""
    in_files = StepConfig(serdes=FileSystemSerdes[dict[str, str]](request.folder, preview=VISIBLE))
    past = await ctx.step("load", load, request.customer, config=in_files)
    return len(past["scans"])
