"""Where the verified principal of a connection travels: in the scope, for the layers inside."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from asgi_guard.protocols import Principal, Scope

__all__ = ["CHALLENGES_KEY", "SCOPE_KEY", "challenges_of", "principal_of", "session_hash"]

SCOPE_KEY: Final = "asgi_guard.principal"
CHALLENGES_KEY: Final = "asgi_guard.challenges"
"""Two tuples of header lines: for nobody's connection, and for a refused credential."""

_BEARER: Final = (
    ((b"www-authenticate", b"Bearer"),),
    ((b"www-authenticate", b'Bearer error="invalid_token"'),),
)


def principal_of(scope: Scope) -> Principal | None:
    """Return who the credential of this connection speaks for, or None."""
    principal: Principal | None = scope.get(SCOPE_KEY)
    return principal


def challenges_of(scope: Scope, *, refused: bool = False) -> tuple[tuple[bytes, bytes], ...]:
    """Return the ``www-authenticate`` lines of what this app takes; ``Bearer`` if nobody said.

    Args:
        scope: Of a connection that an authentication middleware has seen.
        refused: There was a credential, and it is no longer acceptable.
    """
    plain, failed = scope.get(CHALLENGES_KEY, _BEARER)
    lines: tuple[tuple[bytes, bytes], ...] = failed if refused else plain
    return lines


def session_hash(session_id: str | None) -> str | None:
    """Return what events call the session of a principal or context; one home for all of them.

    Whoever reads the log must not be able to take over the session: an issuer's ``sid`` claim or
    an app's own session id may be all that it takes.
    """
    return None if session_id is None else sha256(session_id.encode()).hexdigest()
