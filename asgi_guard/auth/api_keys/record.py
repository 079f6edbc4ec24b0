"""What is stored of an API key, and what is shown once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from asgi_guard.errors import RequestInvalidError
from asgi_guard.secret import Secret

__all__ = ["APIKey", "IssuedKey", "printable", "scope_set"]

State = Literal["active", "expired", "revoked"]

_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,128}")  # RFC 6749 section 3.3


@dataclass(frozen=True, slots=True, kw_only=True)
class APIKey:
    """One key as the store knows it; the key itself cannot be had from it.

    Args:
        key_id: Public id, for lists and for revoking.
        name: What its owner calls it.
        hint: Its first characters, to recognise it by.
        digest: HMAC-SHA-256 of the key under the pepper, 32 bytes.
        tenant_id: The one tenant it opens.
        user_id: Whom it acts for; membership is looked up for this user at each request.
        scopes: What it grants.
        created_at: Unix seconds.
        expires_at: Unix seconds; None for one that does not end by itself.
        revoked_at: Unix seconds, if it was revoked.
        last_used_at: Unix seconds, minutes late; None if it was never used.
        successor_id: The key that replaces it, if it was rotated.
    """

    key_id: str
    name: str
    hint: str
    digest: bytes = field(repr=False)
    tenant_id: str
    user_id: str
    scopes: frozenset[str] = frozenset()
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None
    successor_id: str | None = None

    def state(self, now: float) -> State:
        """Return whether the key opens anything at *now*."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and not now < self.expires_at:
            return "expired"
        return "active"


class IssuedKey(NamedTuple):
    """A new key: *key* is shown to its owner now and can never be had again."""

    record: APIKey
    key: Secret


def scope_set(scopes: object) -> frozenset[str]:
    """Return *scopes* as a set of scope tokens.

    Raises:
        RequestInvalidError: One is none, or a single string was given.
    """
    if not isinstance(scopes, list | tuple | set | frozenset):
        raise RequestInvalidError("scopes_malformed")
    if not all(isinstance(each, str) and _SCOPE.fullmatch(each) for each in scopes):
        raise RequestInvalidError("scopes_malformed")
    return frozenset(scopes)


def printable(text: object, *, most: int) -> str:
    """Return *text*: 1 to *most* printable characters, fit for a terminal, a log and a page.

    Raises:
        RequestInvalidError: It is something else.
    """
    if not isinstance(text, str) or not 0 < len(text) <= most or not text.isprintable():
        raise RequestInvalidError("text_malformed")
    return text
