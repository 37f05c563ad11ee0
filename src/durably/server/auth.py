"""Credentials: signed requests as AWS clients send them, and bearer tokens."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.types import Scope

from durably.errors import ApiError
from durably.server.access import Access, AccessKey, BearerToken, Permission
from durably.server.errors import denied

ALGORITHM = "AWS4-HMAC-SHA256"
WINDOW = timedelta(minutes=5)
"""How far the date of a signed request may be from ours."""

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"

_SIGNED = re.compile(
    rf"{ALGORITHM} Credential=(?P<key>[A-Za-z0-9_]{{1,128}})"
    r"/(?P<day>[0-9]{8})/(?P<region>[a-z0-9-]{1,64})/lambda/aws4_request"
    r", ?SignedHeaders=(?P<headers>[a-z0-9;_-]{1,2048}), ?Signature=(?P<signature>[0-9a-f]{64})"
).fullmatch
_BEARER = re.compile(r"[Bb]earer (?P<token>[!-~]{1,4096})").fullmatch
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z").fullmatch

Credential: TypeAlias = AccessKey | BearerToken


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signature:
    key_id: str
    day: str
    region: str
    headers: tuple[str, ...]
    value: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who has shown who he is, but for the signature of what he says."""

    credential: Credential
    signature: _Signature | None = None

    def check_allowed(self, permission: Permission) -> None:
        """Refuse him what his credential does not allow.

        Raises:
            ApiError: so it is.
        """
        if permission not in self.credential.permissions:
            raise denied("AccessDeniedException", f"The credentials do not allow: {permission}.")


class Authenticator:
    """Finds out who asks.

    Args:
        access: which credentials there are.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._keys: Mapping[str, AccessKey] = {key.key_id: key for key in access.keys}

    def identify(self, headers: Headers, permission: Permission, now: datetime) -> Caller | None:
        """Read the credentials of a request, before its body. `None`: none are needed.

        Raises:
            ApiError: there are none, or they are not good, or not for this.
        """
        if not self._access.needs_credentials:
            return None
        said = headers.getlist("authorization")
        if len(said) != 1:
            text = "The request has no credentials." if not said else "It has too many."
            raise denied("MissingAuthenticationTokenException", text)
        if (bearer := _BEARER(said[0])) is not None:
            caller = Caller(self._bearer(bearer["token"]))
        else:
            caller = self._signer(said[0], headers, now)
        caller.check_allowed(permission)
        return caller

    def _bearer(self, token: str) -> BearerToken:
        given = hashlib.sha256(token.encode()).digest()
        found = None
        for known in self._access.tokens:  # all of them, however soon one fits
            if hmac.compare_digest(hashlib.sha256(known.secret.encode()).digest(), given):
                found = known
        if found is None:
            raise _unknown()
        return found

    def _signer(self, text: str, headers: Headers, now: datetime) -> Caller:
        match = _SIGNED(text)
        if match is None:
            raise denied("IncompleteSignatureException", "The Authorization cannot be read.")
        signature = _Signature(
            key_id=match["key"],
            day=match["day"],
            region=match["region"],
            headers=tuple(match["headers"].split(";")),
            value=match["signature"],
        )
        _check_date(headers, signature, now)
        _check_signed_headers(headers, signature)
        key = self._keys.get(signature.key_id)
        if key is None:  # ids of keys are no secrets: how long this takes tells nothing
            raise _unknown()
        return Caller(key, signature)

    def verify(self, caller: Caller | None, scope: Scope, headers: Headers, body: bytes) -> None:
        """Check the signature of a request, now that all of it is here.

        Raises:
            ApiError: it is not what its key makes of this request.
        """
        if caller is None or caller.signature is None or isinstance(caller.credential, BearerToken):
            return
        body_hash = self._body_hash(headers, body)
        made = _signature_of(caller.credential, caller.signature, scope, headers, body_hash)
        if not hmac.compare_digest(made, caller.signature.value):
            text = "The signature is not that of this request."
            raise denied("InvalidSignatureException", text)

    def _body_hash(self, headers: Headers, body: bytes) -> str:
        """Give what a signature must have for the body, whatever the request says that it has."""
        said = headers.getlist("x-amz-content-sha256")
        if said == [UNSIGNED_PAYLOAD] and self._access.allows_unsigned_payloads:
            return UNSIGNED_PAYLOAD
        return hashlib.sha256(body).hexdigest()


def _unknown() -> ApiError:
    return denied("UnrecognizedClientException", "The credentials are not known.")


def _check_date(headers: Headers, signature: _Signature, now: datetime) -> None:
    dates = headers.getlist("x-amz-date")
    text = dates[0] if len(dates) == 1 else ""
    try:
        at = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        at = None
    if at is None or _DATE(text) is None or text[:8] != signature.day:
        raise denied("IncompleteSignatureException", "X-Amz-Date is not the date of the signature.")
    if abs(at - now) > WINDOW:
        raise denied("InvalidSignatureException", "The signature is expired, or not yet good.")


def _check_signed_headers(headers: Headers, signature: _Signature) -> None:
    """Refuse a signature that leaves out what decides what a request means."""
    needed = {"host"} | {name for name in headers if name.startswith("x-amz-")}
    if not needed <= set(signature.headers):
        text = "Host and every X-Amz header must be signed."
        raise denied("IncompleteSignatureException", text)


def _signature_of(
    key: AccessKey, signature: _Signature, scope: Scope, headers: Headers, body_hash: str
) -> str:
    date = headers["x-amz-date"]
    place = f"{signature.day}/{signature.region}/lambda/aws4_request"
    request = hashlib.sha256(_canonical(signature, scope, headers, body_hash)).hexdigest()
    derived = f"AWS4{key.secret}".encode()
    for part in place.split("/"):
        derived = hmac.digest(derived, part.encode(), "sha256")
    said = f"{ALGORITHM}\n{date}\n{place}\n{request}"
    return hmac.digest(derived, said.encode(), "sha256").hex()


def _canonical(signature: _Signature, scope: Scope, headers: Headers, body_hash: str) -> bytes:
    """Write a request as its signature reads it."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    pairs = [part.partition(b"=") for part in scope["query_string"].split(b"&") if part]
    query = b"&".join(name + b"=" + value for name, _, value in sorted(pairs))
    lines = [
        scope["method"],
        quote(raw, safe="/~"),
        query.decode("latin-1"),
        *(f"{name}:{_value(headers, name)}" for name in signature.headers),
        "",
        ";".join(signature.headers),
        body_hash,
    ]
    return "\n".join(lines).encode("latin-1")


def _value(headers: Headers, name: str) -> str:
    return ",".join(" ".join(value.split()) for value in headers.getlist(name))
