"""The command `durably`, which ends quietly at Ctrl-C from its beginning.

That is why it stands beside the package: to import any part of that takes a while.
"""

import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line."""
    try:
        from durably.__main__ import main as run  # noqa: PLC0415 - a moment to interrupt
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    run()
