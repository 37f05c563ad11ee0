"""Who may ask, and for what."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address

from durably.errors import ValidationError

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
MIN_SECRET = 16

_is_host = re.compile(r"[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\]").fullmatch
_is_origin = re.compile(r"https?://[a-z0-9._\[\]:-]{1,260}").fullmatch
_is_key_id = re.compile(r"[A-Za-z0-9_]{1,128}").fullmatch
_is_token_name = re.compile(r"[A-Za-z0-9._-]{1,128}").fullmatch
_is_token = re.compile(r"[A-Za-z0-9._~+/-]{1,4096}=*").fullmatch


class Permission(StrEnum):
    """What a caller may be allowed to do."""

    START = "start"
    READ = "read"
    READ_PAYLOAD = "read-payload"
    CALLBACK = "callback"
    STOP = "stop"
    DELETE = "delete"
    CHECKPOINT = "checkpoint"
    METRICS = "metrics"


EVERYTHING = frozenset(Permission)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key that requests are signed with, as AWS clients do: signature version 4.

    Attributes:
        key_id: what clients call their access key id.
        secret: their secret access key: at least 16 characters, better 40 of chance.
        permissions: what whoever has it may do: `start` is Invoke; `read` describes, lists and
            tells histories, and with `read-payload` also what they carry; `callback` answers
            callbacks; `stop` stops, pauses and resumes; `delete` deletes; `checkpoint` is for
            functions that run elsewhere; `metrics` reads numbers, and nothing of one execution.
    """

    key_id: str
    secret: str = field(repr=False)
    permissions: frozenset[Permission] = EVERYTHING

    def __post_init__(self) -> None:
        if _is_key_id(self.key_id) is None:
            raise ValidationError("key_id", "must be 1 to 128 letters, digits and '_'")
        _check_secret(self.secret)

    @property
    def name(self) -> str:
        """What the audit log calls whoever has it."""
        return self.key_id


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A secret that requests carry in their header `Authorization: Bearer`.

    Attributes:
        secret: at least 16 characters out of `A-Za-z0-9._~+/-`, better 40 of chance.
        permissions: what whoever has it may do; see `AccessKey`.
        name: what the audit log calls whoever has it: letters, digits, `.`, `_` and `-`.
    """

    secret: str = field(repr=False)
    permissions: frozenset[Permission] = EVERYTHING
    name: str = "token"

    def __post_init__(self) -> None:
        _check_secret(self.secret)
        if _is_token(self.secret) is None:
            raise ValidationError("secret", "must be letters, digits, '-', '.', '_', '~', '+', '/'")
        if _is_token_name(self.name) is None:
            raise ValidationError("name", "must be 1 to 128 letters, digits, '.', '_' and '-'")


def _check_secret(secret: str) -> None:
    if len(secret) < MIN_SECRET:
        raise ValidationError("secret", f"must be at least {MIN_SECRET} characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """From where, through which names and with which credentials an API is used.

    Without keys and tokens only this machine may use it, and needs none.

    Attributes:
        hosts: the names that clients may call it by, without ports.
        origins: the origins whose pages may use it, such as `https://ops.example`. None by default.
        keys: the access keys that requests may be signed with.
        tokens: the tokens that requests may carry.
        allows_unsigned_payloads: also take signed requests whose signature leaves the body out.
        is_behind_proxy: clients come to it by TLS, which a proxy in front speaks: browsers are told
            never to come without.
    """

    hosts: tuple[str, ...] = LOOPBACK_HOSTS
    origins: tuple[str, ...] = ()
    keys: tuple[AccessKey, ...] = ()
    tokens: tuple[BearerToken, ...] = ()
    allows_unsigned_payloads: bool = False
    is_behind_proxy: bool = False

    def __post_init__(self) -> None:
        _check_all("hosts", self.hosts, _is_host)
        _check_all("origins", self.origins, _is_origin)
        ids = [key.key_id for key in self.keys]
        if len(set(ids)) < len(ids):
            raise ValidationError("keys", "two of them have the same id")
        if not self.needs_credentials and not set(self.hosts) <= set(LOOPBACK_HOSTS):
            text = "need keys or tokens, unless they are names of this machine's loopback"
            raise ValidationError("hosts", text)

    @property
    def needs_credentials(self) -> bool:
        """Whether a request must come with any."""
        return bool(self.keys or self.tokens)


def _check_all(
    field_name: str, texts: Iterable[str], is_legal: Callable[[str], object | None]
) -> None:
    for text in texts:
        if is_legal(text) is None:
            raise ValidationError(field_name, f"{text!r} is not one, in lower case")


def is_loopback(address: str) -> bool:
    """Whether a numeric *address* is of this machine alone."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
