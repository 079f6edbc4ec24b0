"""BrowserCookies: what binds an attempt to the browser that began it.

``__Host-`` keeps sibling domains and plain-http pages from setting it (cookie tossing), ``Lax``
lets it come along when the provider sends the browser back. One cookie per attempt, so that two
tabs do not spoil each other's login.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from asgi_guard.auth.oidc.refusal import refuse
from asgi_guard.protocols import Scope

__all__ = ["BrowserCookies", "Redirect", "cleared_cookie", "set_cookie"]

_PREFIX: Final = "__Host-oidc-"
_NAME: Final = re.compile(rb"__Host-oidc-[0-9a-f]{16}")
_SECRET: Final = re.compile(rb"[A-Za-z0-9_-]{43}")
_MOST: Final = 8  # attempts of one browser at a time; more would outgrow servers' header limits
_MOST_CLEARED: Final = 24  # in one answer, whose header has limits as well
_DIGITS: Final = 16


class Redirect(NamedTuple):
    """Where a browser goes next, and the cookies it gets."""

    location: str
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __repr__(self) -> str:
        return "Redirect(**********)"


class BrowserCookies:
    """The attempts' cookies of one request.

    Args:
        scope: Of the request.
    """

    __slots__ = ("_found",)

    def __init__(self, scope: Scope) -> None:
        self._found: list[tuple[bytes, bytes]] = []
        for name, field in scope["headers"]:
            if name == b"cookie":
                pairs = (pair.strip(b" \t").partition(b"=") for pair in field.split(b";"))
                self._found += [(key, value) for key, _, value in pairs if _NAME.fullmatch(key)]

    @staticmethod
    def name_of(digest: str) -> str:
        """Return the name of the cookie for the attempt whose state has this *digest*."""
        return _PREFIX + digest[:_DIGITS]

    def secret_of(self, digest: str) -> str | None:
        """Return the value for one attempt; None if it is not there or malformed.

        Raises:
            LoginRefusedError: It was sent twice; which one is the browser's cannot be known.
        """
        name = self.name_of(digest).encode()
        values = [value for key, value in self._found if key == name]
        if len(values) > 1:
            refuse("browser_cookie_repeated")
        if not values or not _SECRET.fullmatch(values[0]):
            return None
        return values[0].decode()

    def surplus(self) -> list[str]:
        """Return the names beyond what one browser may have waiting, the first ones sent."""
        names = list(dict.fromkeys(name.decode() for name, _ in self._found))
        return names[: max(0, min(len(names) - _MOST + 1, _MOST_CLEARED))]


def set_cookie(name: str, value: str, *, seconds: int) -> tuple[bytes, bytes]:
    """Return the header that gives the browser an attempt's cookie."""
    text = f"{name}={value}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite=Lax"
    return b"set-cookie", text.encode()


def cleared_cookie(name: str) -> tuple[bytes, bytes]:
    """Return the header that takes it away."""
    return set_cookie(name, "", seconds=0)
