"""Fixtures of the whole suite: real servers, each private, each gone at the end.

A server that cannot be had skips its tests with a reason, and fails them under ``CI=true``.
``ASGI_GUARD_TEST_DSN``, a superuser's URL, names a PostgreSQL to use instead of the embedded one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from asgi_guard._internal import events
from asgi_guard.errors import GuardError
from asgi_guard.testing import PostgresDatabase, PostgresServer
from asgi_guard.testing.running import running_server
from tests.support.availability import unavailable
from tests.support.browser import find_chromium
from tests.support.pgbouncer import PgBouncer, find_pgbouncer, running_pgbouncer
from tests.support.redis_server import RedisServer, find_redis, running_redis

pytest_plugins = [
    "asgi_guard.testing.plugin",
    "tests.support.node_oidc.fixtures",
    "tests.support.rls_fixtures",
    "tests.support.shared_objects",
]

# No deadline per example: a busy machine is not a failure.
settings.register_profile("asgi_guard", deadline=None)
settings.load_profile("asgi_guard")

_DEBIAN_POSTGRES_15 = Path("/usr/lib/postgresql/15/bin")


# Few tests that take long: begun last, one worker would work on them while the other has ended.
_LONG = (
    "tests/browser/",
    "tests/examples/",
    "tests/jobs/",
    "tests/fuzz/",
    "tests/attacks/test_dpop_replay.py",
    "tests/attacks/test_jobs_",
    "tests/attacks/test_oidc_workers.py",
    "tests/attacks/test_rls_cancellation.py",
    "tests/attacks/test_rls_crowd.py",
    "tests/cli/test_adopt.py",
    "tests/integrations/test_alembic.py",
    "tests/integrations/test_sql_keys.py",
    "tests/rls/test_adoption.py",
    "tests/stores/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


@pytest.fixture(autouse=True)
def same_readers_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out whatever the test leaves on the process's event stream: a guard stays on it."""
    monkeypatch.setattr(events, "_sinks", events._sinks)
    monkeypatch.setattr(events, "_routine", events._routine)


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Give the session's server; the plugin's fixture, with our rule for a missing one."""
    dsn = request.config.getoption("asgi_guard_dsn") or os.environ.get("ASGI_GUARD_TEST_DSN")
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running_server(dsn or None))
        except GuardError as error:
            unavailable("PostgreSQL", str(error))
        yield server


@pytest.fixture
def pgbouncer() -> Iterator[Callable[..., PgBouncer]]:
    """Give a factory of poolers in transaction mode; they end with the test.

    ``pgbouncer(database, users={name: password}, pool_size=5)`` gives an object with
    ``.dsn(user, password)``.
    """
    program = find_pgbouncer()
    if program is None:
        unavailable("PgBouncer", "it is not installed (Debian: apt-get install pgbouncer)")
    with ExitStack() as stack:

        def start(
            database: PostgresDatabase, users: Mapping[str, str], pool_size: int = 5
        ) -> PgBouncer:
            return stack.enter_context(running_pgbouncer(program, database, users, pool_size))

        yield start


@pytest.fixture(scope="session")
def redis_program() -> str:
    """Give the path of a Redis or Valkey server."""
    program = find_redis()
    if program is None:
        unavailable("Redis", "it is not installed (Debian: apt-get install redis-server)")
    return program


@pytest.fixture(scope="session")
def redis_server(redis_program: str) -> Iterator[RedisServer]:
    """Give the session's server; tests share it and keep to keys of their own."""
    with running_redis(redis_program) as server:
        yield server


@pytest.fixture(scope="session")
def chromium() -> str:
    """Give the path of a Chromium."""
    program = find_chromium()
    if program is None:
        unavailable("Chromium", "it is not installed (Debian: apt-get install chromium)")
    return program


@pytest.fixture(scope="session")
def postgres_15_bin() -> Path:
    """Give the folder of PostgreSQL 15, the oldest release that is promised."""
    if not (_DEBIAN_POSTGRES_15 / "initdb").exists():
        unavailable("PostgreSQL 15", f"no server in {_DEBIAN_POSTGRES_15}")
    return _DEBIAN_POSTGRES_15
