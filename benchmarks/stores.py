"""What one call to a shared store costs, and one to a session file on a person's machine.

python benchmarks/stores.py [--json FILE] [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from time import time
from typing import Any

from harness import ROOT, Contender, Work, interleave, machine, print_table
from sqlalchemy import MetaData, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard.auth.sessions import FileSessionStore, MemoryStore
from asgi_guard.integrations.redis import RedisStore
from asgi_guard.integrations.sql_store import SQLStore, create_state_table, state_table
from asgi_guard.observability import SecurityEvent, subscribe
from asgi_guard.protocols import KeyValueStore
from asgi_guard.testing import EmbeddedPostgres

sys.path.insert(0, str(ROOT))
from tests.support.redis_server import find_redis, running_redis

LONGEST_FILE_LOAD = 10_000.0  # microseconds
VALUE = b"v" * 400  # about a session


class Nobody:
    """A reader of events that drops them: writing lines is not what is measured."""

    def emit(self, event: SecurityEvent) -> None:
        """Drop *event*."""


def repeated(once: Callable[[], Awaitable[object]]) -> Work:
    """Return work that awaits *once* as often as it is told to."""

    async def work(times: int) -> None:
        for _ in range(times):
            await once()

    return work


def calls(name: str, store: KeyValueStore) -> list[Contender]:
    """Return what is timed of one store."""
    numbers = count()

    async def used_once() -> None:
        await store.put_if_absent(f"proof-{next(numbers)}", b"1", ttl=60)

    async def taken() -> None:
        await store.put("ticket", VALUE, ttl=60)
        await store.take("ticket")

    return [
        Contender(f"{name}: get", repeated(lambda: store.get("session"))),
        Contender(f"{name}: put_if_absent", repeated(used_once)),
        Contender(f"{name}: put and take", repeated(taken)),
    ]


@asynccontextmanager
async def opened() -> AsyncIterator[dict[str, KeyValueStore]]:
    """Give a store of each kind, those of servers on loopback."""
    program = find_redis()
    if program is None:
        sys.exit("no redis-server or valkey-server is installed")
    table = state_table(MetaData())
    with EmbeddedPostgres(durable=False) as postgres, running_redis(program) as server:
        engine = create_async_engine(make_url(postgres.dsn()).set(drivername="postgresql+asyncpg"))
        await create_state_table(engine, table)
        redis = RedisStore(server.url)
        sql = SQLStore(engine, table)
        yield {"memory": MemoryStore(), "PostgreSQL": sql, "Redis": redis}
        await sql.finish()
        await redis.close()
        await engine.dispose()


async def files(rounds: int) -> list[dict[str, Any]]:
    """Time a session file: opened, and replaced with both files synced."""
    with tempfile.TemporaryDirectory() as folder:
        store = FileSessionStore(Path(folder) / "files", key_folder=Path(folder) / "keys")

        async def save() -> None:
            store.save(
                issuer="https://id.example",
                client_id="cli",
                secrets={"access_token": VALUE},
                ends_at=time() + 600,
            )

        async def load() -> None:
            with store.load() as session:
                session.view("access_token")

        await save()
        contenders = [
            Contender("session file: load", repeated(load)),
            Contender("session file: save, synced", repeated(save)),
        ]
        return await interleave(contenders, rounds=rounds, repeat=5)


async def run(rounds: int) -> tuple[dict[str, Any], bool]:
    """Run everything; return the tables, and whether what is promised holds."""
    unsubscribe = subscribe(Nobody())
    async with opened() as stores:
        for store in stores.values():
            await store.put("session", VALUE, ttl=600)
        contenders = [each for name, store in stores.items() for each in calls(name, store)]
        tables = {"stores": await interleave(contenders, rounds=rounds, repeat=20)}
    tables["files"] = await files(rounds)
    unsubscribe()
    print_table("One call to a store", tables["stores"])
    print_table("One session file", tables["files"])
    load = tables["files"][0]["median_us"]
    held = load <= LONGEST_FILE_LOAD
    print(f"\nsession file: {load:.0f} us a load (at most {LONGEST_FILE_LOAD:.0f}); held: {held}")
    return tables, held


def main() -> int:
    """Run and print; 1 if a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    tables, held = asyncio.run(run(arguments.rounds))
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"machine": machine(), "tables": tables}, indent=2) + "\n"
        )
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
