"""The page that tells which defects were planted, and what noticed them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.defects import Defect

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
none of them: they are run from seed 0 on until one violates an invariant. Where no simulation can
meet a defect, the table says why. A defect that survives is a missing test.

The numbers are those of the latest run. *Met in* names public reports, by project and number.

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


def write_page(rows: Sequence[Row]) -> str:
    """Write the page."""
    lines = [f"{beginning_of(row.defect)}{_end_of(row)}\n" for row in rows]
    met = [row.seeds for row in rows if row.violated]
    text = f"\n{len(rows)} defects; simulated worlds noticed {len(met)} of them"
    text += f", within {max(met)} worlds." if met else "."
    return _HEAD + "".join(lines) + text + "\n"


def beginning_of(defect: Defect) -> str:
    """Write what the table says of a defect before it says what noticed it."""
    rule = re.sub(r"\bP(\d+)", r"[P\1](promises.md#p\1)", defect.rule)
    return f"| {defect.name} | {rule} | {defect.origin} | "


def _end_of(row: Row) -> str:
    test = re.sub(r"\[.*", "", row.by.rpartition("::")[2]) if "::" in row.by else ""
    by = f"`{test}`" if test else row.by
    if row.defect.unmet:
        return f"{by} | none: {row.defect.unmet} |"
    return f"{by} | {row.seeds}: {row.violated} |" if row.violated else f"{by} | {_SURVIVED} |"


_SURVIVED = "**not noticed**"
