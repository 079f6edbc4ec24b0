"""TokenVerifier: a token in, what it proves out, or one kind of error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.jose.claims import ClaimRules
from asgi_guard.auth.jose.compact_jws import (
    CompactJWS,
    check_header,
    parse_compact_jws,
    token_bytes,
)
from asgi_guard.auth.jose.key_source import KeySource
from asgi_guard.auth.jose.policy import TOKEN_TYPES, JwtPolicy
from asgi_guard.auth.jose.principal import principal_of
from asgi_guard.auth.jose.refusal import refuse, without_frames
from asgi_guard.auth.jose.revocations import TokenRevocations
from asgi_guard.auth.jose.strict_json import frozen
from asgi_guard.auth.jose.token_details import jti_details, kid_details
from asgi_guard.auth.jose.verified_cache import CacheCounts, VerifiedCache
from asgi_guard.auth.jose.verified_token import VerifiedToken
from asgi_guard.errors import AuthenticationError, ConfigError, UnavailableError
from asgi_guard.protocols import Clock, Principal

__all__ = ["TokenVerifier"]

_ACCESS: Final = "access"
_LOGOUT: Final = "logout"
_UNTYPED: Final = frozenset({"at+jwt", "jwt", ""})


class TokenVerifier:
    """Verify tokens under one policy.

    Args:
        policy: What a token must be.
        keys: Where keys are found: a `KeyManager`, a `KeySet`, remote keys.
        cache_size: How many verified tokens are remembered; 0 to verify each time.
        is_revoked: Asked for each token on each use, cached or not; it must not block.
        revocations: Asked the same, of a store that all processes share.
        clock: Where "now" comes from.

    Raises:
        ConfigError: An argument is not what it should be.

    Whatever the input, a token is accepted or `AuthenticationError` is raised; `UnavailableError`
    if the keys cannot be had. Safe under threads.
    """

    def __init__(
        self,
        policy: JwtPolicy,
        *,
        keys: KeySource,
        cache_size: int = 4096,
        is_revoked: Callable[[VerifiedToken], bool] | None = None,
        revocations: TokenRevocations | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not isinstance(policy, JwtPolicy):
            raise ConfigError("policy", "is no JwtPolicy", "Pass one.")
        if isinstance(keys, type) or not isinstance(keys, KeySource):
            raise ConfigError("keys", "is no source of keys", "Pass a KeyManager or a KeySet.")
        if cache_size < 0:
            raise ConfigError("cache_size", f"is {cache_size}", "Pass 0 or more.")
        if not isinstance(revocations, TokenRevocations | None):
            raise ConfigError("revocations", "are none", "Pass TokenRevocations, or None.")
        if revocations is not None:
            revocations.check_policy(policy)
        self.policy = policy
        self._keys = keys
        self._algorithms = {*policy.algorithms}
        if "EdDSA" in self._algorithms:
            self._algorithms.add("Ed25519")
        self._rules = {each: ClaimRules.of(policy, each) for each in policy.types}
        self._types = {each: _accepted_types(policy, each) for each in policy.types}
        self._cache = VerifiedCache(policy.sha256, size=cache_size)
        self._is_revoked = is_revoked
        self._revocations = revocations
        self._clock = clock

    async def verify(self, token: bytes | str, *, token_type: str = _ACCESS) -> VerifiedToken:
        """Return what *token* proves.

        Args:
            token: The compact serialisation, without a scheme.
            token_type: Which kind it must be; the token's own ``typ`` must agree.

        Raises:
            AuthenticationError: It does not hold; ``reason`` says why, to the operator.
            UnavailableError: The keys cannot be had now.
            ConfigError: The policy has no such type.
        """
        judged = self._judged(token, token_type)
        del token
        return await without_frames(judged)

    async def check_again(self, found: VerifiedToken) -> None:
        """Refuse what was verified a while ago and holds no more; for what stays open on it.

        Raises:
            AuthenticationError: It has expired or was revoked, or its key was taken away.
            UnavailableError: The keys, or the revocations, cannot be had now.
        """
        if self._clock.now() >= found.expires_at:
            refuse("token_expired", found.details)
        if self._keys.find(found.kid, found.algorithm) is None:
            await self._keys.look_again(found.kid)
            if self._keys.find(found.kid, found.algorithm) is None:
                refuse("key_unknown", found.details)
        await self._check_revoked(found)

    async def _judged(self, token: bytes | str, token_type: str) -> VerifiedToken:
        raw = token_bytes(token)
        if token_type not in self._rules:
            raise ConfigError("token_type", f"{token_type!r} is not in the policy", "Add it.")
        if len(raw) > self.policy.longest_token:
            refuse("token_too_long")
        name = self._cache.name(raw, token_type)
        found = self._cache.get(name, keys=self._keys, now=self._clock.now())
        if found is None:
            found = await self._verified_now(raw, token_type, name)
        await self._check_revoked(found)
        return found

    async def _check_revoked(self, found: VerifiedToken) -> None:
        if self._is_revoked is not None and self._is_revoked(found):
            refuse("token_revoked", found.details)
        # Not about logout tokens: one that is sent again is about a session that has ended.
        ends = self._revocations if found.token_type != _LOGOUT else None
        if ends is not None and await ends.is_revoked(found):
            refuse("token_revoked", found.details)

    @property
    def asks_for_revocations(self) -> bool:
        """Whether a token can end before its time here."""
        return self._is_revoked is not None or self._revocations is not None

    @property
    def cache_counts(self) -> CacheCounts:
        """How often a token was remembered from before, for metrics."""
        return self._cache.counts

    def forget_verified(self) -> None:
        """Empty the cache, so that each token is verified again."""
        self._cache.clear()

    async def _verified_now(self, raw: bytes, token_type: str, name: bytes) -> VerifiedToken:
        details: dict[str, str] = {}
        try:
            return await self._verified(raw, token_type, name, details)
        except (AuthenticationError, UnavailableError) as refusal:
            refusal.details = details
            raise

    async def _verified(
        self, raw: bytes, token_type: str, name: bytes, details: dict[str, str]
    ) -> VerifiedToken:
        jws = parse_compact_jws(raw, longest=self.policy.longest_token)
        kid, algorithm = self._read_header(jws, token_type)
        key = self._keys.find(kid, algorithm)
        if key is None:
            await self._keys.look_again(kid)
            key = self._keys.find(kid, algorithm)
        details |= kid_details(kid, key)
        if key is None:
            refuse("key_unknown")
        if not key.takes(algorithm):
            refuse("algorithm_not_accepted")
        if not key.verify(jws.signing_input, jws.signature):
            refuse("signature_invalid")
        now = self._clock.now()  # after the wait for keys
        claims = jws.claims()
        details |= jti_details(claims)
        end = self._rules[token_type].check(claims, now=now)
        principal = None if token_type != _ACCESS else self._principal(claims, end, details)
        token = VerifiedToken(
            claims=frozen(claims) if principal is None else principal.claims,
            token_type=token_type,
            algorithm=algorithm,
            kid=kid,
            expires_at=end,
            principal=principal,
            details=details,
        )
        self._cache.put(name, token, key, now)
        return token

    def _read_header(self, jws: CompactJWS, token_type: str) -> tuple[str | None, str]:
        algorithm = jws.header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            refuse("algorithm_not_accepted")
        kid = check_header(jws.header)
        typ = jws.header.get("typ", "")
        if not isinstance(typ, str) or _plain_type(typ) not in self._types[token_type]:
            refuse("type_not_accepted")
        return kid, algorithm

    def _principal(self, claims: dict[str, Any], end: float, details: dict[str, str]) -> Principal:
        return principal_of(
            claims,
            tenant_claim=self.policy.tenant_claim,
            roles_claim=self.policy.roles_claim,
            expires_at=end,
            details=details,
        )


def _accepted_types(policy: JwtPolicy, token_type: str) -> frozenset[str]:
    if token_type == _ACCESS and policy.insecure_untyped_access:
        return _UNTYPED
    return frozenset({TOKEN_TYPES[token_type]})


def _plain_type(typ: str) -> str:
    # RFC 7515 section 4.1.9: "application/" may be left out, and case does not matter.
    return typ.lower().removeprefix("application/")
