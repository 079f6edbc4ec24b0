"""The nonce of one response: made when a page asks for it, known to nobody before.

It lives in the request's own scope, in a slot that sub-apps share with the layers outside, so two
requests can never see each other's, whatever runs between their awaits.
"""

from __future__ import annotations

import secrets
from collections.abc import MutableMapping
from typing import Any, Final, Protocol

from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Scope

__all__ = ["SCOPE_KEY", "HasScope", "NonceSlot", "csp_nonce", "csp_nonce_context"]

SCOPE_KEY: Final = "asgi_guard.csp_nonce"
_RANDOM_BYTES: Final = 18  # 144 bits; CSP Level 3 section 7.1 asks for 128; no padding at 18


class HasScope(Protocol):
    """A request object that knows its ASGI scope, as Starlette's and Litestar's do."""

    @property
    def scope(self) -> Any:
        """The ASGI scope."""


class NonceSlot:
    """Where the middleware looks, at the start of the response, whether a nonce was asked for."""

    __slots__ = ("started", "value")

    def __init__(self) -> None:
        self.value: str | None = None
        self.started = False


def csp_nonce(request: HasScope | Scope) -> str:
    """Return the nonce of the response to *request*, the same one at each call.

    Args:
        request: A request object with ``.scope``, or the scope itself.

    Returns:
        24 letters, digits, ``-`` and ``_`` from 144 random bits, for the ``nonce`` attribute of
        ``<script>`` and ``<style>``. It is in the header only if the policy names `NONCE`.

    Raises:
        ConfigError: No SecurityHeadersMiddleware is around this request; or the response has
            already begun, so that its header can name no nonce any more.
    """
    scope = request if isinstance(request, MutableMapping) else request.scope
    slot = scope.get(SCOPE_KEY)
    if not isinstance(slot, NonceSlot):
        raise ConfigError(
            "csp_nonce",
            "no SecurityHeadersMiddleware is around this request",
            "Wrap the app in SecurityHeadersMiddleware.",
        )
    if slot.value is None:
        if slot.started:
            raise ConfigError(
                "csp_nonce",
                "the response has begun, and its header went out without a nonce",
                "Call csp_nonce(request) before the response starts, then stream.",
            )
        slot.value = secrets.token_urlsafe(_RANDOM_BYTES)
    return slot.value


def csp_nonce_context(request: HasScope) -> dict[str, Any]:
    """Give templates ``{{ csp_nonce }}``; a page that does not use it makes none.

    For ``Jinja2Templates(..., context_processors=[csp_nonce_context])`` of Starlette. Macros see
    it when they are imported ``with context``.
    """
    return {"csp_nonce": _LazyNonce(request)}


class _LazyNonce:
    """Becomes the nonce when it is printed."""

    __slots__ = ("_request",)

    def __init__(self, request: HasScope) -> None:
        self._request = request

    def __str__(self) -> str:
        return csp_nonce(self._request)

    def __html__(self) -> str:
        return csp_nonce(self._request)  # its alphabet needs no escaping
