"""Log records on standard error, where they do not get in the way of a live picture."""

from __future__ import annotations

import logging

from durably.cli.printing import console, safe, safe_lines, write_at_once
from durably.wire.arns import title_of

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_KNOWN = _STANDARD | {"executionArn", "operationId", "operationName", "parentId", "color_message"}
_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


class ConsoleLogs(logging.Handler):
    """Prints each record as one line: level, whose logger, execution, sentence, fields.

    Whoever logs waits for nobody who reads: what cannot be written at once is lost.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print *record*."""
        try:
            line = line_of(record)
        except Exception:  # noqa: BLE001 - a record of the user's may not fit its arguments
            self.handleError(record)
            return
        style = _STYLES.get(record.levelname)
        out = console(to_stderr=True)
        with out.capture() as captured:
            out.print(line, style=style, soft_wrap=not out.is_terminal)  # a terminal breaks words
        write_at_once(captured.get(), out.file)


def line_of(record: logging.LogRecord) -> str:
    """Write *record* as a line, followed by its traceback if it has one.

    A sentence of the library says all that its fields do. One of the user's code has the execution
    and the operation before it, unless it names them.
    """
    is_ours = str(record.name).partition(".")[0] == "durably"
    said = record.getMessage()
    members = vars(record)
    places = (title_of(str(members.get("executionArn") or "")), members.get("operationName"))
    of = ", ".join(str(place) for place in places if place and str(place) not in said)
    head = record.levelname if is_ours else f"{record.levelname} {safe(record.name)}"
    fields = [
        f"{safe(name)}={safe(value)}"
        for name, value in members.items()
        if not is_ours and name not in _KNOWN and value is not None
    ]
    text = " ".join([head, *([f"{safe(of)}:"] if of else []), safe(said), *fields])
    if record.exc_info:
        text += "\n" + safe_lines(logging.Formatter().formatException(record.exc_info))
    return text


def show_audit() -> None:
    """Show who has done what, whatever else is shown."""
    logging.getLogger("durably.audit").setLevel(logging.INFO)


def show_attempts() -> None:
    """Show which attempts of steps have failed, and are made again, unless only errors are."""
    if logging.getLogger().level <= logging.WARNING:
        logging.getLogger("durably.engine").setLevel(logging.INFO)


def log_to_console(level: str) -> None:
    """Show records from *level* on, of the library and of the user's code."""
    root = logging.getLogger()
    root.handlers = [ConsoleLogs()]
    root.setLevel(level.upper())
