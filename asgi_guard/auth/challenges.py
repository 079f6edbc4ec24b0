"""Which credentials an app takes, as a 401 must say it (RFC 9110 sections 11.6.1 and 15.5.2).

Each authenticator names its own: a fixed ``Bearer`` would send a client of an app that takes DPoP
proofs for a bearer token, which is then refused as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, Protocol, runtime_checkable

from asgi_guard.errors import AuthenticationError, ConfigError
from asgi_guard.protocols import Authenticator

__all__ = ["Challenger", "Challenges", "challenges_of"]

_NAME: Final = b"www-authenticate"
# auth-scheme, then auth-params in visible ASCII: nothing that could end the header line.
_CHALLENGE: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?: [\x20-\x7e]+)?")
_OAUTH: Final = frozenset({b"bearer", b"dpop"})  # RFC 6750 section 3.1, RFC 9449 section 7.1


@runtime_checkable
class Challenger(Protocol):
    """An `Authenticator` that names what it takes."""

    @property
    def challenges(self) -> Sequence[bytes]:
        """One challenge per scheme and without ``error``, e.g. ``b'DPoP algs="ES256"'``."""


class Challenges:
    """The challenges of one app, ready to be sent.

    Args:
        authenticators: In the order they are asked; those without ``challenges`` add none. If
            none does, ``Bearer`` is offered.

    Raises:
        ConfigError: A challenge could not stand in a header.
    """

    __slots__ = ("_named", "failed", "plain")

    def __init__(self, authenticators: Iterable[Authenticator]) -> None:
        named: dict[bytes, bytes] = {}
        for each in authenticators:
            for challenge in challenges_of(each):
                named.setdefault(_scheme(challenge), challenge)
        self._named = {scheme: (_NAME, each) for scheme, each in named.items()}
        offered = tuple(named.values()) or (b"Bearer",)
        self.plain = tuple((_NAME, each) for each in offered)
        self.failed = tuple((_NAME, _with_error(each)) for each in offered)

    def complete(self, refusal: AuthenticationError) -> None:
        """Let *refusal* offer every scheme; what it says itself comes first and is kept."""
        own = {_scheme(value) for name, value in refusal.headers if name == _NAME}
        if not own:
            refusal.headers = (*refusal.headers, *self.failed)
            return
        others = [line for scheme, line in self._named.items() if scheme not in own]
        refusal.headers = (*refusal.headers, *others)


def challenges_of(authenticator: object) -> tuple[bytes, ...]:
    """Return the challenges that *authenticator* names; none if it names none.

    Raises:
        ConfigError: One could not stand in a header.
    """
    named = authenticator.challenges if isinstance(authenticator, Challenger) else ()
    for each in named:
        if not isinstance(each, bytes) or not _CHALLENGE.fullmatch(each):
            raise ConfigError("challenges", f"{each!r} is none", "Write e.g. b'Bearer'.")
    return tuple(named)


def _scheme(challenge: bytes) -> bytes:
    return challenge.partition(b" ")[0].lower()


def _with_error(challenge: bytes) -> bytes:
    scheme, _, parameters = challenge.partition(b" ")
    if scheme.lower() not in _OAUTH:
        return challenge
    error = b'error="invalid_token"'
    return b"%b %b" % (scheme, b", ".join(part for part in (parameters, error) if part))
