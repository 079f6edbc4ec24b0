"""HeaderResolver: the tenant in a request header."""

from __future__ import annotations

from asgi_guard._internal.asgi import field_name, single_header
from asgi_guard.errors import TenantInvalidError
from asgi_guard.protocols import Principal, Scope

__all__ = ["HeaderResolver"]


class HeaderResolver:
    """Take the tenant from one request header, by which every answer then varies.

    Args:
        name: The header; case does not matter.

    Raises:
        ConfigError: *name* is not a header name.
    """

    def __init__(self, name: str = "x-tenant-id") -> None:
        self._field = field_name("HeaderResolver.name", name)
        self.name = self._field.decode()
        self.vary = (self._field,)

    async def resolve(self, scope: Scope, _principal: Principal) -> str | None:
        """Return the header's value.

        Raises:
            RequestInvalidError: It was sent twice; layers would believe different ones.
            TenantInvalidError: It is not ASCII.
        """
        value = single_header(scope, self._field)
        if value is None:
            return None
        try:
            return value.decode("ascii")
        except UnicodeDecodeError:
            raise TenantInvalidError("header_not_ascii") from None
