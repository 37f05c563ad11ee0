"""What is in programs: their nodes, and how long these take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from tests.simulator.programs import (
    Again,
    Ask,
    Block,
    Callback,
    Child,
    Combine,
    Condition,
    Fan,
    Guard,
    Invoke,
    Node,
    Path,
    Program,
    Step,
    Together,
    Wait,
)


def nodes_of(block: Iterable[Node]) -> Iterable[Node]:
    """Walk every node of a block."""
    for node in block:
        yield node
        yield from nodes_of(inner_nodes(node))


def inner_nodes(node: Node) -> Sequence[Node]:
    """Give the nodes right inside of one."""
    inside: Sequence[Node] = ()
    match node:
        case Child(body=body) | Again(body=body) | Callback(between=body):
            inside = body
        case Fan(branches=branches):
            inside = [one for block in branches for one in block]
        case Combine(parts=parts) | Together(parts=parts):
            inside = parts
        case Guard(body=body, rescue=rescue, lastly=lastly):
            inside = [*body, *rescue, *(() if lastly is None else (lastly,))]
    return inside


def node_at(block: Block, path: Path) -> Node | None:
    """Find the node at a path, `None` where there is none, as under a part of a combinator."""
    if not path or not 0 <= path[0] < len(block):
        return None
    node, rest = block[path[0]], path[1:]
    if not rest:
        return node
    if isinstance(node, Combine | Together):
        is_there = rest[0] < len(node.parts)
        return _within(node.parts[rest[0]], rest[1:]) if is_there else None
    return _within(node, rest)


def _within(node: Node, rest: Path) -> Node | None:
    if not rest:
        return node
    inner: Block = ()
    match node:
        case Child(body=body) | Callback(between=body):
            return node_at(body, rest)
        case Again(body=body):
            inner = body
        case Fan(branches=branches) if rest[0] in range(len(branches)):
            inner = branches[rest[0]]
        case Guard() if rest[0] == 2:
            return node.lastly
        case Guard(body=body, rescue=rescue):
            inner = {0: body, 1: rescue}.get(rest[0], ())
    return node_at(inner, rest[1:])


def mapped(block: Block, change: Callable[[Node], Node]) -> Block:
    """Give a block with every node of it changed, those inside of nodes first."""
    return tuple(change(_with_inner(node, change)) for node in block)


def _with_inner(node: Any, change: Callable[[Node], Node]) -> Any:
    """Change the nodes in those members of a node that hold some."""
    members: dict[str, Any] = {}
    for name in ("body", "between", "rescue", "parts"):
        if (inner := getattr(node, name, None)) is not None:
            members[name] = mapped(inner, change)
    if isinstance(node, Fan):
        members["branches"] = tuple(mapped(block, change) for block in node.branches)
    if isinstance(node, Guard) and node.lastly is not None:
        members["lastly"] = change(node.lastly)
    return replace(node, **members) if members else node


def has_endless(programs: Sequence[Program]) -> bool:
    """Whether something in them may wait for ever: a callback without a deadline."""
    return any(
        isinstance(one, Ask | Callback) and not one.timeout and not one.heartbeat
        for program in programs
        for one in nodes_of(program.body)
    )


def durations(programs: Sequence[Program], block: Iterable[Node]) -> float:
    """Give an upper bound of the seconds that a block takes, one thing after the other."""
    return sum(_duration(programs, node) for node in block)


def _duration(programs: Sequence[Program], node: Node) -> float:
    inside = durations(programs, inner_nodes(node)) + 1
    match node:
        case Step():
            inside += node.attempts * (node.delay + node.pause + 1)
        case Wait():
            inside += node.seconds
        case Condition():
            inside += min(node.checks, node.limit) * (node.delay + 1)
        case Callback() | Ask():
            inside += max((one.after for one in node.answers), default=0)
            inside += node.heartbeat * (1 + len(node.answers)) + node.timeout
        case Invoke(program=int(number)):
            inside += durations(programs, programs[number].body)
        case Again():
            inside = node.attempts * (inside + node.delay + 1)
    if isinstance(node, Ask):
        inside += node.attempts * (node.delay + 1)
    return inside
