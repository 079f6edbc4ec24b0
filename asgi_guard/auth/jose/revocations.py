"""TokenRevocations: which tokens ended before their time, known to all processes within seconds."""

from __future__ import annotations

import json
import threading
from hashlib import sha256
from typing import Any, Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.jose.claims import id_claim, seconds_claim
from asgi_guard.auth.jose.policy import JwtPolicy
from asgi_guard.auth.jose.refusal import refuse
from asgi_guard.auth.jose.verified_token import VerifiedToken
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.protocols import Clock, KeyValueStore
from asgi_guard.tenancy.bounded import BoundedEntries
from asgi_guard.tenancy.reporting import report

__all__ = ["TokenRevocations"]

_SOON: Final = 5.0  # a revoked token is dead everywhere before this many seconds are over
_MARGIN: Final = 60.0  # what is kept a little longer than needed forgives clocks that differ
_CLAIMS: Final = {"token": "jti", "session": "sid", "family": "fam", "user": "sub"}
_PLAIN: Final = frozenset({str, int, float, type(None)})
_Asked = tuple[object, ...]


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
        self._issuer = policy.issuer
        self._ttl = policy.longest_lifetime + policy.skew + _MARGIN
        self._asked: BoundedEntries[_Asked, bool] = BoundedEntries(size, max_age)
        self._generation = 0
        self._lock = threading.Lock()  # never held across an await

    async def is_revoked(self, token: VerifiedToken) -> bool:
        """Tell whether *token* was revoked, as the store knows it, or knew it *max_age* ago.

        Raises:
            AuthenticationError: A claim that it would be found by is malformed.
            UnavailableError: The store does not answer.
        """
        asked, began = _names(token), self._clock.monotonic()
        with self._lock:
            known = self._asked.current(asked, began)
        if known is not None:
            return known[1]
        generation = self._generation
        revoked = await self._ask(token)
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
        value = json.dumps({"at": self._clock.now()}).encode()
        try:
            await self._store.put(self._key(kind, name), value, ttl=self._ttl)
        finally:
            with self._lock:
                self._generation += 1
                self._asked.drop(lambda _: True)

    async def _ask(self, token: VerifiedToken) -> bool:
        issued = seconds_claim(token.claims, "iat")
        named = {kind: id_claim(token.claims, claim) for kind, claim in _CLAIMS.items()}
        keys = {kind: self._key(kind, name) for kind, name in named.items() if name is not None}
        found = await self._store.get_many(list(keys.values())) if keys else []
        return any(_ends(kind, value, issued) for kind, value in zip(keys, found, strict=True))

    async def _revoke(self, kind: str, name: str) -> None:
        details: dict[str, Any] = {"kind": kind, "name_sha256": sha256(name.encode()).hexdigest()}
        try:
            await self.end(kind, name)
        except UnavailableError as failure:
            failure.reported = True
            report("TOKEN_REVOKED", outcome="error", reason=failure.reason, details=details)
            raise
        report("TOKEN_REVOKED", outcome="allowed", details=details)

    def _key(self, kind: str, name: str) -> str:
        owner = f"{self._issuer}\n{kind}\n{name}".encode("utf-8", "surrogatepass")
        return f"revoked:{kind}:{sha256(owner).hexdigest()}"


def _names(token: VerifiedToken) -> _Asked:
    """Return what tells tokens apart whose revocation may differ; on the hot path."""
    claim = token.claims.get
    names = (claim("jti"), claim("sid"), claim("fam"), claim("sub"), claim("iat"))
    # Arrays are tuples here, objects are read-only mappings; neither is an id.
    if any(type(each) not in _PLAIN for each in names):
        refuse("id_claim_malformed", token.details)
    return names


def _ends(kind: str, value: bytes | None, issued: float | None) -> bool:
    if value is None:
        return False
    if kind != "user" or issued is None:
        return True
    # iat has whole seconds: what was issued in the second of the revocation ends with it.
    return issued <= float(json.loads(value)["at"])
