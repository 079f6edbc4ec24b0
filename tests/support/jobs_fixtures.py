"""Fixtures for tests with real workers: one world for each module."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from asgi_guard.tenancy import EnvelopeKey
from asgi_guard.testing import PostgresServer
from tests.support.jobs_world import ALICE, BOB, JobsWorld
from tests.support.redis_server import RedisServer
from tests.support.rls_schema import RLSDatabase

__all__ = ["jobs_world", "loaded"]


@pytest.fixture(scope="module")
def jobs_world(
    postgres_server: PostgresServer, rls_template: str, redis_server: RedisServer
) -> Iterator[JobsWorld]:
    """Give the module a database of its own, keys, and two tenants with a user each."""
    name = f"jobs{uuid4().hex[:8]}"
    database = RLSDatabase(postgres_server.create_database(name, rls_template))
    world = JobsWorld(
        redis_url=redis_server.url,
        dsn=database.dsn,
        keys=EnvelopeKey.generate().export(),
        name=name,
    )
    world.admit("user-1", ALICE)
    world.admit("user-1", BOB)
    yield world
    postgres_server.drop_database(name)


@contextmanager
def loaded(world: JobsWorld, module: str, **more: str) -> Iterator[Any]:
    """Load a queue's app as a sender does."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (world.environment | more).items():
            patch.setenv(name, value)
        sys.modules.pop(module, None)  # of another module's world
        yield importlib.import_module(module)
