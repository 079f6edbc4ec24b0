"""What a guard leaves on the app and connections inside it, for the rooms that look for it."""

from __future__ import annotations

from typing import Final

from asgi_guard.protocols import Scope

__all__ = ["DATABASES", "INSTALLED", "databases_of"]

INSTALLED: Final = "asgi_guard_installed"
"""Attribute of an app object that was guarded in place."""

DATABASES: Final = "asgi_guard.databases"
"""Scope key, present on every connection inside a guard."""


def databases_of(scope: Scope) -> tuple[object, ...] | None:
    """Return the databases that the guard around this connection checks; None without a guard."""
    databases: tuple[object, ...] | None = scope.get(DATABASES)
    return databases
