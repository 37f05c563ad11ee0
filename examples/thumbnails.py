"""A kind of fan-out of your own, in plain functions: its branches run in threads.

$ durably run examples/thumbnails.py:gallery --input '["cat.png", "dog.png"]' --name gallery-1
$ durably show gallery-1
"""

from durably import ConcurrencyConfig, StepConfig, SyncDurableContext, durable_execution

# What history and plugins call these operations, instead of Map, MapIteration and Step.
THUMBNAILS = ConcurrencyConfig(
    top_level_sub_type="Gallery",
    iteration_sub_type="Picture",
    item_namer=lambda picture, _: picture,
    max_concurrency=4,
)
RESIZE = StepConfig[str](sub_type="Resize")


def resize(picture: str, width: int) -> str:
    """Do work that blocks, or keeps a processor busy."""
    return f"{picture} at {width}"


def thumbnail(ctx: SyncDurableContext, picture: str) -> list[str]:
    """Make both sizes of one picture."""
    return [ctx.step(f"to {width}", resize, picture, width, config=RESIZE) for width in (64, 640)]


@durable_execution
def gallery(pictures: list[str], ctx: SyncDurableContext) -> list[list[str]]:
    """Nothing here is `async`, and four pictures are made at a time."""
    batch = ctx.execute_concurrently("gallery", pictures, thumbnail, THUMBNAILS)
    batch.throw_if_error()
    return batch.results()
