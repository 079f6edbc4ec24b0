"""Notes as they are written: one channel per tenant, no channel for anybody else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from asgi_guard import require_context

_WAITING_NOTES = 100


class LiveNotes:
    """Hands each new note to the sockets of the tenant it was written in.

    Both sides take the tenant from the current context, so neither can name another one.
    """

    def __init__(self) -> None:
        self._channels: dict[str, set[asyncio.Queue[dict[str, Any]]]] = {}

    def publish(self, note: dict[str, Any]) -> None:
        """Hand *note* to everyone who watches; a watcher who lags 100 notes behind misses it."""
        for queue in self._channels.get(require_context("notes.publish").tenant_id, ()):
            if not queue.full():
                queue.put_nowait(note)

    @contextmanager
    def watch(self) -> Iterator[asyncio.Queue[dict[str, Any]]]:
        """Give a queue that receives the tenant's notes inside the block."""
        tenant_id = require_context("notes.watch").tenant_id
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_WAITING_NOTES)
        self._channels.setdefault(tenant_id, set()).add(queue)
        try:
            yield queue
        finally:
            watchers = self._channels[tenant_id]
            watchers.discard(queue)
            if not watchers:
                del self._channels[tenant_id]
