"""RefreshTokens: issue, rotate and revoke them (RFC 6749 section 6, RFC 9700 section 4.14)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.jose.issued_token import IssuedToken
from asgi_guard.auth.jose.issuer import TokenIssuer
from asgi_guard.auth.jose.revocations import TokenRevocations
from asgi_guard.auth.jose.verified_token import VerifiedToken
from asgi_guard.auth.jose.verifier import TokenVerifier
from asgi_guard.auth.refresh.endings import RefreshEndings
from asgi_guard.auth.refresh.families import Families, new_name
from asgi_guard.auth.refresh.family import Family
from asgi_guard.auth.refresh.grant import (
    RefreshGrant,
    check_binding,
    grant_of,
    granted_scopes,
    words,
)
from asgi_guard.auth.refresh.reporting import Case, hashed, reported
from asgi_guard.errors import ConfigError, RefreshRefusedError, UnavailableError
from asgi_guard.protocols import Clock, KeyValueStore

__all__ = ["RefreshTokens"]

_DAY: Final = 86_400.0
_LONGEST_GRACE: Final = 60.0
_LONGEST_FAMILY: Final = 30 * _DAY
_TYPE: Final = "refresh"
_ATTEMPTS: Final = 4  # each failed one means that another process was faster


class RefreshTokens(RefreshEndings):
    """Refresh tokens that work once, in families that end together.

    A token that was rotated and comes back within *grace* is taken for one whose reply was lost:
    the same successor is made again, with the same id and times. So two requests with one token
    at once, in whichever processes, get one and the same successor. After that, or once the
    successor was used, it is a copy in the wrong hands: the family ends (RFC 9700 section 4.14.2)
    and ``REFRESH_REUSED`` is left.

    Args:
        store: Shared by all processes; holds no token.
        issuer: Signs; its policy has the type ``refresh``.
        verifier: Of the same policy.
        grace: Seconds for a lost reply, 0 to 60. A thief who is that fast gets the successor
            too, and is found out at the next use; bind tokens to keys (``jkt``) against that.
        absolute: Seconds from the login to the end of its family, up to 30 days.
        access: Where access tokens are revoked when their family, session or user is.
        clock: Where "now" comes from.

    Raises:
        ConfigError: An argument is not what it should be.

    Every refusal is a `RefreshRefusedError` that tells the caller ``invalid_grant`` or
    ``invalid_scope``; the reason is in the event. Does not authenticate the client: its id is
    what the app has verified, or for a public client what it says.
    """

    def __init__(
        self,
        store: KeyValueStore,
        *,
        issuer: TokenIssuer,
        verifier: TokenVerifier,
        grace: float = 10.0,
        absolute: float = _LONGEST_FAMILY,
        access: TokenRevocations | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        policy = issuer.policy
        if isinstance(store, type) or not isinstance(store, KeyValueStore):
            raise ConfigError("store", "is no KeyValueStore", "Pass e.g. a MemoryStore.")
        if _TYPE not in policy.types or verifier.policy.sha256 != policy.sha256:
            raise ConfigError(
                "issuer, verifier", "have no common policy with refresh tokens", "Share one."
            )
        if not 0 <= grace <= _LONGEST_GRACE:
            raise ConfigError("grace", f"is {grace!r}", "Pass 0 to 60 seconds.")
        if not 0 < absolute <= _LONGEST_FAMILY:
            raise ConfigError("absolute", f"is {absolute!r}", "Pass up to 30 days, in seconds.")
        self._issuer, self._verifier = issuer, verifier
        self._grace, self._absolute = grace, absolute
        families = Families(store, issuer=policy.issuer, absolute=absolute, clock=clock)
        super().__init__(families, issuer=policy.issuer, access=access, clock=clock)

    async def start(
        self,
        subject: str,
        *,
        client_id: str,
        tenant_id: str | None = None,
        session_id: str | None = None,
        scopes: Iterable[str] = (),
        jkt: str | None = None,
    ) -> RefreshGrant:
        """Begin a family: a user has just logged in.

        Args:
            subject: Stable id of the user.
            client_id: The OAuth client that logged the user in.
            tenant_id: Tenant of the login.
            session_id: Server-side session behind it.
            scopes: OAuth scopes that were granted; later ones are never more.
            jkt: Thumbprint of the client's DPoP key; only who has the key can then refresh.

        Raises:
            ConfigError: The policy would refuse the token.
            UnavailableError: The store does not answer, or too many tokens wait to be signed.
        """
        with reported("REFRESH_STARTED", clock=self._clock) as case:
            now = self._clock.now()
            case.family = family = Family(
                subject=subject,
                client_id=client_id,
                tenant_id=tenant_id,
                session_id=session_id,
                scopes=tuple(sorted(words(scopes))),
                jkt=jkt,
                ends_at=now + self._absolute,
                jti="",
                issued_at=now,
                expires_at=0,
                user_mark=await self._families.user_mark(subject),
            ).rotated(new_name(), now=now, lifetime=self._lifetime)
            name = new_name()
            token = await self._sign(name, family, case)
            await self._families.begin(name, family)
            return grant_of(name, family, token, family.scopes)

    async def refresh(
        self,
        token: bytes | str,
        *,
        client_id: str,
        tenant_id: str | None = None,
        scopes: Iterable[str] | None = None,
        jkt: str | None = None,
        client: str | None = None,
        request_id: str | None = None,
    ) -> RefreshGrant:
        """Take a refresh token, and return what it stands for with the next one.

        Args:
            token: As the client sent it.
            client_id: Who sent it.
            tenant_id: Tenant that the request names; None if it names none.
            scopes: What is asked for, at most what was granted at the login; None for all of it.
            jkt: Thumbprint of the DPoP key that the request proved to have.
            client: Address, for the event.
            request_id: For the event.

        Raises:
            RefreshRefusedError: It does not verify, is bound to somebody or something else, was
                used before, or has ended.
            UnavailableError: The store does not answer, or too many tokens wait to be signed. The
                client may send the same token again.
        """
        with reported("REFRESH_ROTATED", clock=self._clock) as case:
            case.refuse_as("REFRESH_REFUSED")
            case.client, case.request_id = client, request_id
            judged = self._verifier.verify(token, token_type=_TYPE)
            del token  # error trackers record locals
            verified = await judged
            case.details |= verified.details
            for _ in range(_ATTEMPTS):
                family, stored = await self._found(verified, case)
                check_binding(family, client_id=client_id, tenant_id=tenant_id, jkt=jkt)
                granted = granted_scopes(family, scopes)
                next_token = await self._next(verified, family, stored, case)
                if next_token is not None:
                    return grant_of(verified.claims["fam"], family, next_token, granted)
            raise UnavailableError("refresh_contended")

    async def revoke(self, token: bytes | str, *, client_id: str) -> bool:
        """End the family of a token that a client gives back (RFC 7009 section 2.1).

        Returns:
            False if there is nothing to end; to the client that is no error (section 2.2).

        Raises:
            UnavailableError: The store does not answer; it may not be revoked.
        """
        try:
            with reported("REFRESH_REVOKED", clock=self._clock) as case:
                judged = self._verifier.verify(token, token_type=_TYPE)
                del token
                verified = await judged
                case.details |= verified.details
                family, _ = await self._found(verified, case)
                check_binding(family, client_id=client_id, jkt=family.jkt)
                await self._end(verified.claims["fam"], "refresh_given_back", case)
        except RefreshRefusedError:
            return False
        return True

    @property
    def _lifetime(self) -> int:
        return self._issuer.policy.refresh_lifetime

    async def _found(self, verified: VerifiedToken, case: Case) -> tuple[Family, bytes]:
        name, subject = verified.claims["fam"], verified.claims["sub"]
        if not isinstance(name, str) or not isinstance(subject, str):
            raise RefreshRefusedError("refresh_family_unknown")
        case.details["family_sha256"] = hashed(name)
        found = await self._families.find(name, subject=subject)
        if found.family is None or found.family.subject != subject:
            raise RefreshRefusedError("refresh_family_unknown")
        case.family = found.family
        if found.family.revoked or found.ended:
            raise RefreshRefusedError(found.ended or found.family.revoked)
        if self._clock.now() >= found.family.ends_at:
            raise RefreshRefusedError("refresh_login_too_old")
        return found.family, found.stored

    async def _next(
        self, verified: VerifiedToken, family: Family, stored: bytes, case: Case
    ) -> IssuedToken | None:
        """Return the successor; None if another process has changed the family meanwhile."""
        name, now = verified.claims["fam"], self._clock.now()
        standing = family.standing(str(verified.claims["jti"]), now=now, grace=self._grace)
        if standing == "reused":
            case.refuse_as("REFRESH_REUSED")
            await self._end(name, "refresh_reused", case)
            raise RefreshRefusedError("refresh_reused")
        case.details["lost_reply"] = standing == "lost_reply"
        if standing == "lost_reply":
            return await self._sign(name, family, case)
        rotated = family.rotated(new_name(), now=now, lifetime=self._lifetime)
        # Signed first: a token that cannot be signed now must not have used up the one before.
        token = await self._sign(name, rotated, case)
        if not await self._families.replace(name, stored, rotated):
            return None
        case.family = rotated
        return token

    async def _sign(self, name: str, family: Family, case: Case) -> IssuedToken:
        token = await self._issuer.sign_refresh(
            family.subject,
            family=name,
            jti=family.jti,
            issued_at=int(family.issued_at),
            expires_at=family.expires_at,
        )
        case.details |= {"family_sha256": hashed(name), "next_jti_sha256": token.jti_sha256}
        return token
