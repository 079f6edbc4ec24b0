"""KeyManager: signing keys that rotate by themselves, shared by all processes of a service."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.events import emit
from asgi_guard._internal.pools import BoundedPool
from asgi_guard.auth.jose.escrow import seal, unseal
from asgi_guard.auth.jose.jwks_document import JWKSDocument
from asgi_guard.auth.jose.key_file import FolderKeyStore, KeyStore
from asgi_guard.auth.jose.key_keeper import KeyKeeper, Note
from asgi_guard.auth.jose.key_ring import KeyRing, RotationTimes
from asgi_guard.auth.jose.key_view import KeyStatus, KeyView
from asgi_guard.auth.jose.signing_key import SigningKey
from asgi_guard.auth.jose.verification_key import VerificationKey
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.protocols import Clock
from asgi_guard.secret import Secret

__all__ = ["KeyManager"]

_DAY: Final = 86_400.0
_LOOK_AGAIN: Final = 1.0  # seconds; a flood of unknown kids must not become a flood of stat()
_WORKERS: Final = BoundedPool("jose-keys", workers=1, queue=64, full="key_workers_busy")


class KeyManager:
    """The keys a service signs with: made, rotated, published, revoked, escrowed.

    Args:
        store: A folder (0700, with one file of 0600), or any `KeyStore`.
        algorithm: Of every key that is made from now on.
        rsa_bits: Size of RSA keys.
        rotate_every: Seconds for which a key signs.
        publish_ahead: Seconds for which a key is published before it signs.
        grace: Seconds for which a key verifies after it ceased to sign.
        longest_token: Seconds that the longest token lives; the grace is never shorter.
        check_every: Seconds after which a use looks whether another process changed the store,
            and whether a key is due: a revocation is known everywhere soon after that time.
        clock: Where "now" comes from.

    Raises:
        ConfigError: An option is not what it should be.

    `open` it before use, in the app's lifespan. There is no task to run: uses of the manager keep
    it up to date, in a thread of its own; nothing on the event loop waits for key generation, PEM
    parsing or files. If the store cannot be reached, the keys that are known stay in use, and an
    event says so. Safe under threads and after a fork.

    Events: ``KEY_CREATED`` (to sign later), ``KEY_ROTATED`` (signs now), ``KEY_REVOKED``,
    ``KEY_RETIRED``, ``KEYS_EXPORTED``, ``KEYS_RESTORED``, ``KEY_MAINTENANCE_FAILED``.
    """

    def __init__(
        self,
        store: KeyStore | str | Path,
        *,
        algorithm: str = "RS256",
        rsa_bits: int = 4096,
        rotate_every: float = 30 * _DAY,
        publish_ahead: float = _DAY,
        grace: float = 7 * _DAY,
        longest_token: float = 0.0,
        check_every: float = 5.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        kept_in = FolderKeyStore(store) if isinstance(store, str | Path) else store
        if not isinstance(kept_in, KeyStore):
            raise ConfigError("store", f"is a {type(store).__name__}", "Pass a folder.")
        if check_every <= 0:
            raise ConfigError("check_every", f"is {check_every!r}", "Pass positive seconds.")
        SigningKey.check_choice(algorithm, rsa_bits)
        self.grace = max(grace, longest_token)
        self._keeper = KeyKeeper(
            kept_in,
            RotationTimes(rotate_every=rotate_every, publish_ahead=publish_ahead, grace=self.grace),
            new_key=partial(SigningKey.generate, algorithm, rsa_bits=rsa_bits),
            note=self._note,
            clock=clock,
        )
        self._check_every, self._clock = check_every, clock
        self._next_check = self._next_look = 0.0
        self._checking_pid = 0
        self._events: deque[tuple[str, dict[str, str]]] = deque()

    async def open(self) -> None:
        """Load the keys; make the first one if there is none.

        Raises:
            ConfigError: The store is damaged, or open to others.
            UnavailableError: Too much other work waits for the keys' thread.
        """
        await _WORKERS.run(self.maintain)
        self._emit_pending()

    def maintain(self) -> None:
        """Do now what uses do by and by: load what others changed, make the key that is due.

        Blocking: for scripts, and for a thread.

        Raises:
            ConfigError: The store is damaged, or open to others.
        """
        self._next_check = self._clock.monotonic() + self._check_every
        self._keeper.maintain()

    def signing_key(self) -> SigningKey:
        """Return the key that signs now: key, algorithm and kid as one object.

        Raises:
            UnavailableError: The manager was not opened.
        """
        signer = self._current().ring.signer(self._clock.now())
        if signer is None:
            raise UnavailableError("no_signing_key")
        return signer.key

    def find(self, kid: str | None, _algorithm: str) -> VerificationKey | None:
        """Return the key called *kid* if it verifies now; our tokens all name theirs.

        Raises:
            UnavailableError: The manager was not opened.
        """
        return self._current().find(kid, self._clock.now())

    async def look_again(self, _kid: str | None) -> None:
        """See whether another process has published a key; at most once a second."""
        now = self._clock.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_AGAIN
        await _WORKERS.run(partial(self._try, self._keeper.reload))
        self._emit_pending()

    def jwks(self) -> JWKSDocument:
        """Return the JWK Set (RFC 7517 section 5) of all keys that verify now or soon.

        Raises:
            UnavailableError: The manager was not opened.
        """
        return self._current().document(self._clock.now())

    def status(self) -> tuple[KeyStatus, ...]:
        """Return what is known of each key, oldest first; no key material.

        Raises:
            UnavailableError: The manager was not opened.
        """
        return self._current().status(self._clock.now())

    async def rotate(self, *, immediately: bool = False) -> str:
        """Make the next key, and return its kid; a key that is published already will do.

        Args:
            immediately: Let it sign at once. Verifiers that keep the JWKS have not seen it yet
                and must look again; else it is published ahead of time.

        Raises:
            ConfigError: The store is damaged, or open to others.
            UnavailableError: Too much other work waits for the keys' thread.
        """
        change = partial(self._keeper.rotated, immediately=immediately)
        ring: KeyRing = await _WORKERS.run(partial(self._keeper.change, change))
        self._emit_pending()
        return ring.keys[-1].kid

    async def revoke(self, kid: str) -> None:
        """Take a key away at once, from signing, verifying and the JWKS; its tokens die with it.

        If it was the signer, the next key signs from now on; one is made if there is none.

        Raises:
            ConfigError: There is no such key; the store is damaged, or open to others.
            UnavailableError: Too much other work waits for the keys' thread.
        """
        change = partial(self._keeper.revoked, kid=kid)
        await _WORKERS.run(partial(self._keeper.change, change))
        self._emit_pending()

    async def export_escrow(self, passphrase: Secret) -> bytes:
        """Return all keys, sealed under *passphrase*, to be kept elsewhere.

        Raises:
            ConfigError: The passphrase is too short.
            UnavailableError: The manager was not opened.
        """
        ring = self._current().ring
        sealed = await _WORKERS.run(lambda: seal(self._keeper.codec.encode(ring), passphrase))
        emit("KEYS_EXPORTED", outcome="allowed", clock=self._clock)
        return sealed

    async def restore_escrow(self, blob: bytes, passphrase: Secret) -> None:
        """Put the keys of an escrow into a store that has none, and open it.

        Raises:
            ConfigError: The store has keys; the escrow is damaged or the passphrase another.
            UnavailableError: Too much other work waits for the keys' thread.
        """

        def change(ring: KeyRing, _now: float) -> KeyRing:
            if ring.keys or ring.revoked:
                raise ConfigError("store", "has keys already", "Restore into an empty folder.")
            return self._keeper.codec.decode(unseal(blob, passphrase))

        await _WORKERS.run(partial(self._keeper.change, change, announce=False))
        emit("KEYS_RESTORED", outcome="allowed", clock=self._clock)

    def _current(self) -> KeyView:
        view = self._keeper.view
        if view is None:
            raise UnavailableError("keys_not_open")
        if self._clock.monotonic() >= self._next_check:
            self._check_in_background()
        if self._events:
            self._emit_pending()
        return view

    def _check_in_background(self) -> None:
        if self._checking_pid == os.getpid():  # a fork's child has the flag, and not the thread
            return
        self._next_check = self._clock.monotonic() + self._check_every
        self._checking_pid = os.getpid()
        threading.Thread(target=self._check, name="asgi-guard-keys", daemon=True).start()

    def _check(self) -> None:
        try:
            self._try(self._keeper.maintain)
        finally:
            self._checking_pid = 0

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the keys that are known stay in use
            self._events.append(("KEY_MAINTENANCE_FAILED", {"error": type(error).__name__}))

    def _note(self, note: Note) -> None:
        # Emitted by the next use: sinks are called where requests are, not in a worker's thread.
        name, kid, algorithm = note
        self._events.append((name, {"kid": kid, "algorithm": algorithm}))

    def _emit_pending(self) -> None:
        while self._events:
            name, details = self._events.popleft()
            outcome = "error" if name == "KEY_MAINTENANCE_FAILED" else "allowed"
            emit(name, outcome=outcome, clock=self._clock, details=details)
