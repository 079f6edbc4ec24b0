"""Which deliveries of an envelope are the queue's own, and which are somebody's replay.

Queues deliver at least once: a worker that dies, or a job that asks to be tried again, brings the
same message again. So "used before" alone is no replay. An envelope belongs to the one job id
that it was first delivered with; that job may come again, a bounded number of times, until it has
ended well or the envelope ends. Everything else is a replay.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from asgi_guard.errors import UnavailableError
from asgi_guard.protocols import KeyValueStore

__all__ = ["Deliveries"]

_RACES: Final = 16  # that one delivery may lose to others of the same envelope
_DIGITS: Final = 6


class Deliveries:
    """Counts the deliveries of each envelope, in a store that all workers share.

    Args:
        store: Where they are counted: one entry for each envelope, until it ends.
        most: How many deliveries one envelope may have.
    """

    __slots__ = ("_most", "_store")

    def __init__(self, store: KeyValueStore, *, most: int) -> None:
        self._store = store
        self._most = most

    async def begin(self, envelope_id: str, job_id: str, *, ttl: float) -> str | None:
        """Count one more delivery.

        Args:
            envelope_id: Of the envelope, from signed claims.
            job_id: What the queue calls the job that it came with.
            ttl: Seconds until the envelope ends.

        Returns:
            Why it must not run, or None.

        Raises:
            UnavailableError: It cannot be counted now.
        """
        key, owner = _key(envelope_id), _owner(job_id)
        for _ in range(_RACES):
            if await self._store.put_if_absent(key, _record(1, owner), ttl=ttl):
                return None
            kept = await self._store.get(key)
            if kept is None:
                continue  # it ended between the two
            count, kept_owner = int(kept[:_DIGITS]), kept[_DIGITS:]
            if kept_owner != owner:
                return "envelope_replayed"
            if count == 0:
                return "envelope_used"
            if count >= self._most:
                return "envelope_deliveries_exhausted"
            if await self._store.replace(key, kept, _record(count + 1, owner), ttl=ttl):
                return None
        raise UnavailableError("deliveries_contended")

    async def finish(self, envelope_id: str, job_id: str, *, ttl: float) -> None:
        """Note that the job has ended well: no delivery of its envelope runs again.

        Raises:
            UnavailableError: It cannot be noted now.
        """
        await self._store.put(_key(envelope_id), _record(0, _owner(job_id)), ttl=ttl)


def _key(envelope_id: str) -> str:
    return f"envelope:{sha256(envelope_id.encode()).hexdigest()}"


def _owner(job_id: str) -> bytes:
    return sha256(job_id.encode("utf-8", "surrogatepass")).hexdigest().encode()


def _record(count: int, owner: bytes) -> bytes:
    return b"%0*d%b" % (_DIGITS, count, owner)  # a count of 0: ended
