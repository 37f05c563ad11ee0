"""Whatever the text, there is an answer; and the work grows with the text, not faster."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from durably.lint.linter import lint_text
from tests.unit.lint.marked import OURS, check, in_handler

# What Python's own parser takes, and recursion would not survive.
DEEP = {
    "attributes": f"x = event{'.a' * 2000}",
    "calls": f"x = event{'()' * 800}",
    "items in a name": f"await ctx.step(f'{{event{'[0]' * 800}}}', str)",
    "a sum": f"x = {' + '.join(['event'] * 800)}",
    "sets": f"x = list({' | '.join(['{event}'] * 800)})  #! set-order",
    "signs": f"x = {'-' * 800}1",
    "choices": f"x = {'1 if event else ' * 800}2",
    "lambdas": f"x = {'lambda: ' * 150}event",
    "paths": f"x = (Path('a'){' / event' * 800}).exists()",
}


@pytest.mark.parametrize("line", DEEP.values(), ids=DEEP)
def test_what_is_nested_deep_is_read(line: str) -> None:
    check(in_handler(line, "from pathlib import Path"))


def test_names_that_lead_in_circles_or_too_far_mean_nothing() -> None:
    chain = "\n".join(f"a{number + 1} = a{number}" for number in range(100))

    check(
        in_handler(
            """
            a = b
            b = a
            a(), b()
            a0 = time.time
            a1 = a0
            a1()  #! clock
            """,
            f"import time\na0 = time.time\n{chain}\n",
        )
        + "    a100()\n"
    )


def test_a_name_with_several_meanings_has_none() -> None:
    check(
        """
        import time

        @durable_execution
        async def handler(event, ctx):
            now = time.time
            now = event.now
            now()
            same = time.time
            same = time.time
            same()  #! clock
            if event:
                def late(): pass
            else:
                def late(): time.time()  #! clock
            late()
        """
    )


def test_odd_programs_are_read() -> None:
    check(
        """
        import time
        global nothing

        @durable_execution
        def handler(event, ctx, *rest, key=None, **more):
            nonlocal missing
            missing = 1
            (found := event).a, [first, (second, *others)] = 1, event
            match event:
                case {"a": taken, **left}: time.time()  #! clock
                case [one, *two] as three: pass
            try:
                del first
            except* ValueError as error:
                error()
            for event.a in event: pass
            with event as (one, two): pass
            for time.sleep in event: pass  #! global-state

        def f(a):
            global a
            a = 1

        class Loop(Loop, Other, metaclass=Other):
            def method(self): self.missing()

        class First(Second.a): pass
        class Second(First.b): pass

        class Inner(Loop):
            global x
            x: int

        @durable_execution
        def empty(): Inner().method(), Inner().gone(), First().a(), Second.b.c()

        @durable_execution
        def one(event): event.step("s", lambda: 1)
        """
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("@durable_execution\ndef f(:", "this is not Python: invalid syntax"),
        ("durable\0", "null bytes"),
        (f"durable = {'(' * 300}", "this is not Python: too many nested parentheses"),
        (f"durable = {'-' * 100_000}1", "Python cannot read this"),
    ],
)
def test_what_python_cannot_read_is_a_finding(text: str, said: str) -> None:
    [found] = lint_text(text, "program.py")

    assert (found.path, found.rule, found.line) == ("program.py", "unreadable", max(found.line, 1))
    assert said in found.message


def test_what_mentions_nothing_durable_is_not_even_parsed() -> None:
    assert lint_text("print 'an old program'", "program.py") == []


# The work grows with the text


def handler_of(lines: list[str]) -> str:
    return "\n".join([OURS, "@durable_execution\nasync def handler(event, ctx):", *lines, ""])


def functions(count: int) -> str:
    """Each calls the next with its context, in a task, and catches everything."""
    return OURS + "".join(
        f"async def f{number}(ctx):\n"
        "    try:\n"
        f"        await gather(f{number + 1}(ctx), ctx.step(f'{{time()}}', str))\n"
        "    except BaseException: pass\n"
        for number in range(count)
    )


SHAPES: dict[str, Callable[[int], str]] = {
    "functions that call each other": functions,
    "operations": lambda n: handler_of([f"    a{i} = ctx.step('s', str)" for i in range(n)]),
    "clocks": lambda n: f"from time import time\n{handler_of(['    time()'] * n)}",
    "names for names": lambda n: handler_of([f"    a{i + 1} = a{i}; a{i}()" for i in range(n)]),
    "a branch for each": lambda n: handler_of(
        [f"    await ctx.parallel('p', [{'lambda c: c.wait(1), ' * n}])"]
    ),
    "names in circles": lambda n: handler_of(
        [*[f"    a{i // 8} = b{i // 8}; b{i // 8} = a{i // 8}" for i in range(n)], "    a0()"]
    ),
    "names bound often": lambda n: handler_of(
        [*[f"    a{i // 8} = a{i // 8 + 1}" for i in range(n)], "    a0(), a1()"]
    ),
    "lists in lists": lambda n: handler_of(
        [
            *[f"    a{i} = [{f'a{i + 1}, ' * n}]" for i in range(4)],
            "    await ctx.parallel('p', a0)",
        ]
    ),
    "classes that derive twice": lambda n: handler_of(
        [f"    class A{i + 1}(A{i}, A{i}): pass\n    A{i}().a()" for i in range(n)]
    ),
    "classes within classes": lambda n: handler_of(
        [f"    class A{i}(A{i + 1}.a, A{i + 2}.a): pass" for i in range(n)] + ["    A0().a()"]
    ),
    "parameters": lambda n: handler_of(
        [
            f"    def f({', '.join(f'a{i}' for i in range(n))}): pass",
            f"    f({', '.join(['ctx'] * n)})",
        ]
    ),
    "comments": lambda n: handler_of(["    x = 1  # durably: allow[clock] x"] * n),
    "conditions": lambda n: handler_of(["    if x: pass", *["    elif x: x()"] * n]),
    "things to go through": lambda n: handler_of([f"    f({'[x for x in set(x)], ' * n})"]),
    "one line": lambda n: handler_of([f"    {'ctx.step(1, str); ' * n}"]),
    "steps that share a list": lambda n: handler_of(
        ["    done = []", *["    await ctx.step('s', lambda: done.append(1))"] * n]
    ),
}


def work(text: str) -> int:
    """Count the calls that it takes to lint *text*."""
    count = 0

    def note(_frame: object, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in {"c_call", "call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        lint_text(text, "program.py")
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_twice_the_text_is_twice_the_work(shape: Callable[[int], str]) -> None:
    small, large = shape(40), shape(160)

    assert work(large) < 4.4 * work(small)
