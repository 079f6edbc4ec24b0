"""What a credential costs: hashing a password, verifying an API key, and the loop meanwhile.

python benchmarks/credentials.py [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import statistics
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

import argon2
from harness import Contender, Work, interleave, machine, print_table

from asgi_guard.auth.api_keys import APIKeyService, KeyFormat, MemoryAPIKeyStore
from asgi_guard.auth.passwords import PROFILES, PasswordHasher
from asgi_guard.auth.throttle import Throttle
from asgi_guard.errors import AuthenticationError
from asgi_guard.observability import SecurityEvent, subscribe
from asgi_guard.secret import Secret

PASSWORD = "correct horse battery staple"  # noqa: S105 - anybody's
LONGEST_HASH = 150.0  # milliseconds
LONGEST_LAG = 50.0
LOGINS = 20


class Nobody:
    """A reader of events that drops them: writing lines is not what is measured."""

    def emit(self, event: SecurityEvent) -> None:
        """Drop *event*."""


def repeated(once: Callable[[], Awaitable[object]]) -> Work:
    """Return work that awaits *once* as often as it is told to."""

    async def work(count: int) -> None:
        for _ in range(count):
            await once()

    return work


async def passwords(rounds: int) -> list[dict[str, Any]]:
    """Time one hash: argon2-cffi alone, and each profile in its pool."""
    bare = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)

    async def alone() -> str:
        return bare.hash(PASSWORD)

    contenders = [Contender("argon2-cffi alone, m=19456 t=2 p=1", repeated(alone))]
    for name in PROFILES:
        hasher = PasswordHasher(profile=name, workers=1)
        limit = 1.25 if name == "owasp" else None
        contenders.append(Contender(name, repeated(partial(hasher.hash, PASSWORD)), limit))
    known = PasswordHasher(workers=1)
    stored = await known.hash(PASSWORD)
    contenders += [
        Contender("owasp, verify", repeated(lambda: known.verify(stored, "wrong password"))),
        Contender("owasp, unknown user", repeated(lambda: known.verify(None, "wrong password"))),
    ]
    return await interleave(contenders, rounds=rounds, repeat=2, warm_up=1)


async def api_keys(rounds: int) -> list[dict[str, Any]]:
    """Time one verification: a bare hash in a dict, a remembered key, a look-up each time."""
    key_format, pepper = KeyFormat("acme", "live"), Secret(secrets.token_urlsafe(32))
    services = [
        APIKeyService(MemoryAPIKeyStore(), key_format=key_format, pepper=pepper, cache_ttl=ttl)
        for ttl in (4.9, 0)
    ]
    keys = [
        (await each.create(name="b", tenant_id="t", user_id="u")).key.reveal() for each in services
    ]
    table = {sha256(keys[0].encode()).digest(): "record"}

    async def bare() -> str:
        return table[sha256(keys[0].encode()).digest()]

    unknown, throttle = key_format.new_key().reveal(), Throttle()
    typo = keys[0][:-1] + ("a" if keys[0][-1] != "a" else "b")

    async def refused(key: str) -> None:
        with suppress(AuthenticationError):
            await services[0].verify(key)

    async def counted() -> None:
        await throttle.ensure_open(throttle.attempt(address="192.0.2.1", account="a"))

    contenders = [
        Contender("SHA-256 and a dict", repeated(bare)),
        Contender("remembered key", repeated(lambda: services[0].verify(keys[0]))),
        Contender("key from the store, in memory", repeated(lambda: services[1].verify(keys[1]))),
        Contender("typing error", repeated(lambda: refused(typo))),
        Contender("unknown key, remembered", repeated(lambda: refused(unknown))),
        Contender("throttle, asked only", repeated(counted)),
    ]
    return await interleave(contenders, rounds=rounds, repeat=200)


async def lag(logins: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Return how late a task that wants to run each millisecond was, in milliseconds."""
    late: list[float] = []
    over = asyncio.Event()

    async def tick() -> None:
        while not over.is_set():
            started = perf_counter()
            await asyncio.sleep(0.001)
            late.append((perf_counter() - started) * 1e3 - 1)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.02)
    started = perf_counter()
    await logins()
    took = perf_counter() - started
    over.set()
    await ticking
    return {
        "worst_ms": round(max(late), 1),
        "median_ms": round(statistics.median(late), 2),
        "logins_took_ms": round(took * 1e3, 1),
    }


async def lags() -> dict[str, dict[str, float]]:
    """Measure the loop's lag at 20 logins at once, in the pool and, to compare, on the loop."""
    pooled, bare = PasswordHasher(), argon2.PasswordHasher(2, 19_456, 1)
    stored = bare.hash(PASSWORD)

    async def in_pool() -> None:
        await asyncio.gather(*(pooled.verify(stored, PASSWORD) for _ in range(LOGINS)))

    async def on_loop() -> None:
        for _ in range(LOGINS):
            bare.verify(stored, PASSWORD)

    return {"in the pool": await lag(in_pool), "on the loop": await lag(on_loop)}


async def run(rounds: int) -> tuple[dict[str, Any], bool]:
    """Run everything; return the tables, and whether what is promised holds."""
    unsubscribe = subscribe(Nobody())
    tables: dict[str, Any] = {
        "passwords": await passwords(rounds),
        "api_keys": await api_keys(rounds),
        "lag": await lags(),
    }
    unsubscribe()
    print_table("One password", tables["passwords"])
    print_table("One API key", tables["api_keys"])
    print(f"\n### Loop lag at {LOGINS} logins at once\n")
    for place, figures in tables["lag"].items():
        print(f"- {place}: {figures}")
    hashes = {row["name"]: row["median_us"] / 1e3 for row in tables["passwords"]}
    held = (
        hashes["owasp"] <= LONGEST_HASH
        and tables["lag"]["in the pool"]["worst_ms"] <= LONGEST_LAG
        and all(row["holds"] is not False for row in tables["passwords"])
    )
    print(f"\nowasp: {hashes['owasp']:.1f} ms a hash (at most {LONGEST_HASH:.0f}); held: {held}")
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
