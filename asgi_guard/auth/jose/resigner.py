"""Resigner: the same claims under another signature, for tokens that an app has stored. Pure.

Only what one side really signed is signed by the other: to sign what merely looks like a token
would make a genuine one of every forgery in the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.jose.algorithms import implementation
from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.auth.jose.claims import seconds_claim
from asgi_guard.auth.jose.compact_jws import CompactJWS, check_header, parse_compact_jws
from asgi_guard.auth.jose.key_source import KeySet
from asgi_guard.auth.jose.signing_key import SigningKey
from asgi_guard.auth.jose.verification_key import VerificationKey
from asgi_guard.errors import AuthenticationError
from asgi_guard.protocols import Clock
from asgi_guard.secret import Secret

__all__ = ["Resigned", "Resigner"]

_HS256: Final = "HS256"
_LEGACY_TYP: Final = "JWT"


class Resigned(NamedTuple):
    """What became of one stored token: ``resigned``, ``done``, ``expired`` or ``refused``."""

    outcome: str
    token: Secret | None


@dataclass(frozen=True, slots=True)
class _Side:
    header: dict[str, str]
    find: Callable[[str | None, str], VerificationKey | None]
    sign: Callable[[bytes], bytes]


class Resigner:
    """Sign HS256 tokens anew with a signing key, or the other way round.

    Args:
        secret: The HS256 secret, at least 32 bytes.
        key: What signs from now on.
        find: Finds the public keys that may have signed before, e.g. a `KeyManager`'s: keys rotate.
        typ: Of the tokens that *key* signs; they must not pass for another kind.
        back: Go from *key* to *secret*: for a step back.
        clock: Where "now" comes from.

    Raises:
        ConfigError: The secret is weak, or no secret.

    Running it twice changes nothing: what is of the other side is ``done``. A token that has
    expired, and one that neither side signed, are left as they are.
    """

    def __init__(
        self,
        *,
        secret: Secret,
        key: SigningKey,
        find: Callable[[str | None, str], VerificationKey | None] | None = None,
        typ: str = "refresh+jwt",
        back: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        legacy = VerificationKey(secret, algorithm=_HS256)
        hmac: Any = implementation(_HS256)
        old = _Side(
            {"alg": _HS256, "typ": _LEGACY_TYP},
            lambda _kid, _algorithm: legacy,
            lambda message: hmac.sign(message, secret.reveal().encode()),
        )
        known = find or KeySet([key.public]).find
        new = _Side({"alg": key.algorithm, "kid": key.kid, "typ": typ}, known, key.sign)
        self._from, self._to = (new, old) if back else (old, new)
        self._clock = clock

    def resign(self, token: str) -> Resigned:
        """Return *token* under the other signature, with the same claims; it may block."""
        jws = _parsed(token)
        if jws is None:
            return Resigned("refused", None)
        if _is_signed(jws, self._to):
            return Resigned("done", None)
        if not _is_signed(jws, self._from):
            return Resigned("refused", None)
        ends = _end(jws)
        if ends is None:
            return Resigned("refused", None)
        if ends <= self._clock.now():
            return Resigned("expired", None)
        header = json.dumps(self._to.header, separators=(",", ":")).encode()
        message = b64url_encode(header) + b"." + b64url_encode(jws.payload)
        signature = b64url_encode(self._to.sign(message))
        return Resigned("resigned", Secret((message + b"." + signature).decode()))


def _parsed(token: str) -> CompactJWS | None:
    try:
        jws = parse_compact_jws(token.encode("ascii", "replace"))
        check_header(jws.header)
    except AuthenticationError:
        return None
    return jws


def _is_signed(jws: CompactJWS, side: _Side) -> bool:
    algorithm = str(jws.header.get("alg"))
    key = side.find(jws.header.get("kid"), algorithm)
    return key is not None and key.takes(algorithm) and key.verify(jws.signing_input, jws.signature)


def _end(jws: CompactJWS) -> float | None:
    try:
        return seconds_claim(jws.claims(), "exp")
    except AuthenticationError:
        return None
