"""DPoPNonces: server-provided nonces that need no store (RFC 9449 sections 8 and 9).

A nonce is the MAC of the current time step under a secret that all processes share. It cannot be
known before its time, so a proof that is made with it was made after that: proofs that somebody
produced in advance, on a stolen browser tab, are worth nothing later (section 11.2). It is the
same for all clients, so there is nothing to keep; what stops a second use is the ``jti``.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.constant_time import equal
from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Clock
from asgi_guard.secret import Secret

__all__ = ["DPoPNonces"]

_SHORTEST: Final = 32  # bytes
_LEAST_STEP, _LONGEST_STEP = 1, 3600
_LABEL: Final = b"asgi-guard dpop nonce 1"


class DPoPNonces:
    """Make and recognise nonces.

    Args:
        secret: 32 random bytes or more, the same in all processes.
        previous: Secrets that were in use before; their nonces are recognised still.
        step: Seconds after which the nonce changes. One is accepted in its step and in the next,
            so for *step* to twice *step* seconds; and in the step before, for clocks differ.
        name: Of the server, if several share the secret: nonces of one mean nothing to another.
        clock: Where "now" comes from.

    Raises:
        ConfigError: A secret is short, or *step* out of range.
    """

    __slots__ = ("_clock", "_secrets", "_step")

    def __init__(
        self,
        secret: Secret | bytes,
        *,
        previous: Iterable[Secret | bytes] = (),
        step: int = 120,
        name: str = "",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if type(step) is not int or not _LEAST_STEP <= step <= _LONGEST_STEP:
            raise ConfigError("step", f"is {step!r}", f"Pass {_LEAST_STEP} to {_LONGEST_STEP} s.")
        label = _LABEL + b"\0" + name.encode()
        # Derived, so that a secret that is used elsewhere as well makes no nonces there.
        self._secrets = tuple(_mac(_bytes(each), label) for each in (secret, *previous))
        self._step = step
        self._clock = clock

    def current(self) -> str:
        """Return the nonce of now, for ``DPoP-Nonce``."""
        return _nonce(self._secrets[0], self._now())

    def accepts(self, nonce: str) -> bool:
        """Tell whether *nonce* is one of ours, and not too old."""
        offered = nonce.encode("utf-8", "surrogatepass")
        now = self._now()
        found = False
        for secret in self._secrets:
            for step in (now, now - 1, now + 1):
                found |= equal(offered, _nonce(secret, step).encode())
        return found

    def _now(self) -> int:
        return int(self._clock.now() // self._step)

    def __repr__(self) -> str:
        return f"DPoPNonces(step={self._step})"


def _nonce(secret: bytes, step: int) -> str:
    return b64url_encode(_mac(secret, b"%d" % step)).decode()


def _mac(secret: bytes, message: bytes) -> bytes:
    return hmac.digest(secret, message, sha256)


def _bytes(secret: Secret | bytes) -> bytes:
    plain = secret.reveal() if isinstance(secret, Secret) else secret
    octets = plain.encode() if isinstance(plain, str) else plain
    if not isinstance(octets, bytes) or len(octets) < _SHORTEST:
        raise ConfigError("secret", "is short", f"Use secrets.token_bytes({_SHORTEST}).")
    return octets
