"""JWKSDocument: a JWK Set as it goes over the wire, with its validator."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256

__all__ = ["JWKSDocument"]


class JWKSDocument:
    """A JWK Set (RFC 7517 section 5), written once.

    Args:
        keys: Public JWKs.
    """

    __slots__ = ("body", "etag")

    def __init__(self, keys: Iterable[Mapping[str, str]]) -> None:
        self.body = json.dumps({"keys": list(keys)}, sort_keys=True, separators=(",", ":")).encode()
        self.etag = b'"%b"' % sha256(self.body).hexdigest()[:32].encode()
