"""What ends refresh families before their time: one of them, a session's, a user's."""

from __future__ import annotations

from asgi_guard.auth.jose.revocations import TokenRevocations
from asgi_guard.auth.refresh.families import Families
from asgi_guard.auth.refresh.reporting import Case, hashed, reported
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Clock

__all__ = ["RefreshEndings"]


class RefreshEndings:
    """The part of `RefreshTokens` that needs no token.

    Args:
        families: The records.
        issuer: Whose tokens they are.
        access: Where access tokens are revoked with them.
        clock: Where "now" comes from.

    Raises:
        ConfigError: *access* is something else, or of another issuer: nothing would end there.
    """

    def __init__(
        self, families: Families, *, issuer: str, access: TokenRevocations | None, clock: Clock
    ) -> None:
        if not isinstance(access, TokenRevocations | None):
            raise ConfigError("access", "are none", "Pass TokenRevocations, or None.")
        if access is not None and access.issuer != issuer:
            raise ConfigError("access", "is of another issuer", "Make it of the access policy.")
        self._families = families
        self._access = access
        self._clock = clock

    async def revoke_family(self, family: str) -> bool:
        """End one family; return whether there was one.

        Raises:
            UnavailableError: The store does not answer; it may not be revoked.
        """
        with reported("REFRESH_REVOKED", clock=self._clock) as case:
            return await self._end(family, "refresh_family_revoked", case)

    async def revoke_session(self, session_id: str) -> None:
        """End every family of a session, also one that begins later.

        Raises:
            UnavailableError: The store does not answer; it may not be revoked.
        """
        with reported("REFRESH_REVOKED", clock=self._clock) as case:
            case.details["session_sha256"] = hashed(session_id)
            await self._families.end_session(session_id)
            if self._access is not None:
                await self._access.end("session", session_id)

    async def revoke_user(self, subject: str) -> None:
        """End every family of a user that has begun before: "log out everywhere".

        Raises:
            UnavailableError: The store does not answer; it may not be revoked.
        """
        with reported("REFRESH_REVOKED", clock=self._clock) as case:
            case.details["user_sha256"] = hashed(subject)
            await self._families.end_user(subject)
            if self._access is not None:
                await self._access.end("user", subject)

    async def _end(self, name: str, reason: str, case: Case) -> bool:
        case.details["family_sha256"] = hashed(name)
        # The access tokens first: a family that has ended is refused without a second look, so
        # if the store failed after that, nobody would come back to end them.
        if self._access is not None:
            await self._access.end("family", name)
        ended = await self._families.end(name, reason)
        case.family = ended or case.family
        return ended is not None
