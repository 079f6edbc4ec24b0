"""One spelling for each event: what is hashed is what is stored, byte for byte.

JSON with sorted keys, no spaces and ASCII only (the idea of RFC 8785; numbers are spelled as
Python spells them, which parses back to the same value). Strings are made storable first: no NUL
and no lone surrogate, which PostgreSQL and UTF-8 refuse, and no more than `_LONGEST` characters.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from asgi_guard._internal.redaction import redact_details
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import SecurityEvent

__all__ = ["canonical", "event_fields", "event_of", "parse_time", "time_text"]

_LONGEST: Final = 4096
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PLAIN: Final = (
    "name",
    "outcome",
    "reason",
    "request_id",
    "tenant_id",
    "user_id",
    "auth_method",
    "operation",
    "client",
    "trace_id",
)


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return the one JSON spelling of *value*."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode("ascii")


def event_fields(event: SecurityEvent) -> dict[str, Any]:
    """Return what is kept of *event*: plain values, details without secrets, session hashed.

    Raises:
        ConfigError: The event's time has no time zone.
    """
    fields: dict[str, Any] = {name: _text(getattr(event, name)) for name in _PLAIN}
    fields["time"] = time_text(event.time)
    fields["session_id"] = _hashed(event.session_id)
    fields["details"] = {
        str(_text(key)): _plain(value) for key, value in redact_details(event.details).items()
    }
    return fields


def event_of(fields: Mapping[str, Any]) -> SecurityEvent:
    """Return the event that `event_fields` was made of.

    Raises:
        KeyError, TypeError, ValueError: *fields* were not made by `event_fields`.
    """
    known = {name: fields[name] for name in (*_PLAIN, "session_id", "details")}
    return SecurityEvent(time=parse_time(fields["time"]), **known)


def time_text(moment: datetime) -> str:
    """Return *moment* in UTC with microseconds, e.g. ``2026-03-01T12:00:00.000000Z``.

    Raises:
        ConfigError: It has no time zone, so nobody knows when it was.
    """
    if moment.tzinfo is None:
        raise ConfigError("SecurityEvent.time", "has no time zone", "Use an aware datetime.")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Return the moment that *text* names (RFC 3339).

    Raises:
        ValueError: It names none, or has no time zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment.astimezone(UTC)


def _text(value: object) -> str | None:
    if value is None:
        return None
    text = str(value)
    if not text.isascii() or "\x00" in text:
        text = text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
    return text if len(text) <= _LONGEST else text[:_LONGEST]


def _plain(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return _text(value)


def _hashed(session_id: str | None) -> str | None:
    # Whoever reads the log must not be able to take over the session.
    if session_id is None or _SHA256.fullmatch(session_id):
        return session_id
    return sha256(session_id.encode("utf-8", "backslashreplace")).hexdigest()
