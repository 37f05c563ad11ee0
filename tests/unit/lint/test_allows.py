"""What is allowed, and what is wrong with that."""

import pytest

from durably.lint.linter import lint_text
from tests.unit.lint.marked import OURS

PROGRAM = """import time
@durable_execution
async def handler(event, ctx):
    {above}
    time.time(){beside}"""


def lint(*, above: str = "pass", beside: str = "") -> list[tuple[int, str, str]]:
    text = OURS + PROGRAM.format(above=above, beside=beside)
    return [(one.line, one.rule, one.message) for one in lint_text(text, "program.py")]


def test_a_comment_with_a_reason_allows_one_rule_in_its_line() -> None:
    assert lint(beside="  # durably: allow[clock] it is only logged") == []
    assert lint(beside="  #durably:allow[ clock ]  logged") == []


def test_alone_on_a_line_it_speaks_of_the_next_line_of_code() -> None:
    assert lint(above="# durably: allow[clock] it is only logged\n\n    # and more") == []


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("# durably: allow[clock]", "this allows `clock` without a reason."),
        ("# durably: allow[time] logged", "there is no rule `time`."),
        ("# durably: allow[allow] logged", "there is no rule `allow`."),
        ("# durably: allow", "this names no rule."),
        ("# durably: allow[] logged", "this names no rule."),
        ("# durably: allow clock", "this names no rule."),
        ("# durably: allow[uuid] logged", "nothing in line 6 breaks the rule `uuid`."),
    ],
)
def test_a_comment_that_does_not_hold_is_reported_and_allows_nothing(
    comment: str, said: str
) -> None:
    found = lint(beside=f"  {comment}")

    assert [(line, rule) for line, rule, _ in found] == [(6, "clock"), (6, "allow")]
    assert found[1][2] == said


def test_a_comment_that_allows_nothing_is_reported_where_it_stands() -> None:
    assert lint(above="x = 1  # durably: allow[clock] nothing to see") == [
        (5, "allow", "nothing in line 5 breaks the rule `clock`."),
        (6, "clock", "`time.time()` gives another time in every replay."),
    ]


def test_two_comments_allow_two_rules() -> None:
    assert (
        lint(above="# durably: allow[clock] once", beside=", open('x')  # durably: allow[file] x")
        == []
    )


def test_what_only_reads_like_a_comment_is_none() -> None:
    found = lint(above='"# durably: allow[clock] in a text"', beside="  # durably: allows[clock] x")

    assert [rule for _, rule, _ in found] == ["clock"]


@pytest.mark.parametrize("end", ["y = \\\r\n1", '\r\r"""a\r"""', "\x0c"])
def test_it_counts_whatever_the_text_ends_with(end: str) -> None:
    assert lint(beside=f"  # durably: allow[clock] it is only logged\n{end}") == []


def test_a_comment_that_speaks_of_nothing_is_reported() -> None:
    [found] = lint_text("# durably: allow[clock] at the end of everything\n", "program.py")

    assert (found.line, found.rule) == (1, "allow")
