"""The linter: text in, findings out."""

from __future__ import annotations

import ast
import io
import os
import tokenize
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from durably.lint import rules
from durably.lint.allows import Allow, allows_in
from durably.lint.check_awaits import check_awaits, check_cancellation
from durably.lint.check_calls import check_calls, check_names
from durably.lint.check_contexts import check_concurrency, check_contexts
from durably.lint.check_order import check_order
from durably.lint.check_state import check_closures, check_shared_state
from durably.lint.findings import Finding, Text
from durably.lint.reading import Reading
from durably.lint.rules import RULES

_CHECKS: tuple[Callable[[Reading], Iterator[Finding]], ...] = (
    check_calls,
    check_names,
    check_order,
    check_contexts,
    check_concurrency,
    check_closures,
    check_shared_state,
    check_awaits,
    check_cancellation,
)
_SUFFIX = ".py"
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages"})
# Without it a file has neither a durable function nor an allowance.
_MARK = "durabl"


def files_below(path: Path) -> Iterator[Path]:
    """Give *path* if it is a file, else the Python files below it, in the order of their names.

    What is hidden, environments, and what tools have made are left out.

    Raises:
        OSError: a folder cannot be read.
    """
    if not path.is_dir():
        yield path
        return
    for folder, subfolders, names in os.walk(path, onerror=_refuse):
        here = Path(folder)
        subfolders[:] = sorted(name for name in subfolders if _is_looked_into(here / name))
        yield from (here / name for name in sorted(names) if _is_looked_at(name))


def _refuse(error: OSError) -> None:
    raise error


def _is_looked_at(name: str) -> bool:
    return name.endswith(_SUFFIX) and not name.startswith(".")


def _is_looked_into(folder: Path) -> bool:
    is_made = folder.name.startswith(".") or folder.name in _SKIPPED
    return not is_made and not (folder / "pyvenv.cfg").exists()


def lint_file(path: Path) -> list[Finding]:
    """Give what is wrong in a file, in the order of its lines.

    Raises:
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        text = content.decode(encoding)
    except (LookupError, SyntaxError, UnicodeDecodeError) as error:
        if _MARK.encode() not in content.lower():
            return []
        return [_unreadable(str(path), f"this is not the text of a program: {error}")]
    return lint_text(text, str(path))


def lint_text(text: str, path: str) -> list[Finding]:
    """Give what is wrong in a program, in the order of its lines."""
    if _MARK not in text.lower():
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what is wrong with the program otherwise
        return _lint(text, path)


def _lint(text: str, path: str) -> list[Finding]:
    lines = Text(text)
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        line, column = error.lineno or 1, error.offset or 1
        found = _unreadable(path, f"this is not Python: {error.msg}")
        return [replace(found, line=line, column=column, source=lines.line(line))]
    except (MemoryError, RecursionError, ValueError) as error:
        return [_unreadable(path, f"Python cannot read this: {error}")]
    reading = Reading(path, lines, tree)
    # What several checks or ways lead to is one finding.
    places = {
        (found.line, found.column, found.rule): found
        for check in _CHECKS
        for found in check(reading)
    }
    return sorted(_apply(list(allows_in(lines.lines)), places.values(), path, lines))


def _apply(
    allows: list[Allow], findings: Iterable[Finding], path: str, lines: Text
) -> Iterator[Finding]:
    """Leave out what is allowed, and add what is wrong with that."""
    good = {(allow.allows, allow.rule): allow for allow in allows if _complaint(allow) is None}
    used: set[Allow] = set()
    for found in findings:
        allow = good.get((found.line, found.rule))
        if allow is None:
            yield found
        else:
            used.add(allow)
    for allow in allows:
        unused = (f"nothing in line {allow.allows} breaks the rule `{allow.rule}`.", "Remove it.")
        complaint = _complaint(allow) or (None if allow in used else unused)
        if complaint is not None:
            place = (path, allow.line, allow.column + 1)
            source = lines.line(allow.line)
            yield Finding(*place, rules.ALLOW, *complaint, source, len(allow.text))


def _complaint(allow: Allow) -> tuple[str, str] | None:
    """Say what is wrong with an allowance by itself, and what to write."""
    if not allow.rule:
        return "this names no rule.", "Write `# durably: allow[rule] reason`."
    if allow.rule not in RULES:
        return f"there is no rule `{allow.rule}`.", f"There are {', '.join(RULES)}."
    if not allow.reason:
        return f"this allows `{allow.rule}` without a reason.", "Write the reason behind it."
    return None


def _unreadable(path: str, message: str) -> Finding:
    instead = "Mend it, or leave the file out."
    return Finding(path, 1, 1, rules.UNREADABLE, f"{message}.", instead)
