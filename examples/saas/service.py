"""What the handlers share: engines, identity, events and live channels. No state of any user."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import URL
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from asgi_guard.rls import guarded_engine

from .database import VARIABLES, DatabaseURLs
from .events import RecentEvents
from .identity import DemoIdentity
from .live import LiveNotes


@dataclass(frozen=True, slots=True)
class Service:
    """The demo's parts.

    Args:
        engine: Guarded: it refuses to work without a tenant.
        directory: Not guarded; its role reads tenants and memberships, no more.
        runtime_url: What an attacker who stole the app's password would have.
    """

    engine: AsyncEngine
    directory: AsyncEngine
    runtime_url: URL
    identity: DemoIdentity = field(default_factory=DemoIdentity)
    events: RecentEvents = field(default_factory=RecentEvents)
    live: LiveNotes = field(default_factory=LiveNotes)

    @classmethod
    def on(cls, urls: DatabaseURLs) -> Service:
        """Build the service on the database behind *urls*; nothing connects yet."""
        return cls(
            engine=guarded_engine(
                urls.runtime, pool_size=5, variables=VARIABLES, seal_keys=urls.seal_keys
            ),
            directory=create_async_engine(urls.directory, pool_size=2),
            runtime_url=urls.runtime,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()
        await self.directory.dispose()
