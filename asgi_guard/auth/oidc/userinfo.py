"""Fetch further claims (OpenID Connect Core 1.0 section 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asgi_guard.auth.jose.strict_json import frozen
from asgi_guard.auth.oidc.documents import ProviderClient
from asgi_guard.auth.oidc.metadata import ProviderMetadata
from asgi_guard.auth.oidc.refusal import refuse
from asgi_guard.secret import Secret

__all__ = ["fetch_userinfo"]


async def fetch_userinfo(
    client: ProviderClient, metadata: ProviderMetadata, *, access_token: Secret, subject: str
) -> Mapping[str, Any]:
    """Return the claims about *subject*, read-only.

    Args:
        client: How the provider is asked.
        metadata: What it says of itself.
        access_token: From the token endpoint.
        subject: The ``sub`` of the ID token. Claims of anybody else must not be used (section
            5.3.2): a swapped access token would make one user of two.

    Raises:
        UnavailableError: The provider does not answer.
        LoginRefusedError: It has no such endpoint, its answer is none, or is about another.
    """
    if metadata.userinfo_endpoint is None:
        refuse("userinfo_endpoint_missing")
    answer = await client.ask(
        "GET",
        metadata.userinfo_endpoint,
        what="userinfo",
        headers={"authorization": f"Bearer {access_token.reveal()}"},
    )
    if answer.members.get("sub") != subject:
        refuse("userinfo_sub_mismatch")
    claims: Mapping[str, Any] = frozen(answer.members)
    return claims
