"""TokenRevocations: which tokens ended before their time, known to all processes within seconds."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Mapping
from hashlib import sha256
from typing import Any, Final, TypeVar

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.jose.claims import id_claim, seconds_claim
from asgi_guard.auth.jose.policy import JwtPolicy
from asgi_guard.auth.jose.refusal import refuse
from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.auth.jose.verified_token import VerifiedToken
from asgi_guard.errors import ConfigError, GuardError, UnavailableError
from asgi_guard.protocols import Clock, KeyValueStore
from asgi_guard.tenancy.bounded import BoundedEntries
from asgi_guard.tenancy.reporting import report

__all__ = ["TokenRevocations"]

_SOON: Final = 5.0  # a revoked token is dead everywhere before this many seconds are over
_MARGIN: Final = 60.0  # what is kept a little longer than needed forgives clocks that differ
_CLAIMS: Final = {"token": "jti", "session": "sid", "family": "fam", "user": "sub"}
_PLAIN: Final = frozenset({str, int, float, type(None)})
_TRIES: Final = 100
_Asked = tuple[object, ...]
T = TypeVar("T")


class TokenRevocations:
    """End single tokens, or all of a session, a refresh family or a user, on a shared store.

    Give it to a `TokenVerifier`, which asks it about each token on each use, remembered or not.
    An answer of the store is believed for *max_age* seconds, counted from before it was asked:
    that is how long another process may still accept a revoked token. Here it is dead at once.

    Args:
        store: Shared by all processes.
        policy: Whose tokens they are; entries are kept for as long as one of them can live.
        max_age: Seconds, 0 to below 5; 0 asks the store each time.
        size: How many answers are remembered.
        clock: Where "now" comes from.

    Raises:
        ConfigError: An argument is not what it should be, or the policy sets no cap on how long
            a token lives.

    Fails closed: if the store does not answer, the token is not accepted (`UnavailableError`).
    A user's revocation ends what was issued before it, by the clock of whoever issued it: keep
    the clocks of issuers together, as ``skew`` of the policy asks for anyway.
    """

    def __init__(
        self,
        store: KeyValueStore,
        *,
        policy: JwtPolicy,
        max_age: float = 3.0,
        size: int = 10_000,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if isinstance(store, type) or not isinstance(store, KeyValueStore):
            raise ConfigError("store", "is no KeyValueStore", "Pass e.g. a MemoryStore.")
        if not 0 <= max_age < _SOON:
            raise ConfigError("max_age", f"is {max_age!r}", "Pass 0 to below 5 seconds.")
        if size < 1:
            raise ConfigError("size", f"is {size!r}", "Pass 1 or more.")
        if policy.insecure_any_lifetime:
            raise ConfigError(
                "policy", "sets no cap on lifetimes", "A revocation cannot be kept for ever."
            )
        self._store, self._clock = store, clock
        self.issuer = policy.issuer
        self._longest = policy.longest_lifetime
        self._ttl = policy.longest_lifetime + policy.skew + _MARGIN
        self._asked: BoundedEntries[_Asked, bool] = BoundedEntries(size, max_age)
        self._generation = 0
        self._lock = threading.Lock()  # never held across an await

    def check_policy(self, policy: JwtPolicy) -> None:
        """Refuse to answer for tokens of *policy* that are not found here, or outlive an entry.

        Raises:
            ConfigError: It has another issuer, or tokens that live longer than an entry is kept.
        """
        if policy.issuer != self.issuer:
            raise ConfigError("revocations", "are of another issuer", "Make them of this policy.")
        if policy.insecure_any_lifetime or policy.longest_lifetime > self._longest:
            raise ConfigError(
                "revocations",
                "are forgotten before the tokens have expired, which then work again",
                "Make them of the policy with the longest lifetimes.",
            )

    async def check_claims(self, claims: Mapping[str, Any]) -> None:
        """Refuse the *claims* of a token that was verified before, if it was revoked since.

        Raises:
            AuthenticationError: It was.
            UnavailableError: The store does not answer.
        """
        if await self._is_ended(claims, {}):
            refuse("token_revoked")

    async def is_revoked(self, token: VerifiedToken) -> bool:
        """Tell whether *token* was revoked, as the store knows it, or knew it *max_age* ago.

        Raises:
            AuthenticationError: A claim that it would be found by is malformed.
            UnavailableError: The store does not answer.
        """
        return await self._is_ended(token.claims, token.details)

    async def _is_ended(self, claims: Mapping[str, Any], details: Mapping[str, str]) -> bool:
        asked, began = _names(claims, details), self._clock.monotonic()
        with self._lock:
            known = self._asked.current(asked, began)
        if known is not None:
            return known[1]
        generation = self._generation
        revoked = await self._ask(claims)
        with self._lock:
            if generation == self._generation:
                self._asked.keep(asked, revoked, began)
        return revoked

    async def revoke_token(self, jti: str) -> None:
        """End one token.

        Raises:
            UnavailableError: The store does not answer; it may not be revoked.
        """
        await self._revoke("token", jti)

    async def revoke_session(self, session_id: str) -> None:
        """End every token whose ``sid`` it is, also one that is issued later.

        Raises:
            UnavailableError: The store does not answer; it may not be revoked.
        """
        await self._revoke("session", session_id)

    async def revoke_family(self, family: str) -> None:
        """End every token whose ``fam`` it is: those that came with one chain of refreshes.

        Raises:
            UnavailableError: The store does not answer; it may not be revoked.
        """
        await self._revoke("family", family)

    async def revoke_user(self, subject: str) -> None:
        """End every token of a user that was issued before now.

        Raises:
            UnavailableError: The store does not answer; it may not be revoked.
        """
        await self._revoke("user", subject)

    async def end(self, kind: str, name: str) -> None:
        """End what *name* is as a ``token``, ``session``, ``family`` or ``user``; leave no event.

        Raises:
            UnavailableError: The store does not answer; it may not be revoked.
        """
        try:
            await self._end(self._key(kind, name))
        finally:
            with self._lock:
                self._generation += 1
                self._asked.drop(lambda _: True)

    async def _end(self, key: str) -> None:
        # A later revocation by a clock that is behind must not bring back what this one ended.
        for _ in range(_TRIES):
            seen = await _answered(self._store.get(key))
            now = self._clock.now()
            value = json.dumps({"at": now if seen is None else max(now, _at(seen))}).encode()
            if seen is None:
                write = self._store.put_if_absent(key, value, ttl=self._ttl)
            else:
                write = self._store.replace(key, seen, value, ttl=self._ttl)
            if await _answered(write):
                return
        raise UnavailableError("revocations_contended")

    async def _ask(self, claims: Mapping[str, Any]) -> bool:
        issued = seconds_claim(claims, "iat")
        named = {kind: id_claim(claims, claim) for kind, claim in _CLAIMS.items()}
        keys = {kind: self._key(kind, name) for kind, name in named.items() if name is not None}
        found = await _answered(self._store.get_many(list(keys.values()))) if keys else []
        if len(found) != len(keys):
            raise UnavailableError("revocations_malformed")
        return any(_ends(kind, value, issued) for kind, value in zip(keys, found, strict=True))

    async def _revoke(self, kind: str, name: str) -> None:
        details: dict[str, Any] = {"kind": kind, "name_sha256": sha256(name.encode()).hexdigest()}
        try:
            await self.end(kind, name)
        except UnavailableError as failure:
            failure.reported = True
            report("TOKEN_REVOKED", outcome="error", reason=failure.reason, details=details)
            raise
        except asyncio.CancelledError:  # the caller hung up; how far it came is in the store
            report("TOKEN_REVOKED", outcome="error", reason="interrupted", details=details)
            raise
        report("TOKEN_REVOKED", outcome="allowed", details=details)

    def _key(self, kind: str, name: str) -> str:
        owner = f"{self.issuer}\n{kind}\n{name}".encode("utf-8", "surrogatepass")
        return f"revoked:{kind}:{sha256(owner).hexdigest()}"


async def _answered(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except GuardError:
        raise
    except Exception as failure:  # of a store that lets its client's errors out
        raise UnavailableError("revocations_unreachable") from failure


def _names(claims: Mapping[str, Any], details: Mapping[str, str]) -> _Asked:
    """Return what tells tokens apart whose revocation may differ; on the hot path."""
    claim = claims.get
    names = (claim("jti"), claim("sid"), claim("fam"), claim("sub"), claim("iat"))
    # Arrays are tuples here, objects are read-only mappings; neither is an id.
    if any(type(each) not in _PLAIN for each in names):
        refuse("id_claim_malformed", details)
    return names


def _ends(kind: str, value: bytes | None, issued: float | None) -> bool:
    if value is None:
        return False
    if kind != "user" or issued is None:
        return True
    # iat has whole seconds: what was issued in the second of the revocation ends with it.
    return issued <= _at(value)


def _at(value: bytes) -> float:
    """Return the Unix seconds of a revocation."""
    at: Any = (strict_object(value) or {}).get("at")
    if type(at) not in {int, float}:
        raise UnavailableError("revocations_malformed")
    return float(at)
