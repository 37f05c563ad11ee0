"""Tokens, callback ids and arns."""

from __future__ import annotations

import ast
import base64
import hashlib
import inspect

import pytest

from durably.engine import tokens
from durably.engine.arns import (
    ExecutionArn,
    Home,
    child_arn,
    execution_name_of,
    parse_execution_arn,
    root_operation_id,
    split_function_name,
)
from durably.engine.tokens import (
    TokenParts,
    is_callback_id,
    mint_callback_id,
    seal_token,
    unseal_token,
)
from durably.errors import InvalidParameterValueException
from tests.unit.engine.support import ARN

KEYS = (bytes(range(32)),)
OTHERS = (bytes(32),)
PARTS = TokenParts(epoch=7, sequence=3)


def test_a_token_says_which_invocation_and_which_checkpoint_it_is_for() -> None:
    token = seal_token(KEYS, ARN, PARTS)

    assert unseal_token(KEYS, ARN, token) == PARTS
    base64.b64decode(token, validate=True)


def changed(text: str, place: int) -> str:
    other = "A" if text[place] != "A" else "B"
    return text[:place] + other + text[place + 1 :]


@pytest.mark.parametrize("place", range(len(seal_token(KEYS, ARN, PARTS))))
def test_a_token_changed_anywhere_is_refused(place: int) -> None:
    with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
        unseal_token(KEYS, ARN, changed(seal_token(KEYS, ARN, PARTS), place))


@pytest.mark.parametrize("added", ["=", "==", "A" * 4000, "=" * 4000])
def test_a_token_written_in_another_way_is_refused(added: str) -> None:
    with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
        unseal_token(KEYS, ARN, seal_token(KEYS, ARN, PARTS) + added)


@pytest.mark.parametrize("token", ["", "x", "é", "A" * 5000, "====", "AAAA"])
def test_what_is_no_token_is_refused_in_the_same_words(token: str) -> None:
    with pytest.raises(InvalidParameterValueException, match="Invalid checkpoint token"):
        unseal_token(KEYS, ARN, token)


def test_a_token_is_good_for_one_execution_and_one_key() -> None:
    token = seal_token(KEYS, ARN, PARTS)

    for keys, arn in ((KEYS, ARN + "x"), (OTHERS, ARN), (KEYS, "\ud800")):
        with pytest.raises(InvalidParameterValueException):
            unseal_token(keys, arn, token)


def test_a_callback_id_is_recognised_and_a_forged_one_is_not() -> None:
    nonce = hashlib.sha256(b"chance").digest()[:16]
    callback_id = mint_callback_id(KEYS, nonce)

    assert is_callback_id(KEYS, callback_id)
    assert not is_callback_id(OTHERS, callback_id)
    assert not any(
        is_callback_id(KEYS, forged)
        for forged in (changed(callback_id, 0), changed(callback_id, -1), "", "zz", nonce.hex())
    )
    assert not is_callback_id(KEYS, callback_id.upper())


def test_the_newest_key_makes_and_all_keys_are_good_for_what_they_have_made() -> None:
    nonce = hashlib.sha256(b"chance").digest()[:16]
    old_token, old_id = seal_token(KEYS, ARN, PARTS), mint_callback_id(KEYS, nonce)
    both = (*OTHERS, *KEYS)

    assert unseal_token(both, ARN, old_token) == PARTS
    assert is_callback_id(both, old_id)
    assert unseal_token(OTHERS, ARN, seal_token(both, ARN, PARTS)) == PARTS
    assert is_callback_id(OTHERS, mint_callback_id(both, nonce))
    assert not is_callback_id(KEYS, mint_callback_id(both, nonce))


def test_ten_thousand_guessed_callback_ids_are_refused() -> None:
    guesses = (hashlib.sha256(b"%d" % n).hexdigest() for n in range(10_000))

    assert not any(is_callback_id(KEYS, guess) for guess in guesses)


def callers(tree: ast.AST) -> dict[ast.AST, str]:
    """Give, for each expression, what it is an argument of: the innermost call around it."""
    found: dict[ast.AST, str] = {}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        for argument in call.args:
            found |= dict.fromkeys(ast.walk(argument), ast.unparse(call.func))
    return found


def test_what_was_sent_is_compared_by_compare_digest_and_in_no_other_way() -> None:
    """How long it takes says nothing then; S04, with `make fuzz`, which takes the time."""
    functions = {
        one.name: one
        for one in ast.parse(inspect.getsource(tokens)).body
        if isinstance(one, ast.FunctionDef)
    }
    for name in ("unseal_token", "is_callback_id"):
        tree = functions[name]
        callers_of = callers(tree)
        used = [one for one in ast.walk(tree) if isinstance(one, ast.Name) and one.id == "mac"]
        made = [one for one in ast.walk(tree) if ast.unparse(one).endswith("_mac")]
        read = [one for one in used if isinstance(one.ctx, ast.Load)]
        assert read, f"{name} looks at what was sent"
        assert {callers_of.get(one) for one in read} == {"_is_among"}
        assert made, f"{name} makes what it should be"
        assert {callers_of.get(one) for one in made} == {"_is_among"}
    [compared] = functions["_is_among"].body[1:]
    assert ast.unparse(compared) == (
        "return sum((hmac.compare_digest(mac, one) for one in made)) > 0"
    )


# Arns


def test_an_execution_arn_is_read_as_it_was_written() -> None:
    arn = ExecutionArn(Home("eu-west-1", "123456789012"), "f", "$LATEST", "order-7", "inv")

    assert parse_execution_arn(str(arn)) == arn
    assert arn.function_arn == "arn:aws:lambda:eu-west-1:123456789012:function:f:$LATEST"
    assert root_operation_id(str(arn)) == "inv"
    assert execution_name_of(str(arn)) == "order-7"


@pytest.mark.parametrize(
    "text", ["", "arn:aws:lambda", ARN + "/x", ARN.replace("f:", "f:new "), "a" * 2000]
)
def test_what_is_no_execution_arn_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterValueException, match="DurableExecutionArn"):
        parse_execution_arn(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("f", ("f", None)),
        ("f:live", ("f", "live")),
        ("f:$LATEST", ("f", "$LATEST")),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f", ("f", None)),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f:3", ("f", "3")),
        ("123456789012:function:f", ("f", None)),
    ],
)
def test_a_function_may_be_named_in_every_form_of_the_service(
    text: str, parts: tuple[str, str | None]
) -> None:
    assert split_function_name(text) == parts


@pytest.mark.parametrize("text", ["", "f g", "f:", "arn:aws:lambda:f"])
def test_what_names_no_function_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterValueException, match="FunctionName"):
        split_function_name(text)


def test_a_childs_arn_is_a_legal_one_in_the_same_home() -> None:
    child = parse_execution_arn(child_arn(ARN, "nonce", "g", "3"))

    assert child.home == parse_execution_arn(ARN).home
    assert (child.function_name, child.version) == ("g", "3")
