"""The authorization request, and what comes back (OpenID Connect Core 1.0 section 3.1.2)."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.auth.oidc.metadata import ProviderMetadata
from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.auth.oidc.refusal import refuse

__all__ = ["Callback", "authorization_url", "new_verifier", "read_parameters", "with_query"]

_LONGEST_QUERY: Final = 8 * 1024
_MOST_PARAMETERS: Final = 32
_CODE: Final = re.compile(r"[\x20-\x7e]{1,4096}")  # RFC 6749 appendix A.11
# RFC 6749 section 4.1.2.1, Core 1.0 section 3.1.2.6: what may be repeated in an event.
_ERRORS: Final = frozenset(
    {
        "access_denied",
        "account_selection_required",
        "consent_required",
        "interaction_required",
        "invalid_request",
        "invalid_scope",
        "login_required",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_response_type",
    }
)


class Callback(NamedTuple):
    """The parameters of an authorization response."""

    state: str | None
    code: str | None
    iss: str | None
    error: str | None

    def __repr__(self) -> str:
        return "Callback(**********)"

    @property
    def known_error(self) -> str:
        """The provider's error if it is a registered one; its own words are nobody's."""
        return self.error if self.error in _ERRORS else "other"

    def proven_code(self, provider: OIDCProvider, metadata: ProviderMetadata) -> str:
        """Return the code, once the response is *provider*'s (RFC 9207 section 2.4).

        Raises:
            LoginRefusedError: Another provider answered, or this one does not say who it is
                although it always does, or it refused, or there is no code.
        """
        if self.iss is None and metadata.names_itself:
            refuse("iss_missing")
        if self.iss is not None and self.iss != provider.issuer:
            refuse("iss_mismatch")
        if self.error is not None:
            refuse("provider_error")
        if self.code is None:
            refuse("code_missing")
        if not _CODE.fullmatch(self.code):
            refuse("code_malformed")
        return self.code

    @classmethod
    def read(cls, query: bytes) -> Callback:
        """Read a query string.

        Raises:
            LoginRefusedError: It is too long, no text, or names a parameter twice.
        """
        found = read_parameters(query)
        return cls(*(found.get(name) for name in cls._fields))


def read_parameters(encoded: bytes, *, longest: int = _LONGEST_QUERY) -> dict[str, str]:
    """Read a query or form, in which no name may come twice (RFC 6749 section 3.1).

    Raises:
        LoginRefusedError: It is too long, no UTF-8 text, or names a parameter twice.
    """
    if len(encoded) > longest:
        refuse("parameters_too_long")
    pairs: list[tuple[str, str]] | None = None
    try:
        pairs = parse_qsl(
            encoded.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError:
        pairs = None
    if pairs is None:
        refuse("parameters_malformed")
    found = dict(pairs)
    if len(found) != len(pairs):
        refuse("parameter_repeated")
    return found


def new_verifier() -> str:
    """Return a code verifier: 43 characters (RFC 7636 section 4.1)."""
    return secrets.token_urlsafe(32)


def authorization_url(
    provider: OIDCProvider,
    metadata: ProviderMetadata,
    *,
    state: str,
    nonce: str,
    verifier: str,
) -> str:
    """Return where the browser is sent.

    Args:
        provider: Who is asked.
        metadata: What it says of itself.
        state: Comes back with the answer.
        nonce: Comes back inside the ID token.
        verifier: Stays here; its hash goes along (RFC 7636 section 4.2).
    """
    fields = {
        **provider.parameters,
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": provider.redirect_uri,
        "scope": " ".join(provider.scopes),
        "state": state,
        "nonce": nonce,
        "code_challenge": b64url_encode(sha256(verifier.encode()).digest()).decode(),
        "code_challenge_method": "S256",
    }
    if provider.max_age is not None:
        fields["max_age"] = str(provider.max_age)
    if provider.acr_values:
        fields["acr_values"] = " ".join(provider.acr_values)
    return with_query(metadata.authorization_endpoint, fields)


def with_query(url: str, fields: dict[str, str]) -> str:
    """Return *url* with *fields* added to its query (RFC 6749 section 3.1)."""
    return url + ("&" if "?" in url else "?") + urlencode(fields)
