"""A store of each kind, for the tests that hold for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from asgi_guard.protocols import KeyValueStore
from tests.support.headers_clock import MovedClock
from tests.support.store_kinds import KINDS, opened


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def address(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Say where the store of this kind is; its server is started when needed."""
    if kind == "redis":
        return str(request.getfixturevalue("redis_server").url)
    if kind in {"asyncpg", "psycopg"}:
        return str(request.getfixturevalue("postgres_database").dsn())
    return f"sqlite:///{tmp_path / 'state.db'}"


@pytest.fixture
async def store(kind: str, address: str, clock: MovedClock) -> AsyncIterator[KeyValueStore]:
    options = {"prefix": f"test-{uuid4().hex}:"} if kind == "redis" else {}
    async with opened(kind, address, clock, **options) as made:
        yield made
