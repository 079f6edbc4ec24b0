"""Exchange a code for tokens (OpenID Connect Core 1.0 section 3.1.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from asgi_guard.auth.oidc.documents import ProviderClient
from asgi_guard.auth.oidc.metadata import ProviderMetadata
from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.auth.oidc.refusal import refuse
from asgi_guard.auth.oidc.verified_login import TokenSet
from asgi_guard.secret import Secret

__all__ = ["exchange_code"]

_FORM: Final = "application/x-www-form-urlencoded"
_OK: Final = 200
_LONGEST: Final = 16 * 1024
_LATEST: Final = 2**31


async def exchange_code(
    client: ProviderClient,
    provider: OIDCProvider,
    metadata: ProviderMetadata,
    *,
    code: str,
    verifier: str,
    now: float,
) -> TokenSet:
    """Return the tokens that *code* stands for; nothing in them is proven yet.

    Args:
        client: How the provider is asked.
        provider: Who is asked, and as whom.
        metadata: What it says of itself.
        code: From the callback.
        verifier: Whose hash went along with the authorization request.
        now: Unix seconds.

    Raises:
        UnavailableError: The provider does not answer.
        LoginRefusedError: It refuses the code or this client, or its answer is none.
    """
    proof = await provider.client_auth.prove(provider.client_id, issuer=provider.issuer, now=now)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": provider.redirect_uri,
        "code_verifier": verifier,
        **proof.fields,
    }
    answer = await client.ask(
        "POST",
        metadata.token_endpoint,
        what="token",
        headers={"content-type": _FORM, **proof.headers},
        body=urlencode(form).encode(),
        also=(400, 401),
    )
    if answer.status != _OK:
        error = answer.members.get("error")
        refuse("token_client_refused" if error == "invalid_client" else "token_code_refused")
    return _token_set(answer.members, now)


def _token_set(members: Mapping[str, Any], now: float) -> TokenSet:
    token_type = members.get("token_type")
    if not isinstance(token_type, str) or token_type.lower() != "bearer":
        refuse("token_type_not_bearer")  # a token bound to a key that nobody here has
    access, identity = _token(members, "access_token"), _token(members, "id_token")
    if access is None:
        refuse("token_access_token_missing")
    if identity is None:
        refuse("token_id_token_missing")
    return TokenSet(
        access_token=access,
        id_token=identity,
        refresh_token=_token(members, "refresh_token"),
        expires_at=_end(members, now),
        scopes=_scopes(members),
    )


def _token(members: Mapping[str, Any], name: str) -> Secret | None:
    value = members.get(name)
    if value is None:
        return None
    is_text = isinstance(value, str) and value.isascii() and value.isprintable()
    if not is_text or not 0 < len(value) <= _LONGEST:
        refuse("token_malformed")
    return Secret(value)


def _end(members: Mapping[str, Any], now: float) -> float | None:
    value = members.get("expires_in")
    if value is None:
        return None
    if type(value) not in {int, float} or not 0 <= value < _LATEST:
        refuse("token_expires_in_malformed")
    return now + float(value)


def _scopes(members: Mapping[str, Any]) -> frozenset[str]:
    value = members.get("scope")
    if value is None:
        return frozenset()
    if not isinstance(value, str):
        refuse("token_scope_malformed")
    return frozenset(value.split())
