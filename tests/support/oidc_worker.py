"""One worker of an app with logins, as a process: ``python -m tests.support.oidc_worker``.

Arguments: the provider's issuer, and a SQLite file that all
workers share; ``-`` for a memory of its own. It prints its own port, and ends with its input.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.integrations.sql_store import SQLStore, create_state_table, state_table
from tests.support.oidc_world import FETCH, Sessions, provider_at, sessions_app
from tests.support.tenancy_server import serving


async def work(issuer: str, shared: str) -> None:
    """Serve until standard input ends."""
    store: Any = MemoryStore()
    engine = None
    if shared != "-":
        engine = create_async_engine(f"sqlite+aiosqlite:///{shared}")
        table = state_table(MetaData())
        await create_state_table(engine, table)
        store = SQLStore(engine, table)
    app = sessions_app(
        [provider_at(issuer)], Sessions(), store=store, fetch=FETCH, clock=SYSTEM_CLOCK
    )
    async with serving(app) as port:
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    if engine is not None:
        await store.finish()
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
