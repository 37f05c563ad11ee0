"""What the library has warned of each execution: operations that nobody awaits, say."""

from __future__ import annotations

import logging
from collections import defaultdict

from durably.drivers.logs import package_log


class Warned(logging.Handler):
    """Keeps it while it listens, for the messages that a test fails with."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: defaultdict[str, dict[str, None]] = defaultdict(dict)

    def listen(self) -> None:
        """Begin to listen."""
        package_log.addHandler(self)

    def close(self) -> None:
        """Listen no more. What was kept is still there."""
        package_log.removeHandler(self)
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        if hasattr(record, "operations"):
            self._texts[getattr(record, "executionArn", "")][record.getMessage()] = None

    def of(self, arn: str) -> list[str]:
        """Give what was said of an execution's operations, once each."""
        return list(self._texts.get(arn, ()))
