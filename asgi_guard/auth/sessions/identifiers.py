"""The two names of a session: the sid, which opens it, and the session id, which only names it.

The *sid* is 256 random bits (OWASP's Session Management Cheat Sheet asks for 64 of entropy) and
lives in the browser's cookie alone. The *session id* is its SHA-256: key in the store, `session_id`
of the principal and the context. Whoever reads the store, a log or a job's context gets nothing
that a browser could send; and a look-up by hash tells by no timing how much of a guess was right.
"""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import Final

from asgi_guard.secret import Secret

__all__ = ["is_session_id", "new_lineage", "new_sid", "session_id_of"]

_SID_BYTES: Final = 32
_SID: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_SESSION_ID: Final = re.compile(r"[0-9a-f]{64}")


def new_sid() -> Secret:
    """Return 256 fresh random bits as 43 characters of base64url."""
    return Secret(secrets.token_urlsafe(_SID_BYTES))


def new_lineage() -> str:
    """Return a name for a session and whatever it is renewed to; it opens nothing."""
    return secrets.token_hex(16)


def session_id_of(sid: object) -> str | None:
    """Return the session id of *sid*, a `Secret` or text; None if it is not of a sid's shape."""
    text = sid.reveal() if isinstance(sid, Secret) else sid
    if not isinstance(text, str) or not _SID.fullmatch(text):
        return None
    return sha256(text.encode()).hexdigest()


def is_session_id(value: object) -> bool:
    """Tell whether *value* has the shape of a session id."""
    return isinstance(value, str) and _SESSION_ID.fullmatch(value) is not None
