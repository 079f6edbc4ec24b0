"""The shape of a tenant id: what may be looked up, bound and written at all.

Ids arrive in host names, paths and headers. A look-alike letter, a control character or a second
spelling of one id would make two tenants of one, or one of two; so an id has exactly one
canonical spelling, and everything else is refused before any look-up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from asgi_guard.errors import TenantInvalidError

__all__ = ["INTEGER", "SLUG", "UUID", "TenantIdShape"]

_LONGEST: Final = 128


@dataclass(frozen=True, slots=True)
class TenantIdShape:
    """One configured spelling of tenant ids.

    Args:
        name: For messages, e.g. ``"uuid"``.
        pattern: Regular expression over the whole id. Whatever it allows, an id is printable
            ASCII of at most 128 characters.
        sql_type: The PostgreSQL type a bound id is cast to in policies.
    """

    name: str
    pattern: re.Pattern[str]
    sql_type: str

    def parse(self, text: str) -> str:
        """Return the canonical id.

        Raises:
            TenantInvalidError: *text* has another shape; the text itself is not repeated.
        """
        # What a pattern of your own forgets: letters beyond ASCII, control characters, length.
        if type(text) is not str or len(text) > _LONGEST or not text.isascii():
            raise TenantInvalidError(f"tenant_not_{self.name}")
        if not text.isprintable() or not self.pattern.fullmatch(text):
            raise TenantInvalidError(f"tenant_not_{self.name}")
        return text


UUID: Final = TenantIdShape(
    "uuid", re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "uuid"
)
"""RFC 9562 text form in lower case; an upper-case spelling is refused, not folded."""

SLUG: Final = TenantIdShape("slug", re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"), "text")
"""A DNS label (RFC 1123 section 2.1) in lower case, 1 to 63 characters: fits a subdomain."""

INTEGER: Final = TenantIdShape("integer", re.compile(r"[1-9][0-9]{0,17}"), "bigint")
"""A positive bigint without sign or leading zero."""
