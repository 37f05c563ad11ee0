"""What the linter has found, and the text that it was found in."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

_LINES = re.compile(r"\r\n|\r|\n")  # where Python's own parser ends a line
_MAX_EXCERPT = 60


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One place that breaks a rule.

    Attributes:
        path: the file, as it was named.
        line: from 1.
        column: from 1, in characters.
        rule: the id of the rule.
        message: what is wrong.
        instead: what to write instead.
        source: the line of the file.
        width: how many characters of it are meant.
    """

    path: str
    line: int
    column: int
    rule: str
    message: str
    instead: str
    source: str = ""
    width: int = 1


class Text:
    """The text of a file, by lines."""

    def __init__(self, text: str) -> None:
        self.lines = _LINES.split(text)

    def line(self, number: int) -> str:
        """Give a line, from 1; an empty one where there is none."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    def span(self, node: ast.expr | ast.stmt | ast.excepthandler) -> tuple[int, int]:
        """Give where *node* begins in its line and where it, or the line, ends, in characters."""
        line = self.line(node.lineno)
        start = _characters(line, node.col_offset)
        is_whole = node.end_lineno == node.lineno and node.end_col_offset is not None
        return start, _characters(line, node.end_col_offset or 0) if is_whole else len(line)

    def excerpt(self, node: ast.expr | ast.stmt | ast.excepthandler) -> str:
        """Give what is written there, on one line and not too long."""
        start, end = self.span(node)
        text = self.line(node.lineno)[start:end].strip()
        if len(text) <= _MAX_EXCERPT and node.end_lineno == node.lineno:
            return text
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Call):
            return f"{self.excerpt(node.func)}(…)"
        return f"{text[: _MAX_EXCERPT - 1].rstrip()}…"


def _characters(line: str, offset: int) -> int:
    """Give how many characters of *line* its first *offset* bytes are."""
    if line.isascii():
        return offset
    return len(line.encode(errors="surrogatepass")[:offset].decode(errors="ignore"))
