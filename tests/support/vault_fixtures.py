"""Fixtures of the vault's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from asgi_guard.testing import PostgresDatabase, PostgresServer
from asgi_guard.testing.plugin import TemplateFactory
from asgi_guard.vault import VaultStore
from tests.support.vault_stores import KINDS, Stores, fill_vault, opened_stores

__all__ = ["sql_stores", "store", "stores"]


@contextmanager
def _database(request: pytest.FixtureRequest) -> Iterator[PostgresDatabase]:
    server: PostgresServer = request.getfixturevalue("postgres_server")
    template: TemplateFactory = request.getfixturevalue("postgres_template_factory")
    filled = template(fill_vault)
    name = f"{filled}_copy"
    try:
        yield server.create_database(name, filled)
    finally:
        server.drop_database(name)


@pytest.fixture(params=KINDS)
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    """Give each kind of store in turn."""
    with ExitStack() as stack:
        database = None
        if request.param == "sql":
            database = stack.enter_context(_database(request))
        async with opened_stores(request.param, tmp_path / "vault", database) as made:
            yield made


@pytest.fixture
async def sql_stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    """Give the SQL store alone."""
    with ExitStack() as stack:
        database = stack.enter_context(_database(request))
        async with opened_stores("sql", tmp_path, database) as made:
            yield made


@pytest.fixture
def store(stores: Stores) -> VaultStore:
    """Give one store of the kind."""
    return stores.another()
