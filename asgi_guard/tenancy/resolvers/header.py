"""HeaderResolver: the tenant in a request header."""

from __future__ import annotations

import re
from typing import Final

from asgi_guard._internal.asgi import single_header
from asgi_guard.errors import ConfigError, TenantInvalidError
from asgi_guard.protocols import Principal, Scope

__all__ = ["HeaderResolver"]

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 section 5.6.2


class HeaderResolver:
    """Take the tenant from one request header.

    Args:
        name: The header; case does not matter.

    Raises:
        ConfigError: *name* is not a header name.
    """

    def __init__(self, name: str = "x-tenant-id") -> None:
        if not _TOKEN.fullmatch(name):
            raise ConfigError(
                "HeaderResolver.name", f"{name!r} is not a header name", "Use e.g. x-tenant-id."
            )
        self.name = name.lower()
        self._field = self.name.encode()

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
