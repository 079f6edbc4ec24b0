"""What a resolver is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from asgi_guard.protocols import Principal, Scope

__all__ = ["HeaderReader", "RootPathMover", "TenantResolver"]


@runtime_checkable
class TenantResolver(Protocol):
    """Reads which tenant a connection names."""

    async def resolve(self, scope: Scope, principal: Principal) -> str | None:
        """Return the id as it was written, or None if this connection names none this way.

        Args:
            scope: The HTTP or WebSocket scope; not to be changed.
            principal: Who the credential speaks for; there always is one.

        Raises:
            TenantInvalidError: A name is there and cannot be one.
            RequestInvalidError: The request is ambiguous, e.g. it names two.
            UnavailableError: The name cannot be read now; any other exception counts as this.
        """


@runtime_checkable
class RootPathMover(Protocol):
    """A resolver whose name is part of the path, which the app must not have to know."""

    def inner_root_path(self, scope: Scope) -> str:
        """Return ``root_path`` as the app should see it."""


@runtime_checkable
class HeaderReader(Protocol):
    """A resolver whose name is in request headers, by which caches must tell answers apart."""

    @property
    def vary(self) -> tuple[bytes, ...]:
        """The headers, in lower case (RFC 9110 section 12.5.5)."""
