"""SQLAPIKeyStore: API keys in a SQL database, through SQLAlchemy's async engine.

A key is looked up before any tenant is bound: it is what says which tenant. So the store runs on
an engine of its own that is not guarded, as a database role that may read and write this table
and nothing else; declare the table ``system_only`` in `tenant_policies`, so that the app's own
role cannot reach it. ``docs/api-keys.md`` has the role's SQL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    Column,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from asgi_guard._internal.clock import utc
from asgi_guard.auth.api_keys import APIKey
from asgi_guard.errors import ConfigError, ConflictError, UnavailableError

__all__ = ["SQLAPIKeyStore", "api_keys_table"]

_TIMES: Final = ("created_at", "expires_at", "revoked_at", "last_used_at")


def api_keys_table(
    metadata: MetaData, *, name: str = "api_keys", schema: str | None = None
) -> Table:
    """Declare the table in *metadata*, so that your migrations make it.

    The tenant is text here, whatever its type elsewhere: the table is under no tenant's policy.
    """
    moment = DateTime(timezone=True)
    return Table(
        name,
        metadata,
        Column("key_id", String(16), primary_key=True),
        Column("digest", LargeBinary(32), nullable=False, unique=True),
        Column("name", Text, nullable=False),
        Column("hint", Text, nullable=False),
        Column("tenant_id", Text, nullable=False),
        Column("user_id", Text, nullable=False),
        Column("scopes", Text, nullable=False),  # separated by spaces, as in RFC 6749 section 3.3
        Column("created_at", moment, nullable=False),
        Column("expires_at", moment),
        Column("revoked_at", moment),
        Column("last_used_at", moment),
        Column("successor_id", String(16)),
        Index(f"ix_{name}_tenant", "tenant_id", "created_at"),
        schema=schema,
    )


class SQLAPIKeyStore:
    """An `APIKeyStore` in one table.

    Args:
        engine: Not guarded, as the table's own role.
        table: Made by `api_keys_table`.
        timeout: Seconds that one operation may take, waiting for a connection included.

    Raises:
        ConfigError: The engine is not async, or the timeout not positive.

    Each method raises `UnavailableError` when the database does not answer.
    """

    def __init__(self, engine: AsyncEngine, table: Table, *, timeout: float = 5.0) -> None:
        if not isinstance(engine, AsyncEngine):
            raise ConfigError(
                "SQLAPIKeyStore.engine",
                f"is a {type(engine).__name__}",
                "Pass an AsyncEngine, from sqlalchemy.ext.asyncio.create_async_engine.",
            )
        if not timeout > 0:
            raise ConfigError("SQLAPIKeyStore.timeout", f"is {timeout!r}", "Pass more than 0.")
        self._engine = engine
        self._table = table
        self._timeout = timeout

    async def add(self, key: APIKey) -> None:
        """Keep a new key.

        Raises:
            ConflictError: Its id or its digest is there already.
        """
        async with self._transaction() as connection:
            await connection.execute(self._table.insert().values(_row(key)))

    async def find(self, digests: Sequence[bytes]) -> APIKey | None:
        """Return the key with one of *digests*, through the unique index."""
        return await self._one(self._table.c.digest.in_(digests))

    async def get(self, key_id: str, tenant_id: str) -> APIKey | None:
        """Return key *key_id* if it is *tenant_id*'s."""
        return await self._one(self._is(key_id, tenant_id))

    async def list_keys(
        self, tenant_id: str, *, user_id: str | None = None, limit: int = 100
    ) -> list[APIKey]:
        """Return the newest keys of a tenant, or of one user in it, newest first."""
        columns = self._table.c
        query = (
            select(self._table)
            .where(*self._owned(tenant_id, user_id))
            .order_by(columns.created_at.desc(), columns.key_id.desc())
            .limit(limit)
        )
        async with self._transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_key(row) for row in rows]

    async def supersede(self, key_id: str, successor: APIKey, *, until: float, now: float) -> bool:
        """Add *successor* and let *key_id* end at *until*, both or neither."""
        columns = self._table.c
        end = (
            update(self._table)
            .where(
                self._is(key_id, successor.tenant_id),
                columns.revoked_at.is_(None),
                columns.successor_id.is_(None),
                or_(columns.expires_at.is_(None), columns.expires_at > utc(now)),
            )
            .values(expires_at=utc(until), successor_id=successor.key_id)
        )
        async with self._transaction() as connection:
            if (await connection.execute(end)).rowcount != 1:
                return False
            await connection.execute(self._table.insert().values(_row(successor)))
        return True

    async def revoke(self, key_id: str, tenant_id: str, *, at: float) -> bool:
        """Revoke key *key_id* of *tenant_id*; tell whether it was there and not yet revoked."""
        return await self._revoke(self._is(key_id, tenant_id), at=at) == 1

    async def revoke_all(self, tenant_id: str, *, user_id: str | None, at: float) -> int:
        """Revoke every key of a tenant, or of one user in it; return how many it were."""
        return await self._revoke(*self._owned(tenant_id, user_id), at=at)

    async def touch(self, key_id: str, *, at: float, unless_after: float) -> bool:
        """Note a use at *at*, unless one after *unless_after* is noted; tell whether it did."""
        used = self._table.c.last_used_at
        note = (
            update(self._table)
            .where(self._table.c.key_id == key_id, or_(used.is_(None), used <= utc(unless_after)))
            .values(last_used_at=utc(at))
        )
        async with self._transaction() as connection:
            return (await connection.execute(note)).rowcount == 1

    async def _revoke(self, *which: Any, at: float) -> int:
        revoked = self._table.c.revoked_at
        statement = update(self._table).where(*which, revoked.is_(None)).values(revoked_at=utc(at))
        async with self._transaction() as connection:
            return int((await connection.execute(statement)).rowcount)

    async def _one(self, which: Any) -> APIKey | None:
        async with self._transaction() as connection:
            row = (await connection.execute(select(self._table).where(which))).mappings().first()
        return None if row is None else _key(row)

    def _is(self, key_id: str, tenant_id: str) -> Any:
        return (self._table.c.key_id == key_id) & (self._table.c.tenant_id == tenant_id)

    def _owned(self, tenant_id: str, user_id: str | None) -> list[Any]:
        columns = self._table.c
        mine = [columns.tenant_id == tenant_id]
        return mine if user_id is None else [*mine, columns.user_id == user_id]

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        conflict = False
        try:
            async with asyncio.timeout(self._timeout), self._engine.begin() as connection:
                yield connection
        except IntegrityError:
            conflict = True
        except (SQLAlchemyError, OSError) as failure:  # TimeoutError is an OSError
            raise UnavailableError("api_keys_unreachable") from failure
        if conflict:  # raised here: the driver's error quotes the row
            raise ConflictError("api_key_exists")


def _row(key: APIKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "digest": key.digest,
        "name": key.name,
        "hint": key.hint,
        "tenant_id": key.tenant_id,
        "user_id": key.user_id,
        "scopes": " ".join(sorted(key.scopes)),
        "successor_id": key.successor_id,
        **{name: _moment(getattr(key, name)) for name in _TIMES},
    }


def _key(row: RowMapping) -> APIKey:
    scopes = frozenset(row["scopes"].split())
    times = {name: _seconds(row[name]) for name in _TIMES}
    return APIKey(**{**dict(row), "scopes": scopes, **times, "digest": bytes(row["digest"])})


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else utc(seconds)


def _seconds(moment: datetime | None) -> float | None:
    if moment is None:
        return None
    # SQLite hands naive datetimes out, which are UTC as they were put in.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
