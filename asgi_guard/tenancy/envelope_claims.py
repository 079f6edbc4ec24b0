"""What an envelope says, and its one text form: ``e1.<key id>.<claims>.<signature>``.

Claims are JSON in base64url, the signature is HMAC-SHA-256 in hexadecimal digits over everything
before it. Each claim has one place and one spelling: what does not come out the same when it is
written again is refused, and with it duplicate members, blanks, NaN and forgotten members.
"""

from __future__ import annotations

import binascii
import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from asgi_guard._internal.constant_time import equal
from asgi_guard.tenancy.envelope_keys import EnvelopeKeys

__all__ = ["MAX_LENGTH", "Claims", "EnvelopeTextError", "read_text", "write_text"]

MAX_LENGTH: Final = 8192
"""Characters of the longest envelope."""

_FORM: Final = re.compile(r"(e1)\.([0-9a-f]{8})\.([A-Za-z0-9_-]{1,8000})\.([0-9a-f]{64})")
_DOMAIN: Final = b"asgi-guard context envelope\0"


class EnvelopeTextError(Exception):
    """A text is no envelope of these keys.

    Args:
        reason: For the event, e.g. ``"envelope_forged"``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What is signed.

    Args:
        id: 128 random bits, in 32 hexadecimal digits.
        job: Name of the job it is for, its audience.
        job_id: The one message it rides with; empty where the sender cannot know.
        arguments: SHA-256 of the job's arguments in hexadecimal digits; empty if not bound.
        issued_at: Unix seconds.
        expires_at: Unix seconds.
        tenant_id: Of the sender.
        user_id: Of the sender.
        roles: Of the sender, sorted.
        scopes: Of the sender, sorted.
        sender: The operation that sent it.
        request_id: The request it began with.
        trace_id: Trace that it belongs to.
    """

    id: str
    job: str
    job_id: str
    arguments: str
    issued_at: int
    expires_at: int
    tenant_id: str
    user_id: str
    roles: list[str]
    scopes: list[str]
    sender: str
    request_id: str | None
    trace_id: str | None


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    field.name: {
        "int": (int,),
        "list[str]": (list,),
        "str | None": (str, type(None)),
    }.get(str(field.type), (str,))
    for field in fields(Claims)
}


def write_text(claims: Claims, keys: EnvelopeKeys) -> str:
    """Return *claims* as text, signed by the first of *keys*."""
    payload = urlsafe_b64encode(_canonical(asdict(claims))).decode().rstrip("=")
    head = f"e1.{keys.signing.key_id}.{payload}"
    return f"{head}.{_signature(keys.signing.secret, head)}"


def read_text(text: object, keys: EnvelopeKeys) -> Claims:
    """Return the claims of *text*, which one of *keys* has signed.

    Raises:
        EnvelopeTextError: It is no envelope (``envelope_malformed``), of an unknown key, or the
            signature is not ours (``envelope_forged``).
    """
    if not isinstance(text, str) or len(text) > MAX_LENGTH:
        raise EnvelopeTextError("envelope_malformed")
    found = _FORM.fullmatch(text)
    if found is None:
        raise EnvelopeTextError("envelope_malformed")
    key = keys.find(found[2])
    if key is None:
        raise EnvelopeTextError("envelope_key_unknown")
    head, _, signature = text.rpartition(".")
    if not equal(_signature(key.secret, head).encode(), signature.encode()):
        raise EnvelopeTextError("envelope_forged")
    return _claims(found[3])


def _signature(secret: bytes, head: str) -> str:
    return hmac.digest(secret, _DOMAIN + head.encode(), "sha256").hex()


def _canonical(members: dict[str, Any]) -> bytes:
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode()


def _claims(payload: str) -> Claims:
    try:
        raw = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        members = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError):
        raise EnvelopeTextError("envelope_malformed") from None
    if type(members) is not dict or members.keys() != _TYPES.keys():
        raise EnvelopeTextError("envelope_malformed")
    right = all(type(members[name]) in kinds for name, kinds in _TYPES.items())
    words = right and all(type(word) is str for word in members["roles"] + members["scopes"])
    if not words or _canonical(members) != raw:
        raise EnvelopeTextError("envelope_malformed")
    return Claims(**members)
