"""Where a `SQLKeyStore` keeps its row: the table, and which engines can reach it."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from asgi_guard.errors import ConfigError
from asgi_guard.rls import is_guarded

__all__ = ["INSERTS", "check_engine", "signing_keys_table"]

INSERTS: Final[dict[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
"""Insert statements that can meet a row that is there already, by dialect."""


def signing_keys_table(
    metadata: MetaData, *, name: str = "signing_keys", schema: str | None = None
) -> Table:
    """Declare the table in *metadata*, so that your migrations make it.

    Declare it ``system_only`` in `tenant_policies`: no tenant owns it, and the app's own role has
    no business in it.
    """
    return Table(
        name,
        metadata,
        Column("ring", String(64), primary_key=True),
        Column("version", BigInteger, nullable=False),  # 0: held for the first writer
        Column("key_id", LargeBinary, nullable=False),
        Column("master_id", Text, nullable=False),
        Column("wrapped", LargeBinary, nullable=False),
        Column("envelope", LargeBinary, nullable=False),
        schema=schema,
    )


def check_engine(engine: object) -> None:
    """Refuse an engine that cannot be used from a thread with a loop of its own.

    Raises:
        ConfigError: It is not async, guarded, pooled, or of another database.
    """
    problem = ""
    if not isinstance(engine, AsyncEngine):
        problem = f"is a {type(engine).__name__}"
    elif engine.dialect.name not in INSERTS:
        problem = f"is of {engine.dialect.name}"
    elif is_guarded(engine):
        problem = "is guarded, and no tenant owns the keys"
    elif not isinstance(engine.sync_engine.pool, NullPool):
        problem = "keeps connections, which belong to the event loop that made them"
    if problem:
        raise ConfigError(
            "SQLKeyStore.engine", problem, "Pass create_async_engine(url, poolclass=NullPool)."
        )
