"""OneTimeState: the ``state`` of a login or logout, used once, by the browser that began it.

Login CSRF and code injection (RFC 9700 sections 4.5 and 4.7, RFC 6749 section 10.12): a callback
is believed only if this app sent this browser away, not long ago, and it has not come back yet.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

from asgi_guard._internal.constant_time import equal
from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.auth.oidc.browser import BrowserCookies
from asgi_guard.auth.oidc.refusal import refuse
from asgi_guard.protocols import Clock, KeyValueStore

__all__ = ["IssuedState", "OneTimeState"]

_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class IssuedState(NamedTuple):
    """A state on its way through the browser: the parameter, and the cookie that goes with it."""

    state: str
    cookie_name: str
    cookie_value: str

    def __repr__(self) -> str:
        return "IssuedState(**********)"


class OneTimeState:
    """Issue states and take them back, through a store that all processes share.

    Args:
        store: Where they wait.
        purpose: Begins each key: ``"login"`` or ``"logout"``; a state of one is none of the other.
        seconds: How long they wait.
        clock: Where "now" comes from.

    The store holds hashes: whoever reads it can neither finish a login nor pose as the browser.
    """

    def __init__(self, store: KeyValueStore, *, purpose: str, seconds: float, clock: Clock) -> None:
        self._store = store
        self._prefix = f"oidc:{purpose}"
        self._seconds = seconds
        self._clock = clock

    async def issue(self, record: Mapping[str, Any]) -> IssuedState:
        """Keep *record* for the browser that gets the cookie.

        Raises:
            UnavailableError: The store does not answer, or is full.
        """
        state, secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        digest = _digest(state)
        kept = {**record, "browser": _digest(secret), "until": self._clock.now() + self._seconds}
        await self._store.put(
            f"{self._prefix}:{digest}", json.dumps(kept).encode(), ttl=self._seconds
        )
        return IssuedState(state, BrowserCookies.name_of(digest), secret)

    async def claim(self, state: str | None, cookies: BrowserCookies) -> dict[str, Any]:
        """Return the record of *state*, to one caller only.

        Another browser's attempt leaves the record where it is: knowing a state must not be
        enough to spoil somebody's login.

        Raises:
            LoginRefusedError: It is missing, malformed, unknown or late, was used before, or this
                is not the browser that began.
            UnavailableError: The store does not answer.
        """
        if state is None:
            refuse("state_missing")
        if not _SHAPE.fullmatch(state):
            refuse("state_malformed")
        digest = _digest(state)
        key, used = f"{self._prefix}:{digest}", f"{self._prefix}-used:{digest}"
        found, was_used = await self._store.get_many([key, used])
        if was_used is not None:
            refuse("state_replayed")
        if found is None:
            refuse("state_unknown")
        self._check_browser(found, digest, cookies)
        taken = await self._store.take(key)
        if taken != found:
            refuse("state_replayed")  # another worker was faster
        await self._store.put(used, b"1", ttl=self._seconds)  # so that a replay is seen as one
        record = strict_object(taken) or {}
        if not self._clock.now() < record.get("until", 0):
            refuse("state_late")
        return record

    @staticmethod
    def cookie_name(state: str) -> str:
        """Return the name of the cookie that goes with *state*."""
        return BrowserCookies.name_of(_digest(state))

    def _check_browser(self, found: bytes, digest: str, cookies: BrowserCookies) -> None:
        record = strict_object(found) or {}
        secret = cookies.secret_of(digest)
        if secret is None:
            refuse("browser_cookie_missing")
        if not equal(_digest(secret).encode(), str(record.get("browser", "")).encode()):
            refuse("browser_mismatch")


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
