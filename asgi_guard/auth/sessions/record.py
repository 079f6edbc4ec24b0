"""How a session lies in the store: one JSON entry, a session or a pointer to its successor."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from asgi_guard.auth.jose.strict_json import frozen, strict_object
from asgi_guard.auth.sessions.session import Session
from asgi_guard.errors import ConfigError, RequestInvalidError, UnavailableError

__all__ = [
    "LOGIN_CLAIM",
    "Entry",
    "StoredSession",
    "Successor",
    "decode",
    "encode",
    "printable",
    "thawed",
    "words",
]

LOGIN_CLAIM: Final = "oidc_login"
"""Names the login at a provider; stays whatever the session becomes, so that a logout finds it."""

_FORMAT: Final = 1
_MOST_BYTES: Final = 16 * 1024
_MOST_WORDS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """A session in the store; fields as in `Session`, and what only the service needs.

    Args:
        lineage: Stays the same through renewals, and names the state that is kept.
        stamps: Which terminate-all each of its groups had seen when it was made.
        pending: It replaces another that has not stepped back yet, and opens nothing.
    """

    user_id: str
    tenant_id: str | None
    roles: list[str]
    scopes: list[str]
    claims: dict[str, Any] = field(repr=False)
    label: str
    created_at: float
    seen_at: float
    expires_at: float
    lineage: str
    stamps: list[str]
    pending: bool = False

    @property
    def owner(self) -> tuple[str, str | None]:
        """User and tenant."""
        return self.user_id, self.tenant_id

    def shown(self, session_id: str, *, idle: float) -> Session:
        """Return what callers may see."""
        return Session(
            session_id=session_id,
            user_id=self.user_id,
            tenant_id=self.tenant_id,
            roles=frozenset(self.roles),
            scopes=frozenset(self.scopes),
            claims=frozen(self.claims),
            label=self.label,
            created_at=self.created_at,
            seen_at=self.seen_at,
            idle_at=min(self.seen_at + idle, self.expires_at),
            expires_at=self.expires_at,
        )


@dataclass(frozen=True, slots=True)
class Successor:
    """Stands where a session was that got a new sid: a logout with the old one still ends it."""

    session_id: str


Entry = StoredSession | Successor
_FIELDS: Final = tuple(each.name for each in fields(StoredSession))


def encode(entry: Entry) -> bytes:
    """Return the bytes of *entry*.

    Raises:
        RequestInvalidError: It is larger than 16 KiB, or its claims are no JSON.
    """
    plain: dict[str, Any] = {"v": _FORMAT}
    if isinstance(entry, Successor):
        plain["next"] = entry.session_id
    else:
        plain |= {name: getattr(entry, name) for name in _FIELDS}
    text = b""
    try:
        text = json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        plain.clear()
    if text and strict_object(text) is None:
        text = b""  # two members that are one as JSON, or too deep: it could not be read back
    if not text or len(text) > _MOST_BYTES:
        raise RequestInvalidError("session_claims_malformed" if not text else "session_too_large")
    return text


def decode(raw: bytes) -> Entry:
    """Return what the bytes in the store say.

    Raises:
        UnavailableError: They are none of ours, or of another release; nobody is let in by them.
    """
    plain = strict_object(raw) or {}
    known = plain.pop("v", None) == _FORMAT
    if known and set(plain) == {"next"}:
        return Successor(plain["next"])
    if not known or set(plain) != set(_FIELDS):
        raise UnavailableError("session_record_malformed")
    return StoredSession(**plain)


def thawed(value: Any) -> Any:
    """Return JSON *value* with plain objects and arrays, as ``json`` writes them."""
    if isinstance(value, Mapping):
        return {name: thawed(each) for name, each in value.items()}
    return [thawed(each) for each in value] if isinstance(value, list | tuple) else value


def printable(setting: str, value: object, *, most: int = 255, empty: bool = False) -> str:
    """Return *value* if it is text of 1 to *most* printable characters.

    Raises:
        ConfigError: It is not; the app passes these, not the caller.
    """
    if not isinstance(value, str) or len(value) > most or not (value.isprintable()):
        raise ConfigError(setting, f"is not printable text of at most {most}", "Pass a str.")
    if not value and not empty:
        raise ConfigError(setting, "is empty", "Pass the id.")
    return value


def words(setting: str, values: Iterable[str]) -> list[str]:
    """Return *values* sorted, each once.

    Raises:
        ConfigError: They are one string, too many, or not all printable text.
    """
    if isinstance(values, str):
        raise ConfigError(setting, "is one string", "Pass a list of them.")
    found = sorted({printable(setting, each) for each in values})
    if len(found) > _MOST_WORDS:
        raise ConfigError(setting, f"has {len(found)} entries", f"Pass at most {_MOST_WORDS}.")
    return found
