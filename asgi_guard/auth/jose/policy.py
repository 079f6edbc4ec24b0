"""JwtPolicy: what a token must be, as one value that services share and can compare."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from hashlib import sha256
from typing import Any, Final, Self

from asgi_guard.auth.jose.algorithms import SHORTEST_SECRET, canonical_algorithm
from asgi_guard.auth.jose.compact_jws import LONGEST_TOKEN
from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.errors import ConfigError

__all__ = ["TOKEN_TYPES", "JwtPolicy"]

_FORMAT: Final = 1
_DAY: Final = 86_400
_LONGEST_SKEW: Final = 300
_LIFETIME_LIMITS: Final = {
    "access_lifetime": _DAY,
    "id_lifetime": _DAY,
    "refresh_lifetime": 30 * _DAY,  # the end of a session, however often it was refreshed
    "logout_lifetime": 600,
}

TOKEN_TYPES: Final = {
    "access": "at+jwt",  # RFC 9068 section 2.1
    "id": "jwt",  # OpenID Connect Core 1.0 names none; RFC 7519 section 5.1 does
    "refresh": "refresh+jwt",  # ours: nobody else reads it
    "logout": "logout+jwt",  # OpenID Connect Back-Channel Logout 1.0 section 2.4
}
"""The ``typ`` of each kind of token, lower-case (RFC 8725 section 3.11). A DPoP proof
(``dpop+jwt``) is none of them: it is signed by whoever sends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtPolicy:
    """What services agree on about their tokens; make one, export it, compare the hashes.

    Args:
        issuer: The one accepted ``iss``, compared letter by letter.
        audience: Who the tokens are for; ``aud`` must name it.
        algorithms: Accepted ``alg`` names; not symmetric and asymmetric ones together, for then
            a public key could be used as a secret (RFC 8725 section 2.1).
        types: Kinds of token that are issued and accepted: some of `TOKEN_TYPES`.
        access_lifetime: Most seconds from ``iat`` to ``exp`` of an access token, up to a day.
        id_lifetime: The same of an ID token.
        refresh_lifetime: The same of a refresh token, up to 30 days.
        logout_lifetime: The same of a logout token, up to 10 minutes.
        skew: Seconds by which clocks may differ, 0 to 300.
        required_claims: What an access token must hold besides ``iss``, ``aud`` and ``exp``. The
            default is what RFC 9068 section 2.2 asks for.
        tenant_claim: Claim that binds a token to a tenant; optional in a token.
        roles_claim: Claim with a list of roles; optional in a token.
        longest_token: Most bytes of a token.
        insecure_untyped_access: Also take access tokens whose ``typ`` is ``JWT`` or missing, as
            issuers older than RFC 9068 write them. An ID token then passes for one.
        insecure_any_lifetime: Set no cap on the lifetime of access tokens.

    Raises:
        ConfigError: A value is empty, unknown, or looser than the limits above.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...] = ("RS256",)
    types: tuple[str, ...] = ("access",)
    access_lifetime: int = 600
    id_lifetime: int = 300
    refresh_lifetime: int = 14 * _DAY
    logout_lifetime: int = 120
    skew: float = 30
    required_claims: tuple[str, ...] = ("client_id", "iat", "jti", "sub")
    tenant_claim: str = "tenant_id"
    roles_claim: str = "roles"
    longest_token: int = LONGEST_TOKEN
    insecure_untyped_access: bool = False
    insecure_any_lifetime: bool = False
    sha256: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a policy that would accept anyone's token; order does not matter in it."""
        for name in ("issuer", "audience", "tenant_claim", "roles_claim"):
            _check_text(name, getattr(self, name))
        algorithms = self._list_of("algorithms")
        self._normalise(
            "algorithms", [canonical_algorithm(each, setting="algorithms") for each in algorithms]
        )
        self._normalise("types", self._list_of("types"))
        self._normalise("required_claims", self._list_of("required_claims"))
        self._check_algorithms()
        self._check_numbers()
        if not self.types or not set(self.types) <= set(TOKEN_TYPES):
            raise ConfigError("types", f"is {self.types!r}", f"Use some of {list(TOKEN_TYPES)}.")
        object.__setattr__(self, "sha256", sha256(self.to_json().encode()).hexdigest())

    def to_json(self) -> str:
        """Return the policy as canonical JSON: sorted, without spaces, ASCII only.

        Two services that show the same `sha256` of it accept and refuse the same tokens.
        """
        members = {each.name: getattr(self, each.name) for each in fields(self) if each.init}
        return json.dumps({"version": _FORMAT, **members}, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ConfigError: It is no such JSON, of another version, or has members that are unknown
                here: a rule that is not understood must not be dropped.
        """
        found = strict_object(
            text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        )
        if found is None or found.pop("version", None) != _FORMAT:
            raise ConfigError("JwtPolicy", "is no policy of version 1", "Export it again.")
        known = {each.name for each in fields(cls) if each.init}
        if set(found) != known:
            unlike = ", ".join(sorted(set(found) ^ known))
            raise ConfigError("JwtPolicy", f"differs in its members: {unlike}", "Export it again.")
        return cls(**{name: _hashable(value) for name, value in found.items()})

    def lifetime_of(self, token_type: str) -> int:
        """Return the most seconds that a token of *token_type* may live."""
        lifetime: int = getattr(self, f"{token_type}_lifetime")
        return lifetime

    @property
    def longest_lifetime(self) -> float:
        """Seconds after which no token made under this policy is accepted any more."""
        return max(self.lifetime_of(each) for each in self.types) + self.skew

    def _list_of(self, name: str) -> list[str]:
        value = getattr(self, name)
        is_list = isinstance(value, tuple | list | set | frozenset)
        if not is_list or not all(isinstance(each, str) and each for each in value):
            raise ConfigError(name, f"is {value!r}", "Pass a tuple of names.")
        return list(value)

    def _normalise(self, name: str, values: list[str]) -> None:
        object.__setattr__(self, name, tuple(sorted(set(values))))

    def _check_algorithms(self) -> None:
        symmetric = set(self.algorithms) & set(SHORTEST_SECRET)
        if not self.algorithms:
            raise ConfigError("algorithms", "is empty", 'Pass e.g. ("RS256",).')
        if symmetric and len(symmetric) != len(self.algorithms):
            raise ConfigError(
                "algorithms",
                "mixes symmetric and asymmetric ones",
                "Make one policy and one verifier for each.",
            )

    def _check_numbers(self) -> None:
        for name, most in _LIFETIME_LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not 0 < value <= most:
                raise ConfigError(name, f"is {value!r}", f"Pass 1 to {most} seconds.")
        if type(self.skew) not in {int, float} or not 0 <= self.skew <= _LONGEST_SKEW:
            raise ConfigError("skew", f"is {self.skew!r}", f"Pass 0 to {_LONGEST_SKEW} seconds.")
        if self.skew == int(self.skew):
            object.__setattr__(self, "skew", int(self.skew))  # 30 and 30.0 are one policy
        if type(self.longest_token) is not int or not 0 < self.longest_token <= LONGEST_TOKEN:
            raise ConfigError(
                "longest_token", f"is {self.longest_token!r}", f"Pass 1 to {LONGEST_TOKEN} bytes."
            )
        for name in ("insecure_untyped_access", "insecure_any_lifetime"):
            if type(getattr(self, name)) is not bool:
                raise ConfigError(name, "is no bool", "Pass True or False.")


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ConfigError(name, "is not a non-empty string", "Name it.")


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
