"""A pytest plugin: each test gets a PostgreSQL database of its own.

Enable it in the top ``conftest.py``::

    pytest_plugins = ["asgi_guard.testing.plugin"]

It starts one embedded server a session, or uses the one that ``--asgi-guard-dsn`` names. Roles
belong to the server, not to a database: tests that make roles name them apart.
"""

from __future__ import annotations

import inspect
import itertools
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

import pytest

from asgi_guard.testing.detector import TenantDetector
from asgi_guard.testing.running import running_server
from asgi_guard.testing.server import (
    PostgresDatabase,
    PostgresServer,
    quote_identifier,
    run_apart,
)

__all__ = [
    "PrepareTemplate",
    "TemplateFactory",
    "postgres_database",
    "postgres_server",
    "postgres_template",
    "postgres_template_factory",
    "pytest_addoption",
    "recorded_statements",
    "tenant_detector",
]

PrepareTemplate: TypeAlias = Callable[[PostgresDatabase], Awaitable[None] | None]
"""Fills a template database; sync or async."""

TemplateFactory: TypeAlias = Callable[[PrepareTemplate], str]
"""Gives the name of the template that a function has filled, made once a session."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--asgi-guard-dsn``."""
    parser.getgroup("asgi-guard").addoption(
        "--asgi-guard-dsn",
        metavar="URL",
        default=None,
        help="superuser's URL of a PostgreSQL server to use instead of starting one",
    )


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Give the session's server."""
    with running_server(request.config.getoption("asgi_guard_dsn")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template_factory(postgres_server: PostgresServer) -> Iterator[TemplateFactory]:
    """Give a function that makes template databases; each is filled once a session.

    Override `postgres_template` with it, in a module or a ``conftest.py``::

        @pytest.fixture(scope="session")
        def postgres_template(postgres_template_factory):
            return postgres_template_factory(create_schema)
    """
    made: dict[PrepareTemplate, str] = {}

    def template(prepare: PrepareTemplate) -> str:
        if prepare not in made:
            made[prepare] = _make_template(postgres_server, prepare)
        return made[prepare]

    yield template
    for name in made.values():
        postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def postgres_template() -> str | None:
    """Name the database that `postgres_database` copies; ``None`` for an empty one."""
    return None


@pytest.fixture
def postgres_database(
    postgres_server: PostgresServer, postgres_template: str | None
) -> Iterator[PostgresDatabase]:
    """Give the test a database of its own, dropped after it whoever is still connected."""
    name = _fresh_name("test")
    try:
        yield postgres_server.create_database(name, postgres_template)
    finally:
        postgres_server.drop_database(name)


@pytest.fixture
def recorded_statements() -> Iterator[list[str]]:
    """Collect what SQLAlchemy compiles during the test, for `lint_operators`.

    Use it like this::

        async def test_no_query_loses_its_index(client, engine, recorded_statements):
            await client.get("/search?q=x")
            assert await lint_operators(engine, recorded_statements) == []
    """
    from asgi_guard.testing.statements import record_statements  # noqa: PLC0415 - loads SQLAlchemy

    with record_statements() as seen:
        yield seen


@pytest.fixture
def tenant_detector() -> Iterator[TenantDetector]:
    """Watch objects during the test, and fail it at its end if two tenants touched one.

    Use it like this::

        def test_nothing_is_shared(client, tenant_detector):
            tenant_detector.watch_name("app.agents.support_agent")
            client.get("/ask", headers=ALICE)
            client.get("/ask", headers=BOB)
    """
    detector = TenantDetector()
    try:
        yield detector
    finally:
        detector.close()
    detector.check()


_numbers = itertools.count(1)


def _fresh_name(kind: str) -> str:
    # Readable in a log, and apart from those of other runs on a shared server.
    return f"guard_{kind}_{os.getpid()}_{next(_numbers)}_{secrets.token_hex(3)}"


def _make_template(server: PostgresServer, prepare: PrepareTemplate) -> str:
    name = _fresh_name("template")
    database = server.create_database(name)
    try:
        waiting = prepare(database)
        if inspect.isawaitable(waiting):
            run_apart(_finish(waiting))
        # A database with a connection cannot be copied; pools of *prepare* may have left some.
        database.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        server.execute(f"ALTER DATABASE {quote_identifier(name)} WITH ALLOW_CONNECTIONS false")
    except BaseException:
        server.drop_database(name)
        raise
    return name


async def _finish(waiting: Awaitable[None]) -> None:
    await waiting
