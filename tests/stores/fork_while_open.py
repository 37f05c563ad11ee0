"""A program for tests: forks while its store is open, and tells what the child may do with it.

`fork_while_open.py PATH` prints the child's id and what it met; then both wait to be killed.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from durably.errors import InvalidStateError
from durably.stores.sqlite import SqliteStore
from durably.testing.store_values import change, creation, facts_of


async def main() -> None:
    store = SqliteStore(Path(sys.argv[1]))
    await store.open()
    await store.append([creation("a")])
    child = os.fork()
    if not child:
        await in_child(store)
    await store.append([change("a", 1, b"parent")])
    sys.stdout.write(f"{child}\n")
    sys.stdout.flush()
    signal.pause()


async def in_child(store: SqliteStore) -> None:
    for use in (store.append([change("a", 1, b"child")]), facts_of(store, "f/a"), store.close()):
        try:
            await use
        except InvalidStateError as error:
            sys.stdout.write(f"refused: {error}\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    asyncio.run(main())
