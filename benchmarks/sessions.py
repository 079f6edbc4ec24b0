"""What a session costs at each request: validated in memory, in PostgreSQL and in Redis.

python benchmarks/sessions.py [--json FILE] [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

from harness import ROOT, Contender, Work, interleave, machine, print_table
from sqlalchemy import MetaData, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard.auth.sessions import (
    IssuedSession,
    MemoryStore,
    SessionAuthenticator,
    SessionCookie,
    SessionService,
)
from asgi_guard.integrations.redis import RedisStore
from asgi_guard.integrations.sql_store import SQLStore, create_state_table, state_table
from asgi_guard.observability import SecurityEvent, subscribe
from asgi_guard.protocols import KeyValueStore
from asgi_guard.testing import EmbeddedPostgres

sys.path.insert(0, str(ROOT))
from tests.support.redis_server import find_redis, running_redis

LONGEST_P99 = 10.0  # milliseconds
WRITES = ("put", "put_if_absent", "replace", "take", "delete")


class Nobody:
    """A reader of events that drops them: writing lines is not what is measured."""

    def emit(self, event: SecurityEvent) -> None:
        """Drop *event*."""


class Counting:
    """Passes everything on to *inner*, and counts it."""

    def __init__(self, inner: KeyValueStore) -> None:
        self.inner = inner
        self.calls: Counter[str] = Counter()

    async def get(self, key: str) -> bytes | None:
        """Count and pass on."""
        self.calls["get"] += 1
        return await self.inner.get(key)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Count and pass on."""
        self.calls["get_many"] += 1
        return await self.inner.get_many(keys)

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        """Count and pass on."""
        self.calls["put"] += 1
        await self.inner.put(key, value, ttl=ttl)

    async def put_if_absent(self, key: str, value: bytes, *, ttl: float) -> bool:
        """Count and pass on."""
        self.calls["put_if_absent"] += 1
        return await self.inner.put_if_absent(key, value, ttl=ttl)

    async def replace(self, key: str, old: bytes, new: bytes, *, ttl: float) -> bool:
        """Count and pass on."""
        self.calls["replace"] += 1
        return await self.inner.replace(key, old, new, ttl=ttl)

    async def take(self, key: str) -> bytes | None:
        """Count and pass on."""
        self.calls["take"] += 1
        return await self.inner.take(key)

    async def delete(self, key: str) -> bool:
        """Count and pass on."""
        self.calls["delete"] += 1
        return await self.inner.delete(key)


def repeated(once: Callable[[], Awaitable[object]]) -> Work:
    """Return work that awaits *once* as often as it is told to."""

    async def work(count: int) -> None:
        for _ in range(count):
            await once()

    return work


async def in_memory(rounds: int) -> list[dict[str, Any]]:
    """Time what the service adds to the store: a bare look-up by hash is the baseline."""
    store = MemoryStore()
    sessions = SessionService(store)
    issued = await sessions.create(user_id="alice", tenant_id="acme", roles=["member"])
    plain = issued.sid.reveal()
    line = f"{SessionCookie().name}={plain}".encode()
    scope = {"type": "http", "method": "GET", "headers": [(b"host", b"a"), (b"cookie", line)]}
    authenticator = SessionAuthenticator(sessions)

    async def bare() -> bytes | None:
        return await store.get("session:" + sha256(plain.encode()).hexdigest())

    contenders = [
        Contender("SHA-256 and one look-up", repeated(bare)),
        Contender("session validated", repeated(lambda: sessions.judge(plain))),
        Contender("cookie to principal", repeated(lambda: authenticator.authenticate(scope))),
    ]
    return await interleave(contenders, rounds=rounds, repeat=300)


@asynccontextmanager
async def opened() -> AsyncIterator[dict[str, KeyValueStore]]:
    """Open a store of each kind; Redis only where it is installed."""
    stores: dict[str, KeyValueStore] = {"memory": MemoryStore()}
    table = state_table(MetaData())
    with EmbeddedPostgres(durable=False) as server:
        url = make_url(server.create_database("bench").dsn()).set(drivername="postgresql+asyncpg")
        engine = create_async_engine(url)
        await create_state_table(engine, table)
        stores["PostgreSQL"] = SQLStore(engine, table)
        program = find_redis()
        if program is None:
            yield stores
        else:
            with running_redis(program) as redis:
                kept = RedisStore(redis.url)
                yield {**stores, "Redis": kept}
                await kept.close()
        await engine.dispose()


async def timed(once: Callable[[int], Awaitable[object]], count: int) -> list[float]:
    """Return the milliseconds of each of *count* calls, one after another."""
    taken: list[float] = []
    for number in range(count):
        started = perf_counter()
        await once(number)
        taken.append((perf_counter() - started) * 1e3)
    return taken


def percentile(taken: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(taken, n=100)[98]


async def latency(name: str, store: KeyValueStore, *, count: int) -> dict[str, Any]:
    """Validate *count* times, one after another; return percentiles, and what was written."""
    counting = Counting(store)
    sessions = SessionService(counting)
    issued: list[IssuedSession] = [
        await sessions.create(user_id=f"user-{number}", tenant_id="acme") for number in range(100)
    ]
    for each in issued:
        await sessions.judge(each.sid)
    counting.calls.clear()
    sids, keys = [each.sid for each in issued], [f"session:{x.session.session_id}" for x in issued]
    bare = await timed(lambda number: store.get(keys[number % len(keys)]), count)
    taken = await timed(lambda number: sessions.judge(sids[number % len(sids)]), count)
    p99 = percentile(taken)
    return {
        "store": name,
        "p50_ms": round(statistics.median(taken), 3),
        "p99_ms": round(p99, 3),
        "bare_read_p50_ms": round(statistics.median(bare), 3),
        "bare_read_p99_ms": round(percentile(bare), 3),
        "reads_per_validation": sum(counting.calls.values()) / count,
        "writes": sum(counting.calls[each] for each in WRITES),
        "p99_at_most_10_ms": "holds" if p99 <= LONGEST_P99 else "FAILS",
    }


async def run(rounds: int) -> tuple[dict[str, Any], bool]:
    """Run everything; return the tables, and whether what is promised holds."""
    unsubscribe = subscribe(Nobody())
    memory = await in_memory(rounds)
    async with opened() as stores:
        stored = [await latency(name, each, count=rounds * 100) for name, each in stores.items()]
    unsubscribe()
    print_table("One session in memory", memory)
    print("\n### One session validated, by store\n")
    for row in stored:
        print(f"- {row}")
    held = all(row["p99_ms"] <= LONGEST_P99 and not row["writes"] for row in stored)
    return {"in memory": memory, "by store": stored}, held


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
