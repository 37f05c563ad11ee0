"""Programs as somebody has changed them while executions are under way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any, TypeAlias

from tests.simulator.programs import (
    Again,
    Block,
    Callback,
    Child,
    Deploy,
    Fan,
    Guard,
    Node,
    Program,
    Raise,
    Step,
    Values,
    Wait,
    named,
)

Spot: TypeAlias = tuple[tuple[int, Any], ...]
"""A way to a block: a place in the block above, and which block of the node there."""


def edit(program: Program, rng: Random) -> Deploy:
    """Draw a changed form of *program*: one or two nodes renamed, inserted, removed or swapped."""
    body, edits = program.body, []
    for _ in range(rng.randint(1, 2)):
        spot, block = rng.choice(list(_spots(body)))
        changed, text = _change(block, rng)
        body = _put(body, spot, changed)
        edits.append(f"{text} in {named(tuple(place for place, _ in spot)) or 'the handler'}")
    return Deploy(0, replace(program, body=body), tuple(edits))


def _change(block: Block, rng: Random) -> tuple[Block, str]:
    place = rng.randrange(len(block) + 1)
    before, after = block[:place], block[place + 1 :]
    kind = rng.randrange(4) if place < len(block) else 1
    if kind == 0:
        node = block[place]
        if not isinstance(node, Guard | Raise | Values):
            return (*before, replace(node, name="renamed"), *after), f"rename node {place}"
    if kind == 2:
        return before + after, f"remove node {place}"
    if kind == 3 and after:
        return (*before, after[0], block[place], *after[1:]), f"swap node {place} with the next"
    new: Node = Step(name="new") if rng.random() < 0.5 else Wait(name="new", seconds=1)
    return (*before, new, *block[place:]), f"insert a {type(new).__name__} before node {place}"


def _spots(block: Block, spot: Spot = ()) -> Iterable[tuple[Spot, Block]]:
    yield spot, block
    for place, node in enumerate(block):
        for key, inner in _blocks(node):
            yield from _spots(inner, (*spot, (place, key)))


def _put(block: Block, spot: Spot, changed: Block) -> Block:
    if not spot:
        return changed
    (place, key), rest = spot[0], spot[1:]
    node = block[place]
    inner = _put(dict(_blocks(node))[key], rest, changed)
    return (*block[:place], _with_block(node, key, inner), *block[place + 1 :])


def _blocks(node: Node) -> Iterable[tuple[Any, Block]]:
    match node:
        case Child(body=body) | Again(body=body):
            yield "body", body
        case Callback(between=between):
            yield "between", between
        case Guard(body=body, rescue=rescue):
            yield "body", body
            yield "rescue", rescue
        case Fan(branches=branches):
            yield from enumerate(branches)


def _with_block(node: Any, key: Any, block: Block) -> Any:
    if isinstance(node, Fan):
        return replace(node, branches=(*node.branches[:key], block, *node.branches[key + 1 :]))
    return replace(node, **{key: block})
