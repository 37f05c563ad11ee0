"""The two contexts, and the two engines, offer the same: names, parameters, promises."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from durably import DurableContext, Engine, Execution, SyncDurableContext, SyncEngine, SyncExecution

COMBINATORS = ("all", "all_settled", "any", "race")
# What they combine differs by nature: each context says it in its own words.
BRANCHES = {"functions that get a context": "of operations of this context", "branches": "futures"}


def public(owner: type) -> dict[str, Any]:
    """Give the public members of *owner*, in their order."""
    return {name: member for name, member in vars(owner).items() if not name.startswith("_")}


def parameters(function: Any) -> list[tuple[str, inspect._ParameterKind, object]]:
    """Give what *function* takes: names, kinds and defaults. Types may differ."""
    signature = inspect.signature(function)
    return [(one.name, one.kind, one.default) for one in signature.parameters.values()]


def both(name: str) -> tuple[Any, Any]:
    """Give the member *name* of both contexts; of a property, its getter."""
    members = [vars(owner)[name] for owner in (DurableContext, SyncDurableContext)]
    found = [member.fget if isinstance(member, property) else member for member in members]
    return found[0], found[1]


def test_both_contexts_have_the_same_names_in_the_same_order() -> None:
    assert list(public(DurableContext)) == list(public(SyncDurableContext))


@pytest.mark.parametrize("name", sorted(public(DurableContext)))
def test_an_operation_takes_the_same_in_both_contexts(name: str) -> None:
    one, other = both(name)

    if name in COMBINATORS:  # futures there, branches here
        assert parameters(one)[:2] == parameters(other)[:2]
        assert len(parameters(one)) == len(parameters(other))
    else:
        assert parameters(one) == parameters(other)


@pytest.mark.parametrize("name", sorted(public(DurableContext)))
def test_an_operation_promises_the_same_in_both_contexts(name: str) -> None:
    one, other = both(name)

    assert promises(one) == promises(other)


def promises(function: Any) -> str:
    """Give the docstring of *function*, with branches called futures."""
    text = inspect.getdoc(function) or ""
    if function.__name__ in COMBINATORS:
        for words, others in BRANCHES.items():
            text = text.replace(words, others)
    return text


IN_ITS_LOOP = {"functions", "service"}
"""What other things are built over an engine with, in its own event loop."""


@pytest.mark.parametrize(("one", "other"), [(Engine, SyncEngine), (Execution, SyncExecution)])
def test_both_engines_offer_the_same(one: type, other: type) -> None:
    mine, theirs = public(one), public(other)

    assert sorted((set(mine) | slots(one)) - IN_ITS_LOOP) == sorted(set(theirs) | slots(other))
    for name in set(mine) & set(theirs):
        if inspect.isfunction(mine[name]):
            assert parameters(mine[name]) == parameters(theirs[name]), name


def slots(owner: type) -> set[str]:
    """Give the public attributes that instances of *owner* have."""
    return {name for name in getattr(owner, "__slots__", ()) if not name.startswith("_")}
