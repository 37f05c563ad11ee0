"""The rules: what each is called, what it says, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that breaks a replay. In its texts, names in braces are filled in.

    Attributes:
        id: what it is called; it never changes.
        wrong: what is wrong. `{it}` is the code in question.
        instead: what to write. `{ctx}` is the context there.
        elsewhere: what to write with another SDK, which has less.
    """

    id: str
    wrong: str
    instead: str
    elsewhere: str = ""


CLOCK = Rule(
    "clock",
    "`{it}` gives another time in every replay",
    "Write `{ctx}.now()`, or read the clock in a step.",
    "Read the clock in a step.",
)
RANDOM = Rule(
    "random",
    "`{it}` gives another value in every replay",
    "Write `{ctx}.random()`, or draw it in a step.",
    "Draw it in a step.",
)
UUID = Rule(
    "uuid",
    "`{it}` gives another id in every replay",
    "Write `{ctx}.uuid4()`, or make it in a step.",
    "Make it in a step.",
)
ENVIRONMENT = Rule(
    "environment",
    "`{it}` depends on the process that runs the replay",
    "Take it from the handler's input, or read it in a step.",
)
NETWORK = Rule(
    "network",
    "`{it}` talks to another system, and does so again in every replay",
    "Call it in a step, with `{ctx}.step`.",
)
FILE = Rule(
    "file",
    "`{it}` uses the file system, and does so again in every replay",
    "Call it in a step, with `{ctx}.step`.",
)
PROCESS = Rule(
    "process",
    "`{it}` deals with another program, and does so again in every replay",
    "Call it in a step, with `{ctx}.step`.",
)
SLEEP = Rule(
    "sleep",
    "`{it}` keeps the process, and sleeps anew in every replay",
    "Write `{ctx}.wait`, which needs no process while it sleeps.",
)
OPERATION_NAME = Rule(
    "operation-name",
    "the name of this operation contains `{it}`, and a replay would look for another name",
    "Name it by what stays the same: a constant, the input, an index.",
)
SET_ORDER = Rule(
    "set-order",
    "`{it}` is a set, which another process goes through in another order",
    "Write `sorted(…)`, or use a list.",
)
GLOBAL_STATE = Rule(
    "global-state",
    "`{it}` changes `{name}`, which is shared with other executions and lost with the process",
    "Keep it in a variable of the handler, made from results of operations.",
)
CLOSURE = Rule(
    "mutated-closure",
    "`{it}` changes `{name}` of `{owner}`, and a replay takes the recorded result without it",
    "Return the value, and let `{owner}` put it where it belongs.",
)
IN_STEP = Rule(
    "operation-in-step",
    "`{it}` uses a context inside of a step, which is one unit of work",
    "Return from the step first, or group operations with `{ctx}.run_in_child_context`.",
)
OUTER_CONTEXT = Rule(
    "outer-context",
    "`{it}` uses the context of `{owner}` inside of a body that has a context of its own",
    "Use the context that the innermost function was given.",
)
CONCURRENT = Rule(
    "concurrent-operations",
    "`{it}` calls operations from a task or thread of its own, so their order is left to chance",
    "Make it a branch of `{ctx}.parallel`, or a `{ctx}.run_in_child_context`.",
)
NOT_AWAITED = Rule(
    "not-awaited",
    "`{it}` is never awaited: nobody sees how it ends, and it is cancelled with the handler",
    "Write `await` before it, or await its future later.",
)
SWALLOWED = Rule(
    "swallowed-cancellation",
    "`{it}` catches what suspends the execution, and goes on",
    "Write `except Exception`, or end with `raise`.",
)
ALLOW = "allow"
"""What is wrong with a comment that allows something. It cannot be allowed."""

UNREADABLE = "unreadable"
"""What keeps a file from being read. Likewise."""

RULES: Mapping[str, Rule] = {
    rule.id: rule
    for rule in (
        *(CLOCK, RANDOM, UUID, ENVIRONMENT, NETWORK, FILE, PROCESS, SLEEP, OPERATION_NAME),
        *(SET_ORDER, GLOBAL_STATE, CLOSURE, IN_STEP, OUTER_CONTEXT, CONCURRENT, NOT_AWAITED),
        SWALLOWED,
    )
}
