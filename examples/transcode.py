"""Give a long job to another machine, and to the next one when it gives no sign of life.

$ durably run examples/transcode.py:transcode --input '"holiday.mov"' --name holiday
$ durably callback heartbeat CALLBACK_ID
$ durably callback succeed CALLBACK_ID --payload holiday.mp4
"""

from datetime import timedelta

from durably import (
    CallbackTimeoutError,
    DurableContext,
    WaitForCallbackConfig,
    durable_execution,
)

ALIVE = WaitForCallbackConfig(timeout=timedelta(hours=6), heartbeat_timeout=timedelta(seconds=30))


def submit(callback_id: str, machine: str, video: str) -> None:
    """Tell the machine what to do and where to report; here by printing."""
    print(f"{machine}: transcode {video}, and report every 20 s to {callback_id}")


@durable_execution
async def transcode(video: str, ctx: DurableContext) -> str:
    """The job may take hours, as long as the machine says every half a minute that it is there."""
    for machine in ("blue", "green"):
        try:
            video_id: str = await ctx.wait_for_callback(
                machine, submit, machine, video, config=ALIVE
            )
        except CallbackTimeoutError:
            ctx.logger.warning("%s has fallen silent", machine)
        else:
            return video_id
    raise RuntimeError(f"no machine has transcoded {video}")
