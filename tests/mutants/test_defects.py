"""The list of planted defects keeps up with the code."""

from pathlib import Path

import pytest

from tests.mutants.defects import DEFECTS, Defect
from tests.mutants.page import PAGE, beginning_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_defect_can_be_planted(defect: Defect) -> None:
    text = (ROOT / "src" / "durably" / defect.path).read_text()

    assert text.count(defect.find) == 1, "its anchor must be in the file exactly once"
    assert [name for name in defect.tests if not (ROOT / name).exists()] == []


def test_the_page_tells_of_each_defect() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]

    assert len(rows) == len(DEFECTS)
    for defect, row in zip(DEFECTS, rows, strict=True):
        assert row.startswith(beginning_of(defect))
        assert ("| none: " in row) is bool(defect.unmet)
        assert defect.unmet in row


def test_defects_have_names_of_their_own() -> None:
    assert len({defect.name for defect in DEFECTS}) == len(DEFECTS)
