"""What does not fit between the settings of a provider and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from asgi_guard.auth.oidc.discovery import Discovery
from asgi_guard.auth.oidc.metadata import ProviderMetadata
from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.errors import LoginRefusedError, UnavailableError

__all__ = ["OIDCFinding", "findings_of"]


class OIDCFinding(NamedTuple):
    """One thing that would refuse logins, or weaken them.

    Args:
        provider: Name of the provider.
        problem: What does not fit.
        remedy: What to do, one sentence.
    """

    provider: str
    problem: str
    remedy: str


async def findings_of(
    provider: OIDCProvider, discovery: Discovery, *, misplaced: str = ""
) -> list[OIDCFinding]:
    """Return what does not fit; empty if nothing was found.

    Args:
        provider: As it is configured.
        discovery: Asks it.
        misplaced: Where its redirect address leads, if not to its callback.
    """
    found: list[tuple[str, str]] = []
    if misplaced:
        found.append((misplaced, "Register the callback's exact address."))
    reason = ""
    try:
        known = await discovery.learn(provider)
        found += _unfit(provider, known.metadata)
    except (LoginRefusedError, UnavailableError) as failure:
        reason = failure.reason
    if reason:
        found.append((f"its metadata cannot be used: {reason}", "Compare the issuer's address."))
    return [OIDCFinding(provider.name, *each) for each in found]


def _unfit(provider: OIDCProvider, metadata: ProviderMetadata) -> Iterator[tuple[str, str]]:
    methods = metadata.auth_methods or ("client_secret_basic",)  # Discovery 1.0 section 3
    if provider.client_auth.method not in methods:
        yield (
            f"it does not take {provider.client_auth.method}",
            f"Use one of {', '.join(methods)}.",
        )
    offered = metadata.algorithms
    if offered is not None and not set(offered) & set(provider.algorithms):
        yield f"it signs with none of {provider.algorithms}", f"Use one of {', '.join(offered)}."
    if provider.userinfo and metadata.userinfo_endpoint is None:
        yield "it has no UserInfo endpoint", "Set userinfo=False."
    if provider.post_logout_redirect_uri and metadata.end_session_endpoint is None:
        yield "it has no logout of its own", "Leave post_logout_redirect_uri out."
