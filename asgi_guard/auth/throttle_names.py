"""Under which name an attempt is counted: one person, one line, one tenant, one counter.

Whoever can spell a name in two ways has twice the attempts. Names are hashed, so that a shared
storage holds no e-mail addresses, and so that none can be longer than a key may be.
"""

from __future__ import annotations

import unicodedata
from hashlib import sha256
from ipaddress import IPv6Address, ip_address

__all__ = ["counter_name"]


def counter_name(throttle: str, dimension: str, name: str) -> str:
    """Return the name of the counter for *name*, as an address, tenant or account."""
    one = _line(name) if dimension == "address" else _folded(name)
    digest = sha256(one.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"asgi-guard:{throttle}:{dimension}:{digest}"


def _folded(name: str) -> str:
    # More names are made one here than any database does: the safe side for a counter.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


def _line(address: str) -> str:
    """Return the line behind *address*: an IPv6 customer has at least a /64 (RFC 6177)."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64))
