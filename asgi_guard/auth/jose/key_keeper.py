"""KeyKeeper: one process's view of a stored key ring, and every change to it. Blocking.

All reads that take effect and all writes happen under the store's lock, so that no thread can put
back what another has just revoked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from asgi_guard.auth.jose.key_file import KeyStore, RingCodec
from asgi_guard.auth.jose.key_ring import KeyRing, RotationTimes
from asgi_guard.auth.jose.key_view import KeyView
from asgi_guard.auth.jose.signing_key import SigningKey
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Clock

__all__ = ["Change", "KeyKeeper", "Note"]

Change = Callable[[KeyRing, float], KeyRing]
Note = tuple[str, str, str]
"""Name of an event, kid and algorithm."""


class KeyKeeper:
    """Load, change and store a key ring.

    Args:
        store: Where it is kept.
        times: When keys rotate.
        new_key: Makes a key.
        note: Takes each event once its change is stored.
        clock: Where "now" comes from.
    """

    def __init__(
        self,
        store: KeyStore,
        times: RotationTimes,
        *,
        new_key: Callable[[], SigningKey],
        note: Callable[[Note], None],
        clock: Clock,
    ) -> None:
        self.view: KeyView | None = None
        self.codec = RingCodec()
        self._store, self._times = store, times
        self._new_key, self._note, self._clock = new_key, note, clock
        self._stamp: object = None

    def reload(self) -> None:
        """Load what another process has stored since.

        Raises:
            ConfigError: The store is damaged, or open to others.
        """
        stamp = self._store.stamp()
        if stamp is None and self.view is not None:
            raise ConfigError("store", "has lost its keys", "Restore them from escrow.")
        if stamp is None or stamp == self._stamp:
            return
        with self._store.locked():
            self._stamp = self._store.stamp()
            self.view = KeyView(self._read(), self._times)

    def maintain(self) -> None:
        """Reload, make the key that is due, and drop those whose grace is over.

        Raises:
            ConfigError: The store is damaged, or open to others.
        """
        self.reload()
        now, view = self._clock.now(), self.view
        if view is None or view.has_ended(now) or view.ring.is_due(now, self._times):
            self.change(self._kept_up)

    def change(self, change: Change, *, announce: bool = True) -> KeyRing:
        """Read, change and store the ring under the lock, and return what is now in force.

        Raises:
            ConfigError: The store is damaged, or open to others; or *change* says so.
        """
        with self._store.locked():
            old, now = self._read(), self._clock.now()
            new = change(old, now)
            if new is not old:
                self._store.write(self.codec.encode(new))
            self._stamp = self._store.stamp()
            self.view = KeyView(new, self._times)
        for each in _differences(old, new, now) if announce else ():
            self._note(each)
        return new

    def rotated(self, ring: KeyRing, now: float, *, immediately: bool) -> KeyRing:
        """Return *ring* with a next key; a key that is published already will do."""
        if ring.signer(now) is not None and ring.keys[-1].signs_from > now:
            return ring.starting_now(now) if immediately else ring
        start = now if immediately else now + self._times.publish_ahead
        return ring.with_key(self._new_key(), now=now, signs_from=start)

    def revoked(self, ring: KeyRing, now: float, *, kid: str) -> KeyRing:
        """Return *ring* without *kid*, and with a signer in its place if it was the signer."""
        signer = ring.signer(now)
        left = ring.without(kid, now=now)
        if signer is None or signer.kid != kid:
            return left
        started = left.starting_now(now)
        if started is not left:
            return started
        return left.with_key(self._new_key(), now=now, signs_from=now)

    def _kept_up(self, ring: KeyRing, now: float) -> KeyRing:
        kept = ring.pruned(now, self._times)
        if not kept.is_due(now, self._times):
            return kept
        start = kept.next_start(now, self._times)
        return kept.with_key(self._new_key(), now=now, signs_from=start)

    def _read(self) -> KeyRing:
        content = self._store.read()
        return KeyRing() if content is None else self.codec.decode(content)


def _differences(old: KeyRing, new: KeyRing, now: float) -> Iterator[Note]:
    before = {each.kid: each for each in old.keys}
    after = {each.kid: each for each in new.keys}
    for kid, each in before.items():
        if kid not in after:
            is_revoked = kid in new.revoked
            yield ("KEY_REVOKED" if is_revoked else "KEY_RETIRED", kid, each.key.algorithm)
        elif after[kid].signs_from != each.signs_from:
            yield ("KEY_ROTATED", kid, each.key.algorithm)
    for kid, each in after.items():
        if kid not in before:
            is_later = each.signs_from > now
            yield ("KEY_CREATED" if is_later else "KEY_ROTATED", kid, each.key.algorithm)
