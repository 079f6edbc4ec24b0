"""DPoPValidator: a request's proof in, what it proves out, or one kind of error."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.memory_store import StoreReplayCache
from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.auth.dpop.checks import Examination
from asgi_guard.auth.dpop.nonces import DPoPNonces
from asgi_guard.auth.dpop.policy import DPoPPolicy
from asgi_guard.auth.dpop.proof import DPoPProof, ProofKey, proof_key
from asgi_guard.auth.dpop.refusal import refuse
from asgi_guard.auth.dpop.target import RequestTarget
from asgi_guard.errors import ConfigError, DPoPProofError, GuardError, UnavailableError
from asgi_guard.protocols import Clock, KeyValueStore, ReplayCache, Scope

__all__ = ["DPoPValidator"]

_FIELD: Final = b"dpop"
_KEPT_KEYS: Final = 1024


class DPoPValidator:
    """Validate the DPoP proofs of requests to one server (RFC 9449 section 4.3).

    Args:
        replay: Where used proofs are remembered: a `KeyValueStore` or a `ReplayCache` that all
            processes of the server share. There is no default: a memory of one process lets a
            proof in once per process.
        base: What stands before the path: ``"https://api.example.com"``; see `RequestTarget`.
        trusted_proxies: Instead of *base*: who may name scheme and host.
        hosts: With *trusted_proxies*: the host names that are ours.
        policy: Which proofs are taken.
        nonces: Ask for server-provided nonces.
        clock: Where "now" comes from.
        insecure_allow_http: Take an ``http://`` address, on loopback or in tests.

    Raises:
        ConfigError: An argument is not what it should be.

    Whatever the bytes, a proof is accepted or `DPoPProofError` is raised; `UnavailableError` if
    its use cannot be remembered.
    """

    def __init__(
        self,
        *,
        replay: KeyValueStore | ReplayCache,
        base: str | None = None,
        trusted_proxies: TrustedProxies | None = None,
        hosts: Iterable[str] = (),
        policy: DPoPPolicy | None = None,
        nonces: DPoPNonces | None = None,
        clock: Clock = SYSTEM_CLOCK,
        insecure_allow_http: bool = False,
    ) -> None:
        self.policy = DPoPPolicy() if policy is None else policy
        if not isinstance(self.policy, DPoPPolicy):
            raise ConfigError("policy", "is no DPoPPolicy", "Pass one.")
        if not isinstance(nonces, DPoPNonces | None):
            raise ConfigError("nonces", "are no DPoPNonces", "Pass some, or None.")
        self.nonces = nonces
        self._replay = _replay_cache(replay)
        self._target = RequestTarget(
            base=base,
            trusted_proxies=trusted_proxies,
            hosts=hosts,
            insecure_allow_http=insecure_allow_http,
        )
        self._clock = clock
        # A client signs with one key for months, and reading it costs as much as verifying.
        self._read_key = lru_cache(_KEPT_KEYS)(_key_of)

    def inspect(
        self, scope: Scope, *, access_token: bytes | None = None, bound_to: str | None = None
    ) -> DPoPProof:
        """Make all checks but the last, and remember nothing.

        Args:
            scope: Of an HTTP request, or of a WebSocket's handshake.
            access_token: That the request presents; its hash must then be in the proof.
            bound_to: Thumbprint of the key that the token, code or grant is bound to.

        Raises:
            DPoPProofError: There is no proof, or it does not hold.
            DPoPNonceError: It needs the nonce that the error's headers carry.
        """
        examination = Examination(
            fields=[value for name, value in scope["headers"] if name == _FIELD],
            policy=self.policy,
            method=scope.get("method", "GET"),  # a WebSocket's handshake is a GET
            uri=self._target.uri_of(scope),
            now=self._clock.now(),
            read_key=self._key,
            nonces=self.nonces,
            access_token=access_token,
            bound_to=bound_to,
        )
        refused: DPoPProofError
        try:
            return examination.run()
        except DPoPProofError as error:
            # Without the frames in which it was raised: error trackers record locals.
            refused = error.with_traceback(None)
        del examination, access_token
        try:
            raise refused
        finally:
            del refused  # else the error holds the frame that holds the error

    async def spend(self, proof: DPoPProof) -> None:
        """Make the last check: the proof is used now, and was not before (section 11.1).

        Call it after everything else about the request was found good, the access token or grant
        included. A proof that comes with a bad token must not use up anybody's ``jti``, nor a
        place in the store.

        Raises:
            DPoPProofError: It was used before.
            UnavailableError: Nobody can say now, so it must not be taken.
        """
        # Twice as long as it could be accepted: clocks of servers and stores differ as well.
        lifetime = 2 * self.policy.window
        first = False
        try:
            first = await self._replay.first_use(f"{proof.thumbprint}:{proof.jti}", ttl=lifetime)
        except GuardError:
            raise
        except Exception as failure:  # of a cache that lets its client's errors out
            raise UnavailableError("replay_cache_unreachable") from failure
        if not first:
            refuse("proof_replayed")

    async def validate(
        self, scope: Scope, *, access_token: bytes | None = None, bound_to: str | None = None
    ) -> DPoPProof:
        """Make every check; where a token or grant is checked as well, do that before.

        Raises:
            DPoPProofError: There is no proof, or it does not hold, or it was used before.
            UnavailableError: Its use cannot be remembered.
        """
        proof = self.inspect(scope, access_token=access_token, bound_to=bound_to)
        await self.spend(proof)
        return proof

    def next_nonce(self, proof: DPoPProof) -> str | None:
        """Return the nonce that the sender of *proof* should use next, None if it knows it."""
        current = None if self.nonces is None else self.nonces.current()
        return None if current == proof.nonce else current

    def _key(self, jwk: dict[str, Any], *, algorithm: str) -> ProofKey:
        if all(isinstance(value, str) for value in jwk.values()):
            return self._read_key(tuple(jwk.items()), algorithm)
        return proof_key(jwk, algorithm=algorithm)  # lists cannot be looked up by


def _key_of(members: tuple[tuple[str, Any], ...], algorithm: str) -> ProofKey:
    return proof_key(dict(members), algorithm=algorithm)


def _replay_cache(replay: KeyValueStore | ReplayCache) -> ReplayCache:
    if not isinstance(replay, type):
        if isinstance(replay, ReplayCache):
            return replay
        if isinstance(replay, KeyValueStore):
            return StoreReplayCache(replay, purpose="dpop")
    raise ConfigError("replay", "is no store", "Pass a KeyValueStore that all processes share.")
