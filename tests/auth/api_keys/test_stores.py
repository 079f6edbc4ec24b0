"""One contract for every store: in memory and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from asgi_guard.auth.api_keys import APIKey, APIKeyStore, MemoryAPIKeyStore
from asgi_guard.errors import ConfigError, ConflictError, UnavailableError
from asgi_guard.integrations.sql_api_keys import SQLAPIKeyStore, api_keys_table
from asgi_guard.rls import tenant_policies
from asgi_guard.testing import PostgresDatabase
from tests.support.api_keys_world import make, service

TABLE = api_keys_table(MetaData())
NOW = 1_772_366_400.0


def key(number: int = 1, **changes: Any) -> APIKey:
    """Build a record."""
    plain: dict[str, Any] = {
        "key_id": f"id{number}",
        "name": "ci",
        "hint": "acme_live_abcd",
        "digest": bytes([number]) * 32,
        "tenant_id": "t1",
        "user_id": "alice",
        "scopes": frozenset({"notes:read", "notes:write"}),
        "created_at": NOW + number,
    }
    return APIKey(**{**plain, **changes})


def engine_of(database: PostgresDatabase, user: str | None = None) -> AsyncEngine:
    url = database.dsn(user, None if user is None else "secret")
    return create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://"), poolclass=NullPool
    )


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.postgres)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[APIKeyStore]:
    if request.param == "memory":
        yield MemoryAPIKeyStore()
        return
    engine = engine_of(request.getfixturevalue("postgres_database"))
    async with engine.begin() as connection:
        await connection.run_sync(TABLE.metadata.create_all)
    yield SQLAPIKeyStore(engine, TABLE)
    await engine.dispose()


async def test_a_key_comes_back_as_it_was_put_in(store: APIKeyStore) -> None:
    """Times, scopes and bytes survive the database."""
    whole = key(1, expires_at=NOW + 90, last_used_at=NOW + 5, scopes=frozenset())
    await store.add(whole)
    await store.add(key(2))

    assert await store.find([b"\xff" * 32, whole.digest]) == whole
    assert await store.get("id2", "t1") == key(2)
    assert await store.find([b"\xff" * 32]) is None
    assert isinstance(store, APIKeyStore)


async def test_an_id_or_digest_that_is_there_is_refused(store: APIKeyStore) -> None:
    """A digest opens one door."""
    await store.add(key(1))

    with pytest.raises(ConflictError) as refused:
        await store.add(key(2, digest=key(1).digest))
    with pytest.raises(ConflictError):
        await store.add(key(1, digest=b"\x09" * 32))

    assert refused.value.__cause__ is None
    assert len(await store.list_keys("t1")) == 1


async def test_another_tenants_key_cannot_be_had_listed_ended_or_revoked(
    store: APIKeyStore,
) -> None:
    """An id in a URL is a claim (OWASP API1: broken object level authorization)."""
    await store.add(key(1, tenant_id="t2"))

    assert await store.get("id1", "t1") is None
    assert await store.list_keys("t1") == []
    assert not await store.revoke("id1", "t1", at=NOW)
    assert await store.revoke_all("t1", user_id=None, at=NOW) == 0
    assert not await store.supersede("id1", key(2), until=NOW + 9, now=NOW)
    assert await store.get("id1", "t2") == key(1, tenant_id="t2")
    assert await store.get("id2", "t1") is None


async def test_keys_are_listed_newest_first_by_tenant_and_user(store: APIKeyStore) -> None:
    """For a settings page."""
    for number, user in ((1, "alice"), (2, "bob"), (3, "alice")):
        await store.add(key(number, user_id=user))

    assert [k.key_id for k in await store.list_keys("t1")] == ["id3", "id2", "id1"]
    assert [k.key_id for k in await store.list_keys("t1", user_id="alice")] == ["id3", "id1"]
    assert [k.key_id for k in await store.list_keys("t1", limit=1)] == ["id3"]


async def test_revoking_happens_once_and_keeps_the_first_time(store: APIKeyStore) -> None:
    """When a key was stopped is evidence."""
    for number, user in ((1, "alice"), (2, "bob"), (3, "alice")):
        await store.add(key(number, user_id=user))

    assert await store.revoke("id1", "t1", at=NOW + 10)
    assert not await store.revoke("id1", "t1", at=NOW + 20)
    assert await store.revoke_all("t1", user_id="alice", at=NOW + 30) == 1
    assert await store.revoke_all("t1", user_id=None, at=NOW + 40) == 1

    revoked = [(k.key_id, k.revoked_at) for k in await store.list_keys("t1")]
    assert revoked == [("id3", NOW + 30), ("id2", NOW + 40), ("id1", NOW + 10)]


async def test_a_key_gets_one_successor_however_many_ask(store: APIKeyStore) -> None:
    """Two rotations at once must not leave a key that nobody was shown."""
    await store.add(key(1, expires_at=NOW + 1000))

    won = await asyncio.gather(
        *(store.supersede("id1", key(n), until=NOW + 50, now=NOW) for n in range(2, 7))
    )

    assert sorted(won) == [False] * 4 + [True]
    kept = await store.list_keys("t1")
    assert len(kept) == 2
    old = await store.get("id1", "t1")
    assert old is not None
    assert (old.expires_at, old.successor_id) == (NOW + 50, kept[0].key_id)


@pytest.mark.parametrize(
    "changes", [{"revoked_at": NOW - 1}, {"expires_at": NOW}, {"successor_id": "id9"}]
)
async def test_a_key_that_is_over_gets_no_successor(
    store: APIKeyStore, changes: dict[str, Any]
) -> None:
    """Rotation must not raise the dead, and is both or neither."""
    await store.add(key(1, **changes))

    assert not await store.supersede("id1", key(2), until=NOW + 50, now=NOW)
    assert await store.list_keys("t1") == [key(1, **changes)]


async def test_a_successor_that_cannot_be_kept_leaves_the_old_key_alone(store: APIKeyStore) -> None:
    """Both or neither."""
    await store.add(key(1))
    await store.add(key(2))

    with pytest.raises(ConflictError):
        await store.supersede("id1", key(2), until=NOW + 50, now=NOW)

    assert await store.get("id1", "t1") == key(1)


async def test_a_use_is_noted_once_per_window(store: APIKeyStore) -> None:
    """Eight processes, one write."""
    await store.add(key(1))

    noted = [
        await store.touch("id1", at=NOW + t, unless_after=NOW + t - 600) for t in (0, 1, 599, 600)
    ]

    assert noted == [True, False, False, True]
    assert not await store.touch("none", at=NOW, unless_after=NOW)


@pytest.mark.postgres
async def test_the_tables_role_verifies_and_the_apps_role_sees_nothing(
    postgres_database: PostgresDatabase,
) -> None:
    """The SQL of docs/api-keys.md: one role that may do this, and one that may do none of it."""
    metadata = MetaData()
    table = api_keys_table(metadata)
    admin = create_engine(
        postgres_database.dsn().replace("postgresql://", "postgresql+psycopg://"),
        poolclass=NullPool,
    )
    policies = tenant_policies(metadata, system_only=["api_keys"])
    page = (Path(__file__).parents[3] / "docs" / "api-keys.md").read_text()
    role_sql = page.partition("```sql\n")[2].partition("```")[0]
    with admin.begin() as connection:
        metadata.create_all(connection)
        policies.apply(connection)
        connection.execute(text(role_sql.replace("<password>", "secret")))
        connection.execute(text("ALTER ROLE app_runtime LOGIN PASSWORD 'secret'"))
        connection.execute(text("CREATE TABLE notes (body text)"))
    own, app = engine_of(postgres_database, "api_keys"), engine_of(postgres_database, "app_runtime")

    keys = service(SQLAPIKeyStore(own, table))
    issued = await make(keys)
    rotated = await keys.rotate(issued.record.key_id, tenant_id=issued.record.tenant_id)
    assert (await keys.verify(rotated.key.reveal())).key_id == rotated.record.key_id
    assert await keys.revoke(issued.record.key_id, tenant_id=issued.record.tenant_id)
    await keys.close()
    for engine, statement in (
        (own, "SELECT * FROM notes"),
        (own, "DELETE FROM api_keys"),
        (app, "SELECT * FROM api_keys"),
        (app, "UPDATE api_keys SET revoked_at = NULL"),
    ):
        async with engine.connect() as connection:
            with pytest.raises(ProgrammingError, match="permission denied"):
                await connection.execute(text(statement))
    await own.dispose()
    await app.dispose()


async def test_a_database_that_does_not_answer_is_unavailable() -> None:
    """Fails closed with our error, whatever the driver's is."""
    engine = create_async_engine("postgresql+asyncpg://u:p@127.0.0.1:1/x", poolclass=NullPool)

    with pytest.raises(UnavailableError, match="api_keys_unreachable"):
        await SQLAPIKeyStore(engine, TABLE).find([b"x"])


def test_settings_that_cannot_work_are_refused() -> None:
    """At start-up."""
    engine = create_async_engine("postgresql+asyncpg://u:p@127.0.0.1:1/x")
    with pytest.raises(ConfigError, match="engine"):
        SQLAPIKeyStore(object(), TABLE)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="timeout"):
        SQLAPIKeyStore(engine, TABLE, timeout=0)
