"""The authorization server as a command-line program meets it: metadata, tokens, revocation.

RFC 8414 metadata (or OpenID Connect Discovery), the token endpoint of RFC 6749, RFC 7009. A public
client: a program that everybody can read keeps no secret (RFC 8252 section 8.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit, urlunsplit

from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.auth.oidc.addresses import address_problem
from asgi_guard.errors import AuthenticationError, ConfigError, UnavailableError
from asgi_guard.protocols import Fetch, FetchResponse

__all__ = ["AuthorizationServer", "Tokens", "discover", "error_of"]

_MOST_BYTES: Final = 64 * 1024
_OK: Final = 200
_FORM: Final = {
    "content-type": "application/x-www-form-urlencoded",
    "accept": "application/json",
}
_ENDPOINTS: Final = (
    "authorization_endpoint",
    "token_endpoint",
    "device_authorization_endpoint",
    "revocation_endpoint",
)
_ERROR: Final = re.compile(r"[a-z0-9_]{1,64}")
_LONGEST_TOKEN: Final = 16 * 1024
_LONGEST_LIFE: Final = 10 * 365 * 86_400


class Tokens(NamedTuple):
    """What a login brought.

    Args:
        access_token: Sent with requests.
        refresh_token: Empty if there is none.
        expires_in: Seconds of the access token's life; None if it was not said.
        scopes: What was granted.
    """

    access_token: str
    refresh_token: str
    expires_in: float | None
    scopes: frozenset[str]

    def __repr__(self) -> str:
        return f"Tokens(expires_in={self.expires_in}, scopes={sorted(self.scopes)})"


class AuthorizationServer:
    """One server, as its metadata describe it.

    Args:
        issuer: Its identifier.
        metadata: What it says of itself, checked by `discover`.
        fetch: How it is reached.
    """

    def __init__(self, issuer: str, metadata: Mapping[str, Any], *, fetch: Fetch) -> None:
        self.issuer = issuer
        self._metadata = metadata
        self._fetch = fetch

    def endpoint(self, name: str) -> str:
        """Return the address of an endpoint.

        Raises:
            ConfigError: The server has none.
        """
        found = self._metadata.get(name)
        if found is None:
            raise ConfigError(self.issuer, f"has no {name}", "Choose another --flow.")
        return str(found)

    def has(self, name: str) -> bool:
        """Tell whether there is such an endpoint, or whether such a flag is set."""
        return bool(self._metadata.get(name))

    def require(self, name: str, value: str) -> None:
        """Refuse a server whose list *name* lacks *value*; one without the list is believed.

        Raises:
            ConfigError: It lacks it.
        """
        offered = self._metadata.get(name)
        if offered is not None and (not isinstance(offered, list) or value not in offered):
            raise ConfigError(self.issuer, f"has {name} without {value}", "Choose another --flow.")

    async def ask(self, endpoint: str, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Post *form*; return the status, and the JSON object of the answer, if it is one.

        Raises:
            ConfigError: There is no such endpoint.
            UnavailableError: The server does not answer, or not now.
        """
        body = urlencode(form).encode()
        answer = await _fetched(self._fetch, "POST", self.endpoint(endpoint), _FORM, body)
        if answer.status >= 500 or answer.status == 429:  # noqa: PLR2004 - RFC 9110 section 15
            raise UnavailableError("login_server_busy")
        return answer.status, strict_object(answer.body) or {}

    async def tokens(self, form: Mapping[str, str], *, scope: str) -> Tokens:
        """Ask the token endpoint, and take its answer.

        Args:
            form: The request (RFC 6749 section 4).
            scope: What was asked for: what is granted when the answer does not say.

        Raises:
            AuthenticationError: ``reason`` is ``login_`` and the error of RFC 6749 section 5.2 or
                RFC 8628 section 3.5, or says what was wrong with the answer.
            ConfigError: There is no such endpoint.
            UnavailableError: The server does not answer.
        """
        status, answer = await self.ask("token_endpoint", form)
        if status != _OK:
            raise AuthenticationError(f"login_{error_of(answer)}")
        return _tokens(answer, scope)

    async def revoke(self, token: str, *, kind: str, client_id: str) -> bool:
        """Have a token revoked (RFC 7009); tell whether the server says that it is.

        Raises:
            ConfigError: There is no such endpoint.
            UnavailableError: The server does not answer, or not now (section 2.2.1).
        """
        form = {"token": token, "token_type_hint": kind, "client_id": client_id}
        status, _ = await self.ask("revocation_endpoint", form)
        return status == _OK


async def discover(issuer: str, *, fetch: Fetch, allow_http: bool = False) -> AuthorizationServer:
    """Find out where a server's endpoints are (RFC 8414 section 3, then OpenID Discovery).

    Raises:
        AuthenticationError: ``login_issuer_mismatch``: it speaks for another issuer
            (section 3.3); ``login_endpoint_refused``: an endpoint is no https address.
        ConfigError: *issuer* is none, or has no metadata.
        UnavailableError: It does not answer.
    """
    if problem := address_problem(issuer, allow_http=allow_http):
        raise ConfigError("--issuer", f"{problem}", "Write e.g. https://id.example.")
    for address in _metadata_addresses(issuer):
        answer = await _fetched(fetch, "GET", address, {"accept": "application/json"}, b"")
        if answer.status == _OK and (metadata := strict_object(answer.body)) is not None:
            break
    else:
        raise ConfigError("--issuer", "has no metadata", "Ask who runs it for the issuer's name.")
    if metadata.get("issuer") != issuer:
        raise AuthenticationError("login_issuer_mismatch")
    for name in _ENDPOINTS:
        if name in metadata and address_problem(metadata[name], allow_http=allow_http):
            raise AuthenticationError("login_endpoint_refused")
    return AuthorizationServer(issuer, metadata, fetch=fetch)


def error_of(answer: Mapping[str, Any]) -> str:
    """Return the error code of an answer; nothing that could steer a terminal."""
    found = answer.get("error")
    return found if isinstance(found, str) and _ERROR.fullmatch(found) else "refused"


def _metadata_addresses(issuer: str) -> list[str]:
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    between = f"/.well-known/oauth-authorization-server{path}"
    after = f"{path}/.well-known/openid-configuration"
    return [urlunsplit((parts.scheme, parts.netloc, each, "", "")) for each in (between, after)]


async def _fetched(
    fetch: Fetch, method: str, url: str, headers: Mapping[str, str], body: bytes
) -> FetchResponse:
    try:
        return await fetch(method, url, headers=headers, body=body, max_bytes=_MOST_BYTES)
    except UnavailableError:
        raise
    except Exception as failure:
        raise UnavailableError("login_server_unreachable") from failure


def _tokens(answer: Mapping[str, Any], asked: str) -> Tokens:
    access, refresh = answer.get("access_token"), answer.get("refresh_token", "")
    life, scope = answer.get("expires_in"), answer.get("scope", asked)
    kind = answer.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise AuthenticationError("login_token_type")  # RFC 6749 section 7.1: not understood
    if not _is_token(access) or not (refresh == "" or _is_token(refresh)):
        raise AuthenticationError("login_token_malformed")
    if not isinstance(scope, str):
        raise AuthenticationError("login_scope_malformed")
    if life is not None and (
        isinstance(life, bool) or not isinstance(life, int | float) or not 0 < life < _LONGEST_LIFE
    ):
        raise AuthenticationError("login_expires_in_malformed")
    return Tokens(str(access), str(refresh), life, frozenset(scope.split()))


def _is_token(value: object) -> bool:
    # RFC 6749 appendix A.12: visible ASCII; anything else would break out of a header.
    return (
        isinstance(value, str)
        and 0 < len(value) <= _LONGEST_TOKEN
        and value.isascii()
        and value.isprintable()
        and " " not in value
    )
