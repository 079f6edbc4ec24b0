"""Cache-Control: keep what was made for one user out of every cache.

Stops a proxy, a CDN or the back button of a shared computer from showing one user's answer to the
next. Source: RFC 9111 section 5.2.2.5; OWASP Session Management Cheat Sheet, "Web Content Caching".
"""

from __future__ import annotations

from typing import Final

from asgi_guard._internal.principal import principal_of
from asgi_guard.protocols import Scope
from asgi_guard.security_headers.fields import field_value
from asgi_guard.tenancy.current import current_context

__all__ = ["NAME", "NO_STORE", "cache_control", "is_authenticated"]

NAME: Final = "cache-control"
NO_STORE: Final = (b"cache-control", b"no-store")


def cache_control(value: str) -> str:
    """Return the header's value, for every response that sets none of its own.

    Raises:
        ConfigError: It cannot stand in a header.
    """
    return field_value("security_headers.cache_control", value)


def is_authenticated(scope: Scope) -> bool:
    """Tell whether the answer to *scope* may be for one user alone.

    True for a verified principal, a user context, a user that Starlette's authentication has put
    into the scope, and a request that brought an ``Authorization`` header, verified or not: RFC
    9111 section 3.5 keeps shared caches from storing those only while no other rule allows it.

    A session that lives in a cookie alone is not seen here: mark its answers yourself.
    """
    if principal_of(scope) is not None or current_context() is not None:
        return True
    if getattr(scope.get("user"), "is_authenticated", False):
        return True
    for name, _ in scope["headers"]:  # noqa: SIM110 - any() with a generator takes twice as long
        if name == b"authorization":
            return True
    return False
