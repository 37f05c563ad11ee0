"""What people read: harmless text, times, JSON."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

from durably.cli import printing
from durably.cli.printing import (
    clock_time,
    colored,
    harmless_json,
    length,
    print_grid,
    print_json_lines,
    safe,
    safe_lines,
    short,
    since,
    to_json,
    until,
    without_none,
)
from durably.wire.base import Timestamp

CALLBACK_ID = "0123456789abcdef" * 4
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


# Harmless text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, with ümlauts and 漢字 and 🎉", "plain, with ümlauts and 漢字 and 🎉"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\nc\td\x7f\x08", r"a\rb\nc\td\x7f\x08"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066x\u2069\u200b\ufeff", r"\u2066x\u2069\u200b\ufeff"),
        ("\ud800", r"\ud800"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        (7, "7"),
    ],
)
def test_what_a_terminal_obeys_is_made_visible(text: object, shown: str) -> None:
    assert safe(text) == shown


def test_lines_and_tabs_stay_where_lines_are_meant() -> None:
    assert safe_lines("a\n\tb\x1b\r") == "a\n\tb\\x1b\\r"


@given(st.text())
def test_no_text_whatever_moves_the_cursor(text: str) -> None:
    shown = safe(text)

    assert all(letter.isprintable() or letter == "\u3000" or ord(letter) > 0x9F for letter in shown)
    shown.encode()


def test_long_text_is_cut() -> None:
    assert short("0123456789", 10) == "0123456789"
    assert short("01234567890", 10) == "012345678…"


def test_colors_are_left_out_where_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colored("x", "red") != "x"

    monkeypatch.setenv("NO_COLOR", "1")
    assert colored("x", "red") == "x"


# Tables


@pytest.mark.parametrize("width", [20, 40, 90])
@pytest.mark.parametrize("style", ["", "dim"])
def test_no_word_of_a_table_is_cut_however_narrow_the_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, style: str
) -> None:
    terminal = Console(width=width, force_terminal=True, highlight=False, markup=False)
    monkeypatch.setattr(printing, "console", lambda: terminal)
    table = Table.grid(padding=(0, 2))
    table.add_row("manager approval", "callback", Text(f"id {CALLBACK_ID}", style))
    table.add_row("an order of goods", "step", Text("1", style))

    print_grid(table)

    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    words = {*" ".join(lines).split()}
    assert words == {
        *f"manager approval callback id {CALLBACK_ID} an order of goods step 1".split()
    }
    assert [line.rstrip() for line in lines] == lines


# Times


@pytest.mark.parametrize(
    ("duration", "said"),
    [
        (timedelta(microseconds=400), "0 ms"),
        (timedelta(milliseconds=99), "99 ms"),
        (timedelta(milliseconds=100), "0.1 s"),
        (timedelta(seconds=9.94), "9.9 s"),
        (timedelta(seconds=9.96), "10 s"),
        (timedelta(seconds=59.6), "1 min"),
        (timedelta(seconds=75), "1 min 15 s"),
        (timedelta(hours=1, seconds=59), "1 h"),
        (timedelta(hours=26, minutes=59), "1 d 2 h"),
        (timedelta(days=366), "366 d"),
        (timedelta(seconds=-5), "0 ms"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(duration: timedelta, said: str) -> None:
    assert length(duration) == said


def test_an_instant_of_today_is_a_time_and_any_other_has_its_day() -> None:
    tomorrow = NOW + timedelta(days=1)

    assert clock_time(NOW, NOW) == NOW.astimezone().strftime("%H:%M:%S")
    assert clock_time(tomorrow, NOW) == tomorrow.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def test_how_long_it_is_until_then_or_since_is_said() -> None:
    later = NOW + timedelta(seconds=5)

    assert until(later, NOW).endswith("(in 5.0 s)")
    assert until(NOW, NOW + timedelta(milliseconds=900)).endswith("(now)")
    assert until(NOW, NOW + timedelta(minutes=11)).endswith("(overdue by 11 min)")
    assert since(NOW, later).endswith("(5.0 s ago)")


# JSON


def test_instants_are_iso_8601_and_nothing_is_said_of_what_there_is_not() -> None:
    document = without_none({"at": Timestamp.of(NOW), "no": None, "off": False})

    assert to_json(document) == '{"at":"2026-11-22T12:00:00.000Z","off":false}'
    assert to_json(document, indent=True).count("\n") == 3


@pytest.mark.parametrize("value", ["\x9b31m", "\u202e\x7f", {"\u2066": ["\ufeff"]}, "ü漢🎉\n"])
def test_json_says_the_same_and_moves_no_cursor(value: Any) -> None:
    text = harmless_json(json.dumps(value, ensure_ascii=False))

    assert json.loads(text) == value
    assert safe_lines(text) == text


def test_an_array_has_one_line_for_each_value(capsys: pytest.CaptureFixture[str]) -> None:
    print_json_lines([{"a": 1}, {"a": 2}])
    print_json_lines([])

    assert capsys.readouterr().out == '[\n{"a":1},\n{"a":2}\n]\n[]\n'


def test_what_json_does_not_know_is_a_defect() -> None:
    with pytest.raises((TypeError, NotImplementedError)):
        to_json(object())
