"""OIDCProvider: what is agreed with one provider, as one value that is checked when built."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from asgi_guard.auth.jose.policy import JwtPolicy
from asgi_guard.auth.oidc.addresses import address_problem
from asgi_guard.auth.oidc.client_auth import ClientAuthentication
from asgi_guard.errors import ConfigError

__all__ = ["OIDCProvider"]

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_WORD: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,255}")  # scope-token, RFC 6749 section 3.3
_DAY: Final = 86_400
_OURS: Final = frozenset(
    {
        "acr_values",
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "id_token_hint",
        "max_age",
        "nonce",
        "redirect_uri",
        "request",
        "request_uri",
        "response_mode",
        "response_type",
        "scope",
        "state",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OIDCProvider:
    """One provider, as one tenant uses it.

    Args:
        name: Part of the addresses: ``/login/<name>``, ``/callback/<name>``.
        issuer: Its issuer identifier, compared letter by letter.
        client_id: Of this app at the provider.
        client_auth: How this app proves itself at the token endpoint.
        redirect_uri: Registered at the provider: the address of ``/callback/<name>``, exactly.
        scopes: What is asked for; ``openid`` among it.
        algorithms: Accepted ``alg`` of its tokens, none of them symmetric.
        trusted_audiences: Further audiences that an ID token may name beside this app.
        max_age: Most seconds since the user was really there; None for any.
        acr_values: Accepted authentication contexts; asked for, and checked in the answer.
        userinfo: Also fetch the claims of the UserInfo endpoint.
        post_logout_redirect_uri: Where the provider sends the browser after a logout: the
            address of ``/logged-out``. None to end sessions here alone.
        parameters: Further parameters of the authorization request, e.g. ``prompt``.
        skew: Seconds by which the provider's clock may differ.
        insecure_allow_http: Take ``http://`` addresses on loopback, for development and tests.

    Raises:
        ConfigError: A value is missing, malformed, or would weaken the login.
    """

    name: str
    issuer: str
    client_id: str
    client_auth: ClientAuthentication = field(repr=False)
    redirect_uri: str
    scopes: tuple[str, ...] = ("openid",)
    algorithms: tuple[str, ...] = ("RS256",)
    trusted_audiences: frozenset[str] = frozenset()
    max_age: int | None = None
    acr_values: tuple[str, ...] = ()
    userinfo: bool = False
    post_logout_redirect_uri: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    skew: float = 30
    insecure_allow_http: bool = False
    policy: JwtPolicy = field(init=False, repr=False, compare=False)
    fingerprint: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what could not work, or would work for others as well."""
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigError("OIDCProvider.name", f"{self.name!r} is no slug", "Use e.g. google.")
        self._check_addresses()
        if not isinstance(self.client_id, str) or not self.client_id.strip():
            raise ConfigError("OIDCProvider.client_id", "is no text", "As the provider gave it.")
        if isinstance(self.client_auth, type) or not isinstance(
            self.client_auth, ClientAuthentication
        ):
            raise ConfigError(
                "OIDCProvider.client_auth", "proves nothing", "Pass e.g. ClientSecretBasic(secret)."
            )
        self._check_words()
        if self.max_age is not None and (type(self.max_age) is not int or self.max_age < 0):
            raise ConfigError("OIDCProvider.max_age", f"is {self.max_age!r}", "Pass seconds.")
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))
        object.__setattr__(self, "policy", self._policy())
        identity = f"{self.name}\n{self.issuer}\n{self.client_id}\n{self.redirect_uri}"
        object.__setattr__(self, "fingerprint", sha256(identity.encode()).hexdigest())

    @property
    def callback_path(self) -> str:
        """The path of `redirect_uri`."""
        return urlsplit(self.redirect_uri).path

    def _policy(self) -> JwtPolicy:
        symmetric = [each for each in self.algorithms if str(each).startswith("HS")]
        if symmetric:
            raise ConfigError(
                "OIDCProvider.algorithms",
                f"has {symmetric[0]}, where whoever verifies could sign",
                "Register this client with RS256, ES256 or EdDSA.",
            )
        return JwtPolicy(
            issuer=self.issuer,
            audience=self.client_id,
            algorithms=self.algorithms,
            types=("id", "logout"),
            id_lifetime=_DAY,  # Core 1.0 leaves it to the provider; an ID token is used once here
            logout_lifetime=600,
            skew=self.skew,
        )

    def _check_addresses(self) -> None:
        known = {"issuer": self.issuer, "redirect_uri": self.redirect_uri}
        if self.post_logout_redirect_uri is not None:
            known["post_logout_redirect_uri"] = self.post_logout_redirect_uri
        for setting, url in known.items():
            problem = address_problem(url, allow_http=self.insecure_allow_http)
            if not problem and "*" in url:
                problem = "has a wildcard"  # RFC 9700 section 4.1.3: exact matching only
            if not problem and "?" in url:
                problem = "has a query"
            if problem:
                raise ConfigError(
                    f"OIDCProvider.{setting}",
                    f"{problem}: {url!r}",
                    "Write the exact https:// address, as it is registered.",
                )

    def _check_words(self) -> None:
        for setting in ("scopes", "acr_values", "algorithms"):
            value = getattr(self, setting)
            if not isinstance(value, tuple) or not all(
                isinstance(each, str) and _WORD.fullmatch(each) for each in value
            ):
                raise ConfigError(f"OIDCProvider.{setting}", f"is {value!r}", "Pass a tuple.")
        if "openid" not in self.scopes:
            raise ConfigError(
                "OIDCProvider.scopes", "lacks 'openid'", "Without it no ID token comes back."
            )
        if not _is_texts(self.parameters):
            raise ConfigError("OIDCProvider.parameters", "is no dict of texts", "Pass texts.")
        taken = sorted(_OURS & set(self.parameters))
        if taken:
            raise ConfigError(
                "OIDCProvider.parameters", f"sets {', '.join(taken)}", "That is the login's own."
            )


def _is_texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(each, str) for pair in value.items() for each in pair
    )
