"""Comments that allow what a rule forbids: `# durably: allow[clock] it is only logged`."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_COMMENT = re.compile(r"#\s*durably:\s*allow\b\s*(?:\[(?P<rule>[^\]]*)\])?\s*(?P<reason>.*)")
_NOT_CODE = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
)


@dataclass(frozen=True, slots=True)
class Allow:
    """A comment that allows *rule* in line *allows*.

    Attributes:
        line: where it stands.
        column: likewise, from 0.
        allows: the line that it speaks of: its own, or the next one with code.
        rule: the id of the rule; empty if it names none.
        reason: why.
        text: the whole comment.
    """

    line: int
    column: int
    allows: int
    rule: str
    reason: str
    text: str


def allows_in(lines: Sequence[str]) -> Iterator[Allow]:
    """Give every such comment in a program."""
    text = "\n".join(lines)
    if "durably:" not in text:
        return
    waiting: list[tokenize.TokenInfo] = []
    line_of_code = 0
    for piece in _pieces(text):
        if piece.type == tokenize.COMMENT and _COMMENT.match(piece.string):
            if piece.start[0] == line_of_code:
                yield _allow(piece, line_of_code)
            else:
                waiting.append(piece)
        elif piece.type not in _NOT_CODE:
            yield from (_allow(one, piece.start[0]) for one in waiting)
            waiting.clear()
            line_of_code = piece.end[0]


def _pieces(text: str) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO(text).readline)
    except tokenize.TokenError:
        return  # about the end of a text it is stricter than the parser


def _allow(piece: tokenize.TokenInfo, allows: int) -> Allow:
    found = _COMMENT.match(piece.string)
    assert found is not None, "only such comments are waited for"
    rule, reason = (found["rule"] or "").strip(), found["reason"].strip()
    return Allow(*piece.start, allows, rule, reason, piece.string.strip())
