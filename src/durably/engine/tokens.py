"""Checkpoint tokens and callback ids: opaque, and not to be forged without a key of the store.

A store has its keys newest first. The newest makes tokens and ids; those that any of them has made
are good.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from durably.engine.rules import INVALID_TOKEN
from durably.errors import InvalidParameterValueException

_TOKEN = struct.Struct(">BQQ")
_TOKEN_VERSION = 1
_MAC_BYTES = 19  # with the 17 before it 36, which base64 writes without padding
_TOKEN_LETTERS = 48
NONCE_BYTES = 16
"""How much chance a callback id is made of."""

_CALLBACK_MAC_BYTES = 16
_MAX_TOKEN = 2048


@dataclass(frozen=True, slots=True)
class TokenParts:
    """What a checkpoint token says: which claim's invocation it belongs to, and its number."""

    epoch: int
    sequence: int


def seal_token(keys: Sequence[bytes], arn: str, parts: TokenParts) -> str:
    """Write a checkpoint token that only the first of *keys* could make, good for *arn* alone."""
    body = _TOKEN.pack(_TOKEN_VERSION, parts.epoch, parts.sequence)
    return b64encode(body + _token_mac(keys[0], arn, body)).decode()


def unseal_token(keys: Sequence[bytes], arn: str, token: str) -> TokenParts:
    """Read a checkpoint token of *arn*.

    Raises:
        InvalidParameterValueException: none of *keys* has made it for *arn*. The text is the one
            that a stale token gets, so that nothing is learned from it.
    """
    try:
        raw = b64decode(token[:_MAX_TOKEN], validate=True)
    except (NotBase64, ValueError) as error:
        raise InvalidParameterValueException(INVALID_TOKEN) from error
    body, mac = raw[: _TOKEN.size], raw[_TOKEN.size :]
    is_ours = _is_among(mac, (_token_mac(key, arn, body) for key in keys))
    if not is_ours or len(token) != _TOKEN_LETTERS:  # a decoder takes other ways to write it
        raise InvalidParameterValueException(INVALID_TOKEN)
    _, epoch, sequence = _TOKEN.unpack(body)
    return TokenParts(epoch, sequence)


def mint_callback_id(keys: Sequence[bytes], nonce: bytes) -> str:
    """Write a callback id out of a *nonce* of 16 random bytes.

    It is hexadecimal: within the alphabet the service allows, and safe in an address as it is.
    """
    assert len(nonce) == NONCE_BYTES, "128 bits of it are what makes an id unguessable"
    return (nonce + _callback_mac(keys[0], nonce)).hex()


def is_callback_id(keys: Sequence[bytes], callback_id: str) -> bool:
    """Whether one of *keys* has made *callback_id*; whether there is such a one is not asked."""
    try:
        raw = bytes.fromhex(callback_id)
    except ValueError:
        return False
    nonce, mac = raw[:NONCE_BYTES], raw[NONCE_BYTES:]
    is_ours = _is_among(mac, (_callback_mac(key, nonce) for key in keys))
    return is_ours and raw.hex() == callback_id


def _is_among(mac: bytes, made: Iterable[bytes]) -> bool:
    """Compare with each of them in constant time, and with all, however soon one fits."""
    return sum(hmac.compare_digest(mac, one) for one in made) > 0


def _token_mac(key: bytes, arn: str, body: bytes) -> bytes:
    said = b"checkpoint\0" + arn.encode(errors="replace") + b"\0" + body
    return hmac.digest(key, said, hashlib.sha256)[:_MAC_BYTES]


def _callback_mac(key: bytes, nonce: bytes) -> bytes:
    return hmac.digest(key, b"callback\0" + nonce, hashlib.sha256)[:_CALLBACK_MAC_BYTES]
