"""The command line, as `python -m durably`."""

from __future__ import annotations

import sys
from typing import NoReturn

_NEEDED = frozenset({"click", "rich"})
_INTERRUPTED = 130


def main() -> NoReturn:
    """Run the command line, or say what it lacks."""
    try:
        from durably.cli.main import main as run  # noqa: PLC0415 - what it needs may be missing
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except ModuleNotFoundError as error:
        if error.name not in _NEEDED:
            raise
        sys.exit(
            "The command line needs more than the library: pip install 'durably[cli]', "
            "or '.[cli]' in a clone."
        )
    run()


if __name__ == "__main__":
    main()
