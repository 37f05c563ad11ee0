"""A program for tests: appends as fast as it can, and prints what was acknowledged.

`append_until_killed.py PATH` goes on until somebody kills it.
"""

import asyncio
import sys
from pathlib import Path

from durably.engine.store import WakeAt
from durably.stores.sqlite import SqliteStore
from durably.testing.store_values import T0, change, claim_at, creation


async def main() -> None:
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    names = [str(number) for number in range(20)]
    await store.append([creation(name, b"0", wake=WakeAt(T0)) for name in names])
    claims = await claim_at(store, limit=len(names))
    epochs = {claim.arn: claim.epoch for claim in claims}
    await asyncio.gather(*(run(store, name, epochs[f"f/{name}"]) for name in names))


async def run(store: SqliteStore, name: str, epoch: int) -> None:
    version = 1
    while True:
        store.append_soon(change(name, version, b"%d" % version, epoch=epoch))
        version += 1
        await store.append([change(name, version, b"%d" % version, epoch=epoch)])
        version += 1
        sys.stdout.write(f"{name} {version}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
