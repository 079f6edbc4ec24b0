"""Two processes at one store: of two that want the same entry, one gets it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest
from limits.aio.storage import Storage
from limits.storage import storage_from_string
from sqlalchemy.pool import NullPool

from asgi_guard.auth.throttle import Throttle, ThrottleLimits
from asgi_guard.errors import ThrottledError
from asgi_guard.integrations.sql_store import create_state_table
from tests.support.redis_server import RedisServer
from tests.support.store_kinds import TABLE, engine_for

SHARED = [
    pytest.param("asyncpg", marks=pytest.mark.postgres),
    pytest.param("redis", marks=pytest.mark.redis),
]


@pytest.fixture(params=SHARED)
async def shared(request: pytest.FixtureRequest) -> list[str]:
    """Give the kind and address of a store that processes share."""
    if request.param == "redis":
        return ["redis", str(request.getfixturevalue("redis_server").url)]
    dsn = str(request.getfixturevalue("postgres_database").dsn())
    engine = engine_for("asyncpg", dsn, poolclass=NullPool)
    await create_state_table(engine, TABLE)
    return ["asyncpg", dsn]


def winners(*arguments: str) -> dict[str, list[int]]:
    command = [sys.executable, "-m", "tests.support.store_process", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
    found: dict[str, list[int]] = json.loads(run.stdout)
    return found


def test_of_two_processes_one_wins(shared: list[str]) -> None:
    """A ticket, a nonce, a used proof: workers share nothing else."""
    for race, counts in winners(*shared, "10").items():
        assert counts == [1] * 10, race


# It is about the test above, not about the store: one kind shows it.
@pytest.mark.parametrize("shared", SHARED[:1], indirect=True)
def test_control_two_careless_processes_both_win(shared: list[str]) -> None:
    """Negative control: look first, write then, and both sign in with one ticket."""
    for race, counts in winners(*shared, "1", "careless").items():
        if race in {"put_if_absent", "replace", "take"}:
            assert counts == [2], race


THROTTLE = """
import asyncio, sys
from limits.storage import storage_from_string
from asgi_guard.auth.throttle import Throttle, ThrottleLimits
from asgi_guard.errors import ThrottledError

async def main():
    storage = storage_from_string(sys.argv[1], implementation="redispy")
    throttle = Throttle(limits=ThrottleLimits(account="20 per hour"), storage=storage)
    heard = 0
    for _ in range(30):
        try:
            async with throttle.attempt(account=sys.argv[2]):
                heard += 1
        except ThrottledError:
            pass
    await storage.bridge.storage.aclose()
    print(heard)

asyncio.run(main())
"""


@pytest.mark.redis
async def test_two_processes_count_refused_logins_together(redis_server: RedisServer) -> None:
    """Behind four workers, ten guesses must not be forty."""
    url = f"async+{redis_server.url}"
    command = [sys.executable, "-c", THROTTLE, url, "alice"]
    workers = [
        await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE) for _ in range(2)
    ]
    heard = [int((await worker.communicate())[0].split()[-1]) for worker in workers]

    storage = storage_from_string(url, implementation="redispy")
    assert isinstance(storage, Storage)
    throttle = Throttle(limits=ThrottleLimits(account="20 per hour"), storage=storage)
    with pytest.raises(ThrottledError) as refused:
        async with throttle.attempt(account="alice"):
            pass
    await storage.bridge.storage.aclose()  # type: ignore[attr-defined]

    assert sum(heard) == 20
    assert 0 < refused.value.retry_after <= 3600
