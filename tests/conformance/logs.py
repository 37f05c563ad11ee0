"""What functions log, as the lines of JSON that Amazon CloudWatch would keep of them."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from typing import Any

_USUAL = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_ARN_FIELDS = ("durableExecutionArn", "executionArn")


class JsonFormatter(logging.Formatter):
    """A record as one object: level, logger, message, and every field that was added to it."""

    def format(self, record: logging.LogRecord) -> str:
        added = {name: value for name, value in vars(record).items() if name not in _USUAL}
        said = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        # A plugin's fields come in one, because a record has a `name` of its own.
        return json.dumps({**said, **added, **added.pop("fields", {})}, default=str)


class ExecutionLogs(logging.Handler):
    """Keeps the lines of each execution, in the order in which they were written.

    As on AWS, a line belongs to an execution by a field of its own with the ARN in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self._lines: dict[str, list[str]] = defaultdict(list)

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        fields = json.loads(line)
        for arn in {fields[name] for name in _ARN_FIELDS if name in fields}:
            self._lines[arn].append(line)

    def of(self, arn: str) -> list[dict[str, Any]]:
        """Give the lines of one execution as CloudWatch would: their place is their time."""
        lines = list(self._lines[arn])
        return [{"timestamp": place, "message": line} for place, line in enumerate(lines)]


def capture(logger: str) -> ExecutionLogs:
    """Keep what *logger* and those below it say."""
    logs = ExecutionLogs()
    log = logging.getLogger(logger)
    log.addHandler(logs)
    log.setLevel(logging.INFO)
    log.propagate = False
    return logs
