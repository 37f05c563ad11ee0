"""The page that tells which defects were planted, and what noticed them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.defects import DEFECTS, Defect

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "mutants.md"

_HEAD = """\
# Defects that the tests must notice

<!-- Made by `make mutants`. Change tests/mutants/, not this page. -->

Tests that pass prove little as long as nobody has seen them fail. So defects that other systems of
this kind were reported to have are planted into a copy of this one, one at a time:

```
make mutants
```

A test of the suite must notice each. So must the [simulated worlds](simulation.md), which know of
none of them: they are run from seed 0 on until one violates an invariant, on the store that each
seed draws or, where the table names a store, on that one. Where no simulation can meet a defect,
the table says why, and where so many worlds noticed nothing, how many. A defect that survives is a
missing test.

Each row is of the latest run that tried it: `python -m tests.mutants.main NAME` tries some. *Met
in* names public reports, by project and number.

| defect | breaks | met in | noticed by | simulated worlds needed |
|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A defect, the test that noticed it, and after how many worlds what was violated."""

    defect: Defect
    by: str
    seeds: int
    violated: str


def write_page(rows: Sequence[Row], before: str) -> str:
    """Write the page; what it said *before* stands for those that were not tried now."""
    tried = {row.defect.name: f"{beginning_of(row.defect)}{_end_of(row)}" for row in rows}
    lines = [tried.get(one.name) or _line_before(one, before) for one in DEFECTS]
    met = [int(found[1]) for line in lines if (found := _MET.search(line))]
    text = f"{len(lines)} defects; simulated worlds noticed {len(met)} of them"
    text += f", within {max(met)} worlds." if met else "."
    return _HEAD + "\n".join(lines) + f"\n\n{text}\n"


def _line_before(defect: Defect, before: str) -> str:
    for line in before.splitlines():
        is_of_worlds = defect.unmet in line and ("| none: " in line) is bool(defect.unmet)
        if line.startswith(beginning_of(defect)) and is_of_worlds:
            return line
    unmet = f"none: {defect.unmet}" if defect.unmet else _UNTRIED
    return f"{beginning_of(defect)}{_UNTRIED} | {unmet} |"


def beginning_of(defect: Defect) -> str:
    """Write what the table says of a defect before it says what noticed it."""
    rule = re.sub(r"\bP(\d+)", r"[P\1](promises.md#p\1)", defect.rule)
    return f"| {defect.name} | {rule} | {defect.origin} | "


def _end_of(row: Row) -> str:
    test = re.sub(r"\[.*", "", row.by.rpartition("::")[2]) if "::" in row.by else ""
    by = f"`{test}`" if test else row.by
    if row.defect.unmet:
        return f"{by} | none: {row.defect.unmet} |"
    worlds = f"{row.seeds} on {row.defect.store}" if row.defect.store else f"{row.seeds}"
    return f"{by} | {worlds}: {row.violated or '**not noticed**'} |"


_MET = re.compile(r" \| (\d+)(?: on \w+)?: [^|*]+\|$")
_UNTRIED = "not tried yet"
