"""`guarded_engine`: every way into the database through SQLAlchemy is bound, or refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm.exc import ObjectDeletedError

from asgi_guard.errors import ConfigError, RLSViolationError, UnavailableError
from asgi_guard.rls import (
    GuardedAsyncSession,
    RLSVariables,
    guarded_connection_class,
    guarded_engine,
    guarded_sessionmaker,
    is_guarded,
    system_engine,
    variables_of,
)
from asgi_guard.tenancy import use_context
from tests.support.rls_broken import no_first_wall
from tests.support.rls_fixtures import EventList
from tests.support.rls_schema import (
    ALICE,
    BOB,
    NOTES_EACH,
    VARIABLES,
    Note,
    RLSDatabase,
    context_of,
)

COUNT = select(func.count()).select_from(Note)
OWNERS = text("SELECT DISTINCT tenant_id::text FROM notes")


@pytest.fixture(params=["asyncpg", "psycopg_async"])
async def engine(rls_database: RLSDatabase, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Both async drivers: one binds with BEGIN, the other right after it."""
    made = guarded_engine(rls_database.url(request.param), variables=VARIABLES, pool_size=1)
    yield made
    await made.dispose()


@pytest.fixture
async def asyncpg_engine(rls_database: RLSDatabase) -> AsyncIterator[AsyncEngine]:
    made = guarded_engine(rls_database.url(), variables=VARIABLES, pool_size=1, max_overflow=0)
    yield made
    await made.dispose()


async def _first(session: AsyncSession) -> Note:
    note = (await session.scalars(select(Note).order_by(Note.id))).first()
    assert note is not None
    return note


async def _refresh(session: AsyncSession) -> set[str]:
    note = await _first(session)
    await session.refresh(note)
    return {str(note.tenant_id)}


async def _get(session: AsyncSession) -> set[str]:
    key = (await session.execute(text("SELECT tenant_id, id FROM notes LIMIT 1"))).one()
    note = await session.get(Note, tuple(key))
    assert note is not None
    return {str(note.tenant_id)}


async def _stream(session: AsyncSession) -> set[str]:
    return {str(note.tenant_id) async for note in await session.stream_scalars(select(Note))}


async def _flush(session: AsyncSession) -> set[str]:
    note = Note(body="flushed")
    session.add(note)
    await session.flush()
    return {str(note.tenant_id)}


async def _scalars(session: AsyncSession) -> set[str]:
    return {str(note.tenant_id) for note in await session.scalars(select(Note))}


async def _execute(session: AsyncSession) -> set[str]:
    return set((await session.execute(OWNERS)).scalars())


async def _connection(session: AsyncSession) -> set[str]:
    return set((await (await session.connection()).execute(OWNERS)).scalars())


@pytest.mark.parametrize(
    "use",
    [_execute, _scalars, _stream, _get, _refresh, _flush, _connection],
    ids=lambda f: f.__name__,
)
async def test_every_session_method_sees_one_tenant(
    engine: AsyncEngine, use: Callable[[AsyncSession], Awaitable[set[str]]]
) -> None:
    """A way that was forgotten is the way that leaks."""
    for tenant in (ALICE, BOB):
        with use_context(context_of(tenant)):
            async with AsyncSession(engine) as session:
                assert await use(session) == {tenant}
                await session.commit()
                assert await _execute(session) == {tenant}


async def test_core_sees_one_tenant(engine: AsyncEngine) -> None:
    """Connections without a session, with begin() and without."""
    for tenant in (ALICE, BOB):
        with use_context(context_of(tenant)):
            async with engine.begin() as connection:
                assert set((await connection.execute(OWNERS)).scalars()) == {tenant}
            async with engine.connect() as connection:
                for _ in range(3):
                    assert set((await connection.execute(OWNERS)).scalars()) == {tenant}
                    await connection.commit()


async def test_it_is_bound_again_in_and_after_savepoints(engine: AsyncEngine) -> None:
    """ROLLBACK TO undoes settings made after the savepoint; this one was made before."""
    with use_context(context_of(ALICE)):
        async with AsyncSession(engine) as session:
            async with session.begin_nested():
                assert await _execute(session) == {ALICE}
            assert await _execute(session) == {ALICE}
            with pytest.raises(ZeroDivisionError):
                await _fail_in_savepoint(session)
            assert await _execute(session) == {ALICE}


async def _fail_in_savepoint(session: AsyncSession) -> None:
    async with session.begin_nested():
        assert await _execute(session) == {ALICE}
        raise ZeroDivisionError


async def test_a_write_for_another_tenant_is_refused_by_the_database(engine: AsyncEngine) -> None:
    """WITH CHECK: the binding names who writes, not the row."""
    with use_context(context_of(ALICE)):
        async with AsyncSession(engine) as session:
            insert = text("INSERT INTO notes (tenant_id, body) VALUES (:tenant, 'x')")
            with pytest.raises(ProgrammingError):
                await session.execute(insert, {"tenant": BOB})


@pytest.mark.parametrize("kind", [AsyncSession, GuardedAsyncSession])
async def test_two_tenants_in_one_session_are_refused(
    engine: AsyncEngine, kind: type[AsyncSession], rls_events: EventList
) -> None:
    """The identity map would hand the first one's objects to the second."""
    async with kind(engine) as session:
        with use_context(context_of(ALICE)):
            await _scalars(session)
            await session.commit()
        with use_context(context_of(BOB)):
            for _ in range(2):  # also when the first refusal is swallowed
                with pytest.raises(RLSViolationError) as refused:
                    await _execute(session)
                assert refused.value.code == "TENANT_MISMATCH"
        assert rls_events.names == ["TENANT_MISMATCH"] * 2


async def test_a_change_of_tenant_within_a_transaction_is_refused(engine: AsyncEngine) -> None:
    """In the transaction, in a savepoint of it, and at its commit."""
    async with AsyncSession(engine) as session:
        with use_context(context_of(ALICE)):
            session.add(Note(body="half done"))
            await session.flush()
        with use_context(context_of(BOB)):
            for attempt in (_execute, _fail_in_savepoint, _commit):
                with pytest.raises(RLSViolationError) as refused:
                    await attempt(session)
                assert refused.value.code == "TENANT_MISMATCH"

    with use_context(context_of(ALICE)):
        async with AsyncSession(engine) as session:
            assert await session.scalar(COUNT) == NOTES_EACH


async def _commit(session: AsyncSession) -> None:
    await session.commit()


async def test_another_user_of_the_same_tenant_does_not_join_a_transaction(
    engine: AsyncEngine,
) -> None:
    """Policies may read the user as well, and it was bound with the tenant."""
    async with AsyncSession(engine) as session:
        with use_context(context_of(ALICE, user_id="ann")):
            await _execute(session)
        with use_context(context_of(ALICE, user_id="ben")), pytest.raises(RLSViolationError):
            await _execute(session)


async def test_a_guarded_session_hands_out_nothing_from_memory_to_another_tenant(
    engine: AsyncEngine,
) -> None:
    """get() of an object that is in the identity map sends no SQL: no database can refuse it."""
    maker = guarded_sessionmaker(engine, expire_on_commit=False)
    async with maker() as session:
        with use_context(context_of(ALICE)):
            note = await _first(session)
            key = (note.tenant_id, note.id)
            await session.commit()
        with use_context(context_of(BOB)):
            for attempt in (
                lambda: session.get(Note, key),
                lambda: session.merge(Note(tenant_id=key[0], id=key[1])),
                lambda: session.delete(note),
            ):
                with pytest.raises(RLSViolationError) as refused:
                    await attempt()
                assert refused.value.code == "TENANT_MISMATCH"
            with pytest.raises(RLSViolationError):
                session.add(Note(body="x"))
        with pytest.raises(RLSViolationError) as refused:
            await session.get(Note, key)
        assert refused.value.code == "RLS_NOT_ENFORCED"
        with use_context(context_of(ALICE)):
            assert await session.get(Note, key) is note


async def test_a_guarded_session_belongs_to_whom_it_was_made_for(engine: AsyncEngine) -> None:
    """Made in one request, used in another: the classic leaked dependency."""
    with use_context(context_of(ALICE)):
        session = guarded_sessionmaker(engine)()
    with use_context(context_of(BOB)), pytest.raises(RLSViolationError) as refused:
        await session.get(Note, (BOB, 1))
    assert refused.value.code == "TENANT_MISMATCH"

    await session.close()
    with use_context(context_of(BOB)):
        assert await session.scalar(COUNT) == NOTES_EACH
    await session.close()


async def test_a_plain_session_reloads_rather_than_show_what_expired(engine: AsyncEngine) -> None:
    """With SQLAlchemy's default the objects expire at commit, and the refresh is refused."""
    async with AsyncSession(engine) as session:
        with use_context(context_of(ALICE)):
            note = await _first(session)
            await session.commit()
        with use_context(context_of(BOB)), pytest.raises((RLSViolationError, ObjectDeletedError)):
            await session.refresh(note)


async def test_a_connection_got_for_one_tenant_does_not_begin_for_another(
    asyncpg_engine: AsyncEngine,
) -> None:
    """SQLAlchemy sends BEGIN late; whom it was meant for is remembered."""
    with use_context(context_of(ALICE)):
        connection = await asyncpg_engine.connect()
    with use_context(context_of(BOB)), pytest.raises(RLSViolationError) as refused:
        await connection.execute(OWNERS)
    await connection.close()

    assert refused.value.code == "TENANT_MISMATCH"


async def test_autocommit_is_refused_wherever_it_is_asked_for(
    engine: AsyncEngine, rls_database: RLSDatabase
) -> None:
    """No transaction, nothing to bind to."""
    url = rls_database.url()
    for options in (
        {"isolation_level": "AUTOCOMMIT"},
        {"execution_options": {"isolation_level": "autocommit"}},
    ):
        with pytest.raises(ConfigError, match="AUTOCOMMIT"):
            guarded_engine(url, **options)
    with pytest.raises(ConfigError, match="AUTOCOMMIT"):
        guarded_engine(
            create_async_engine(url, execution_options={"isolation_level": "AUTOCOMMIT"})
        )
    with pytest.raises(ConfigError, match="AUTOCOMMIT"):
        guarded_engine(create_async_engine(url, isolation_level="AUTOCOMMIT"))

    with use_context(context_of(ALICE)):
        for attempt in (_autocommit_engine, _autocommit_connection, _autocommit_session):
            with pytest.raises(RLSViolationError) as refused:
                await attempt(engine)
            assert refused.value.code == "RLS_NOT_ENFORCED"


async def _autocommit_engine(engine: AsyncEngine) -> None:
    async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        await connection.execute(OWNERS)


async def _autocommit_connection(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")


async def _autocommit_session(engine: AsyncEngine) -> None:
    async with AsyncSession(engine) as session:
        await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})


async def test_autocommit_switched_on_behind_the_engine_is_bound_or_refused(
    engine: AsyncEngine,
) -> None:
    """The driver's own switch, out of a connect hook say: never an unbound statement."""
    with use_context(context_of(ALICE)):
        async with engine.connect() as connection:
            await connection.run_sync(_set_autocommit, to=True)
            try:
                seen = set((await connection.execute(OWNERS)).scalars())
            except RLSViolationError:
                seen = {ALICE}
            assert seen == {ALICE}
            await connection.rollback()
            await connection.run_sync(_set_autocommit, to=False)


def _set_autocommit(connection: Connection, *, to: bool) -> None:
    connection.connection.dbapi_connection.autocommit = to


async def test_other_isolation_levels_are_bound_as_well(engine: AsyncEngine) -> None:
    """They change the text of BEGIN; the binding does not depend on it."""
    with use_context(context_of(ALICE)):
        for level in ("REPEATABLE READ", "SERIALIZABLE"):
            async with engine.connect() as plain:
                connection = await plain.execution_options(isolation_level=level)
                shown = await connection.scalar(text("SHOW transaction_isolation"))
                assert str(shown).upper() == level
                assert set((await connection.execute(OWNERS)).scalars()) == {ALICE}


async def test_statements_that_set_the_tenant_are_refused(engine: AsyncEngine) -> None:
    """Also as a function call with bound arguments, SQLAlchemy's own spelling."""
    attempts = (
        text(f"SET app.current_tenant = '{BOB}'"),
        text(f"SET SESSION app.current_tenant TO '{BOB}'"),
        text(f"SET LOCAL app.current_tenant = '{BOB}'"),
        text("RESET app.current_tenant"),
        text(f"SELECT set_config('app.current_tenant', '{BOB}', false)"),
        select(func.set_config("app.current_tenant", BOB, False)),
    )
    with use_context(context_of(ALICE)):
        for attempt in attempts:
            async with AsyncSession(engine) as session:
                with pytest.raises(RLSViolationError) as refused:
                    await session.execute(attempt)
                assert refused.value.code == "RLS_NOT_ENFORCED"


async def test_a_session_level_tenant_that_slips_through_serves_nobody_else(
    asyncpg_engine: AsyncEngine, rls_database: RLSDatabase
) -> None:
    """A function in the database that sets it for the session: no text shows that."""
    rls_database.database.execute(
        "CREATE FUNCTION public.sneak(t text) RETURNS text LANGUAGE sql AS "
        "$$ SELECT set_config('app.' || 'current_tenant', t, false) $$"
    )
    for ending in (AsyncSession.commit, AsyncSession.rollback):
        with use_context(context_of(BOB)):
            async with AsyncSession(asyncpg_engine) as session:
                await session.execute(text("SELECT public.sneak(:t)"), {"t": BOB})
                await ending(session)
        with use_context(context_of(ALICE)):
            async with AsyncSession(asyncpg_engine) as session:
                assert await _execute(session) == {ALICE}
        with no_first_wall():
            async with AsyncSession(asyncpg_engine) as session:
                assert await _execute(session) == set()


async def test_the_drivers_own_connection_is_guarded_as_well(asyncpg_engine: AsyncEngine) -> None:
    """Raw SQL through driver_connection, the usual way around the ORM."""
    with use_context(context_of(ALICE)):
        async with asyncpg_engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            assert [row[0] for row in await driver.fetch(str(OWNERS))] == [ALICE]
    async with asyncpg_engine.connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        with pytest.raises(RLSViolationError):
            await driver.fetch(str(OWNERS))


async def test_a_given_engine_is_guarded_in_place(rls_database: RLSDatabase) -> None:
    """Its earlier connections carry no guard; they must be gone, not handed out."""
    plain = create_async_engine(rls_database.url(), pool_size=1)
    async with plain.connect() as connection:
        assert await connection.scalar(COUNT) == 0

    engine = guarded_engine(plain, variables=VARIABLES)

    assert engine is plain
    assert guarded_engine(plain, variables=VARIABLES) is plain
    assert is_guarded(engine)
    assert variables_of(AsyncSession(engine)) == VARIABLES
    assert is_guarded(async_sessionmaker(engine.execution_options(logging_token="x")))
    with use_context(context_of(ALICE)):
        async with AsyncSession(engine) as session:
            assert await session.scalar(COUNT) == NOTES_EACH
    with pytest.raises(ConfigError, match="other variables"):
        guarded_engine(plain, variables=RLSVariables(setting="other.tenant"))
    with pytest.raises(ConfigError, match="echo"):
        guarded_engine(plain, variables=VARIABLES, echo=True)
    with pytest.raises(ConfigError, match="system engine"):
        guarded_engine(system_engine(rls_database.url()))
    await engine.dispose()


async def test_a_creator_of_the_users_own_must_make_guarded_connections(
    rls_database: RLSDatabase,
) -> None:
    """Cloud connectors bring one; an unguarded connection must not come in that way."""
    own = guarded_connection_class(VARIABLES)
    good = guarded_engine(
        rls_database.url(),
        variables=VARIABLES,
        async_creator=lambda: asyncpg.connect(rls_database.dsn, connection_class=own),
    )
    bad = guarded_engine(
        rls_database.url(),
        variables=VARIABLES,
        async_creator=lambda: asyncpg.connect(rls_database.dsn),
    )
    with use_context(context_of(ALICE)):
        async with AsyncSession(good) as session:
            assert await session.scalar(COUNT) == NOTES_EACH
        async with AsyncSession(bad) as session:
            with pytest.raises(RLSViolationError) as refused:
                await session.scalar(COUNT)
    assert refused.value.code == "RLS_NOT_ENFORCED"
    await good.dispose()
    await bad.dispose()


async def test_a_tenant_by_default_is_found_when_connecting(
    rls_database: RLSDatabase, engine: AsyncEngine
) -> None:
    """The app's role may run ALTER ROLE on itself: a tenant for every session to come."""
    name = rls_database.database.name
    rls_database.database.execute(
        f"ALTER ROLE {VARIABLES.runtime_role} IN DATABASE {name} SET app.current_tenant = '{BOB}'"
    )

    with use_context(context_of(ALICE)):
        async with AsyncSession(engine) as session:
            with pytest.raises(RLSViolationError) as refused:
                await session.scalar(COUNT)

    assert refused.value.code == "RLS_NOT_ENFORCED"


@pytest.mark.parametrize("user_id", ["o'brien", "back\\slash'", "日本", "%s %(a)s :b $1", ""])
async def test_any_storable_user_id_is_bound_unchanged(engine: AsyncEngine, user_id: str) -> None:
    """It is quoted into SQL text; a quote in it must stay a quote."""
    context = context_of(ALICE, user_id=user_id or "x" * 5000)
    with use_context(context):
        async with AsyncSession(engine) as session:
            bound = await session.scalar(text("SELECT asgi_guard.current_user_id()"))

    assert bound == context.user_id


async def test_backslashes_are_safe_without_standard_strings_too(
    rls_database: RLSDatabase,
) -> None:
    """With standard_conforming_strings off a backslash would swallow the closing quote."""
    rls_database.database.execute(
        f"ALTER DATABASE {rls_database.database.name} SET standard_conforming_strings = off"
    )
    engine = guarded_engine(rls_database.url(), variables=VARIABLES)
    user_id = f"\\'; SET LOCAL app.current_tenant = '{BOB}'; --"
    with use_context(context_of(ALICE, user_id=user_id)):
        async with AsyncSession(engine) as session:
            assert await session.scalar(text("SELECT asgi_guard.current_user_id()")) == user_id
            assert await _execute(session) == {ALICE}
    await engine.dispose()


@pytest.mark.parametrize(
    ("tenant_id", "user_id"), [("x'y", "u"), (ALICE, "nul\0"), (ALICE, "\ud800"), ("1", "u")]
)
async def test_ids_that_cannot_be_bound_are_refused(
    engine: AsyncEngine, tenant_id: str, user_id: str
) -> None:
    """And the message repeats neither."""
    with use_context(context_of(tenant_id, user_id=user_id)):
        async with AsyncSession(engine) as session:
            with pytest.raises(RLSViolationError) as refused:
                await session.scalar(COUNT)

    assert refused.value.code == "RLS_NOT_ENFORCED"
    assert tenant_id not in str(refused.value) or tenant_id == "1"


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "sqlite+aiosqlite:///x.db",
        "mysql://u:hunter2@h/d",
        "postgresql+nosuch://u:hunter2@h/d",
        "postgresql+asyncpg://u:hunter2@h:port/d",
    ],
)
def test_a_wrong_url_is_a_config_error_without_the_password(url: str) -> None:
    """It ends up in a log."""
    with pytest.raises(ConfigError) as refused:
        guarded_engine(url)

    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg_async"])
async def test_an_unreachable_database_is_unavailable(
    rls_database: RLSDatabase, driver: str
) -> None:
    """And says so in a stable word, not with the DSN."""
    for broken in (
        rls_database.url(driver).replace(f":{rls_database.database.port}/", ":1/"),
        rls_database.url(driver).replace(rls_database.password, "hunter2"),
    ):
        engine = guarded_engine(broken, variables=VARIABLES)
        with use_context(context_of(ALICE)):
            async with AsyncSession(engine) as session:
                with pytest.raises(UnavailableError) as refused:
                    await session.scalar(COUNT)
        assert refused.value.reason.startswith("database_")
        assert "hunter2" not in str(refused.value)
        await engine.dispose()
