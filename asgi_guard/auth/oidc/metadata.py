"""Read a provider's metadata (OpenID Connect Discovery 1.0 section 3, RFC 8414)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from asgi_guard.auth.oidc.addresses import address_problem
from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.auth.oidc.refusal import refuse

__all__ = ["ProviderMetadata", "discovery_url", "read_metadata"]


class ProviderMetadata(NamedTuple):
    """What a login needs to know of a provider; an address that is not there is None.

    ``names_itself``: it says that its authorization responses carry ``iss`` (RFC 9207).
    ``auth_methods``, ``algorithms``: None where it does not say.
    """

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    end_session_endpoint: str | None
    names_itself: bool
    auth_methods: tuple[str, ...] | None
    algorithms: tuple[str, ...] | None


def discovery_url(issuer: str) -> str:
    """Return where the metadata of *issuer* is (Discovery 1.0 section 4)."""
    return issuer.removesuffix("/") + "/.well-known/openid-configuration"


def read_metadata(members: Mapping[str, Any], provider: OIDCProvider) -> ProviderMetadata:
    """Return what *members* say.

    Args:
        members: As the provider sent them.
        provider: Whose they are.

    Raises:
        LoginRefusedError: They are another issuer's (section 4.3), an address in them is missing
            or no https address, or they exclude the code flow or PKCE with S256.
    """
    if members.get("issuer") != provider.issuer:
        refuse("discovery_issuer_mismatch")
    if "code" not in (_words(members, "response_types_supported") or ("code",)):
        refuse("discovery_code_flow_unsupported")
    # A provider that lists methods, and S256 not among them, would ignore the challenge: whoever
    # steals a code could use it (RFC 9700 section 2.1.1).
    if "S256" not in (_words(members, "code_challenge_methods_supported") or ("S256",)):
        refuse("discovery_pkce_unsupported")
    return ProviderMetadata(
        authorization_endpoint=_needed(members, "authorization_endpoint", provider),
        token_endpoint=_needed(members, "token_endpoint", provider),
        jwks_uri=_needed(members, "jwks_uri", provider),
        userinfo_endpoint=_address(members, "userinfo_endpoint", provider),
        end_session_endpoint=_address(members, "end_session_endpoint", provider),
        names_itself=members.get("authorization_response_iss_parameter_supported") is True,
        auth_methods=_words(members, "token_endpoint_auth_methods_supported"),
        algorithms=_words(members, "id_token_signing_alg_values_supported"),
    )


def _needed(members: Mapping[str, Any], name: str, provider: OIDCProvider) -> str:
    found = _address(members, name, provider)
    if found is None:
        refuse(f"discovery_{name}_missing")
    return found


def _address(members: Mapping[str, Any], name: str, provider: OIDCProvider) -> str | None:
    value = members.get(name)
    if value is None:
        return None
    if address_problem(value, allow_http=provider.insecure_allow_http):
        refuse(f"discovery_{name}_invalid")
    return str(value)


def _words(members: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        refuse("discovery_malformed")
    return tuple(value)
