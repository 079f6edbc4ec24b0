"""Read a compact JWS (RFC 7515 section 3.1) strictly: one spelling, one meaning, or a 401."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from asgi_guard.auth.jose.base64url import b64url_decode
from asgi_guard.auth.jose.refusal import refuse
from asgi_guard.auth.jose.strict_json import strict_object

__all__ = ["LONGEST_TOKEN", "CompactJWS", "check_header", "parse_compact_jws", "token_bytes"]

LONGEST_TOKEN: Final = 16 * 1024
_SHAPE: Final = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)")
_EMBEDDED: Final = frozenset({"jwk", "jku", "x5u", "x5c"})  # RFC 7515 sections 4.1.2 to 4.1.6
_LONGEST_KID: Final = 256


class CompactJWS(NamedTuple):
    """The parts of a token; nothing in it is proven yet."""

    header: dict[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes

    def claims(self) -> dict[str, Any]:
        """Return the payload as a JSON object; call it once the signature holds.

        Raises:
            AuthenticationError: It is none.
        """
        claims = strict_object(self.payload)
        if claims is None:
            refuse("token_not_json")
        return claims


def token_bytes(token: bytes | str) -> bytes:
    """Return *token* as bytes.

    Raises:
        AuthenticationError: It has characters beyond ASCII, or is no text at all.
    """
    if isinstance(token, bytes):
        return token
    if not isinstance(token, str) or not token.isascii():
        refuse("token_malformed")
    return token.encode()


def parse_compact_jws(token: bytes, *, longest: int = LONGEST_TOKEN) -> CompactJWS:
    """Take *token* apart.

    Args:
        token: As it was sent.
        longest: Most bytes that are looked at.

    Raises:
        AuthenticationError: It is no compact JWS (an encrypted token, RFC 7516, has five parts
            and is none), its header is no strict JSON object, or it is too long.
    """
    if len(token) > longest:
        refuse("token_too_long")
    found = _SHAPE.fullmatch(token)
    if found is None:
        refuse("token_malformed")
    protected, payload, signature = (b64url_decode(part) for part in found.groups())
    if protected is None or payload is None or signature is None:
        refuse("token_malformed")
    header = strict_object(protected)
    if header is None:
        refuse("token_not_json")
    return CompactJWS(header, payload, token[: found.end(2)], signature)


def check_header(header: Mapping[str, Any], *, allow_embedded_key: bool = False) -> str | None:
    """Refuse what a verifier must not act on, and return the ``kid`` if there is one.

    Args:
        header: As parsed; every part of it was chosen by whoever made the token.
        allow_embedded_key: True only where the protocol is about an embedded key, which is
            then believed by nobody else: a DPoP proof (RFC 9449 section 4.2).

    Raises:
        AuthenticationError: ``crit`` (no extension is understood here, RFC 7515 section
            4.1.11), ``b64`` (RFC 7797), a key or the address of one (RFC 8725 section 3.10), or
            a ``kid`` that is no short printable string.
    """
    if "crit" in header or "b64" in header:
        refuse("crit_not_understood")
    if not allow_embedded_key and not _EMBEDDED.isdisjoint(header):
        refuse("key_in_header")
    kid = header.get("kid")
    if kid is None and "kid" not in header:
        return None
    if not isinstance(kid, str) or not 0 < len(kid) <= _LONGEST_KID or not kid.isprintable():
        refuse("kid_malformed")
    return kid
