"""What a guard leaves on the app and connections inside it, for the rooms that look for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from asgi_guard.protocols import Scope

__all__ = [
    "CLIENT",
    "CROSS_ORIGIN",
    "DATABASES",
    "INSTALLED",
    "databases_of",
    "holds_a_guard",
]

INSTALLED: Final = "asgi_guard_installed"
"""Attribute, True, of an app object that has a guard."""

DATABASES: Final = "asgi_guard.databases"
"""Scope key, present on every connection inside a guard."""

CLIENT: Final = "asgi_guard.client"
"""Scope key of the client's address as the guard's trusted proxies know it, None if nobody does;
present inside a guard that trusts proxies. Every room names this one."""

CROSS_ORIGIN: Final = "asgi_guard.cross_origin"
"""Scope key: True where a cross-origin policy has let a connection pass, False where its path is
exempt from it, absent where nobody asked. A cookie proves nothing unless it is True."""


def databases_of(scope: Scope) -> tuple[object, ...] | None:
    """Return the databases that the guard around this connection checks; None without a guard."""
    databases: tuple[object, ...] | None = scope.get(DATABASES)
    return databases


def holds_a_guard(app: object) -> bool:
    """Tell whether *app*, or one that it wraps or mounts, has a guard, as far as can be seen."""
    return any(getattr(each, INSTALLED, False) is True for each in _apps_within(app))


def _apps_within(app: object) -> Iterator[object]:
    """Follow the attributes under which middlewares, mounts and hosts keep what is inside."""
    seen: set[int] = set()
    waiting = [app]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting.extend(getattr(each, name, None) for name in ("app", "asgi_app"))
        routes = getattr(each, "routes", None)
        if isinstance(routes, list | tuple):
            waiting.extend(routes)
