"""RefreshGrant: what a refresh token stands for, to whom, and the token that comes next. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from asgi_guard.auth.jose.issued_token import IssuedToken
from asgi_guard.auth.refresh.family import Family
from asgi_guard.errors import ConfigError, RefreshRefusedError

__all__ = ["RefreshGrant", "check_binding", "grant_of", "granted_scopes", "words"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshGrant:
    """What an access token may now be issued for, and the refresh token to send with it.

    Args:
        token: The next refresh token; the one before it no longer works.
        family: Names all refresh tokens of one login; put it into access tokens as ``fam``, so
            that they end with it.
        subject: Whose they are.
        client_id: The OAuth client they were issued to.
        tenant_id: Tenant of the login.
        session_id: Server-side session of the login.
        scopes: Granted now: what was asked for, never more than at the login.
        jkt: Thumbprint of the DPoP key they are bound to (RFC 9449 section 5).
        ends_at: Unix seconds after which there is nothing but a new login.
    """

    token: IssuedToken
    family: str
    subject: str
    client_id: str
    tenant_id: str | None
    session_id: str | None
    scopes: frozenset[str]
    jkt: str | None
    ends_at: float


def grant_of(name: str, family: Family, token: IssuedToken, scopes: Iterable[str]) -> RefreshGrant:
    """Return the grant of *family*, called *name*, with its next *token*."""
    return RefreshGrant(
        token=token,
        family=name,
        subject=family.subject,
        client_id=family.client_id,
        tenant_id=family.tenant_id,
        session_id=family.session_id,
        scopes=frozenset(scopes),
        jkt=family.jkt,
        ends_at=family.ends_at,
    )


def check_binding(
    family: Family, *, client_id: str, tenant_id: str | None = None, jkt: str | None = None
) -> None:
    """Refuse a token in other hands (RFC 6749 section 6, RFC 9449 section 5).

    Its family goes on: nobody can use it there, and to end it would let whoever finds an old
    token log its owner out.

    Raises:
        RefreshRefusedError: It was issued to another client, in another tenant, for another key.
    """
    if client_id != family.client_id:
        raise RefreshRefusedError("refresh_client_foreign")
    if tenant_id is not None and tenant_id != family.tenant_id:
        raise RefreshRefusedError("refresh_tenant_foreign")
    if family.jkt is not None and jkt != family.jkt:
        raise RefreshRefusedError("refresh_key_foreign")


def granted_scopes(family: Family, asked: Iterable[str] | None) -> frozenset[str]:
    """Return the scopes to grant now (RFC 6749 section 6): those *asked* for, or all of them.

    Raises:
        RefreshRefusedError: More is asked for than the login granted.
        ConfigError: One text was passed instead of a list.
    """
    granted = frozenset(family.scopes)
    wanted = granted if asked is None else words(asked)
    if not wanted <= granted:
        raise RefreshRefusedError("refresh_scope_exceeds", code="invalid_scope")
    return wanted


def words(scopes: Iterable[str]) -> frozenset[str]:
    """Return *scopes* as a set.

    Raises:
        ConfigError: They are one text, whose letters would each become a scope.
    """
    if isinstance(scopes, str):
        raise ConfigError("scopes", "is one text", "Pass a list: scope.split().")
    return frozenset(scopes)
