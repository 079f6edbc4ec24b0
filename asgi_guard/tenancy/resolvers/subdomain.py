"""SubdomainResolver: the tenant in the host name, under one pinned base domain."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from asgi_guard._internal.asgi import single_header
from asgi_guard.errors import ConfigError, TenantInvalidError
from asgi_guard.protocols import Principal, Scope

__all__ = ["SubdomainResolver"]

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1123 section 2.1
_DOMAIN: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_PORT: Final = re.compile(r":[0-9]{1,5}\Z")  # RFC 3986 section 3.2.3
_LONGEST_HOST: Final = 253 + 1 + 6  # RFC 1035 section 2.3.4, a trailing dot, a port


class SubdomainResolver:
    """Take the tenant from ``<tenant>.<base_domain>`` in the Host header.

    Exactly one label is read: what is nested deeper, internationalised (``xn--``, where
    look-alikes live), or under another domain is refused. ``X-Forwarded-Host`` is never read.

    Args:
        base_domain: Where all tenants live, e.g. ``"app.example.com"``.
        reserved: Labels that name no tenant, e.g. of the marketing site.

    Raises:
        ConfigError: *base_domain* is not a host name in ASCII.
    """

    def __init__(self, base_domain: str, *, reserved: Iterable[str] = ("www",)) -> None:
        if not _DOMAIN.fullmatch(base_domain):
            raise ConfigError(
                "SubdomainResolver.base_domain",
                f"{base_domain!r} is not a lower-case host name",
                "Write it without scheme, port or dots at its ends, e.g. app.example.com.",
            )
        self.base_domain = base_domain
        self._suffix = f".{base_domain}"
        self._reserved = frozenset(reserved)

    async def resolve(self, scope: Scope, _principal: Principal) -> str | None:
        """Return the label below the base domain; None for the base domain itself.

        Raises:
            RequestInvalidError: Two Host headers (RFC 9112 section 3.2).
            TenantInvalidError: No Host header, another domain, or a label that is refused.
        """
        host = _host_name(single_header(scope, b"host"))
        if host == self.base_domain:
            return None
        if not host.endswith(self._suffix):
            raise TenantInvalidError("host_foreign")
        label = host.removesuffix(self._suffix)
        if "." in label:
            raise TenantInvalidError("host_nested")
        if label.startswith("xn--"):
            raise TenantInvalidError("host_internationalised")
        return None if label in self._reserved else label


def _host_name(field: bytes | None) -> str:
    """Return the name in a Host header: no port, lower case, no trailing dot."""
    if field is None:
        raise TenantInvalidError("host_missing")
    if len(field) > _LONGEST_HOST or not field.isascii():
        raise TenantInvalidError("host_malformed")
    name = _PORT.sub("", field.decode("ascii")).lower().removesuffix(".")
    if not _DOMAIN.fullmatch(name):
        raise TenantInvalidError("host_malformed")
    return name
