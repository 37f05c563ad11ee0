"""`durably lint`: what would break the replays of durable functions."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click

from durably.cli.errors import FAILED, Trouble
from durably.cli.printing import colored, counted, is_terminal, print_json_lines, safe, short
from durably.lint.findings import Finding
from durably.lint.linter import files_below, lint_file

_SOURCE_WIDTH = 100


@click.command(short_help="Find what would break replays, without running it.")
@click.argument(
    "paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--format",
    "form",
    default="text",
    show_default=True,
    type=click.Choice(["text", "json"]),
    help="How to print what is found.",
)
def lint(*, paths: tuple[Path, ...], form: str) -> int:
    """Find what would break the replays of the durable functions in files and folders.

    The files are read, not run. The exit code is 1 if anything is found.
    """
    count, findings = _look(paths)
    if form == "json":
        print_json_lines(asdict(finding) for finding in findings)
    else:
        write = _for_people if is_terminal(sys.stdout) else _on_one_line
        for finding in findings:
            click.echo(write(finding))
        click.echo(f"{counted(len(findings), 'finding')} in {counted(count, 'file')}", err=True)
    return FAILED if findings else 0


def _look(paths: Iterable[Path]) -> tuple[int, list[Finding]]:
    """Give how many files there are in *paths*, and what is found in them."""
    findings: list[Finding] = []
    try:
        files = dict.fromkeys(file for path in paths for file in files_below(path))
        for file in files:
            findings += lint_file(file)
    except OSError as error:
        raise Trouble(f"{error.filename!r} cannot be read: {error.strerror}.") from error
    return len(files), findings


def _on_one_line(finding: Finding) -> str:
    place = f"{finding.path}:{finding.line}:{finding.column}"
    return safe(f"{place}: {finding.rule}: {finding.message} {finding.instead}")


def _for_people(finding: Finding) -> str:
    """Show a finding with the line that it is about, and what of that is meant."""
    lines = [f"{safe(finding.path)}:{finding.line}:{finding.column} {colored(finding.rule, 'red')}"]
    source = finding.source.lstrip()
    if source:
        before = finding.column - 1 - (len(finding.source) - len(source))
        mark = f"{' ' * before}{'^' * finding.width}"[:_SOURCE_WIDTH]
        lines += [f"    {short(source, _SOURCE_WIDTH)}", f"    {colored(mark, 'red')}"]
    lines += [f"  {safe(finding.message)}", f"  {colored(safe(finding.instead), 'green')}", ""]
    return "\n".join(lines)
