"""``GuardSettings(audit=...)``: no guarded write without its record, and no record without it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from asgi_guard._internal import events
from asgi_guard.audit_log import (
    AuditLog,
    AuditQuery,
    AuditUnavailableError,
    JSONLinesAuditSink,
    PostgresAuditSink,
)
from asgi_guard.errors import ConfigError, NotReadyError
from asgi_guard.integrations.fastapi import GuardedSession
from asgi_guard.integrations.sql_audit import _tables, audit_writes, kind_of
from asgi_guard.rls import create_guarded_pool, guarded_engine, rls_enforced_session
from asgi_guard.stack import Guard
from asgi_guard.tenancy import ClaimResolver, use_context
from tests.support.audit_logs import KEY
from tests.support.audit_postgres import PASSWORD, TABLES, install, writer_pool
from tests.support.audit_writes import ADD, SHARED_KEY, add_notes
from tests.support.hosts_guard import ACME, KnownTokens, guard_settings
from tests.support.rls_schema import ALICE, BOB, VARIABLES, RLSDatabase, context_of

pytestmark = pytest.mark.postgres


@pytest.fixture
def database(rls_database: RLSDatabase) -> RLSDatabase:
    install(rls_database)
    return rls_database


@pytest.fixture(autouse=True)
def stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no reader of these tests to those that come after."""
    monkeypatch.setattr(events, "_sinks", events._sinks)
    monkeypatch.setattr(events, "_routine", events._routine)


def postgres_sink(database: RLSDatabase) -> PostgresAuditSink:
    return PostgresAuditSink(database.database.dsn(TABLES.writer_role, PASSWORD), tables=TABLES)


async def scalar(database: RLSDatabase, sql: str) -> Any:
    connection = await asyncpg.connect(database.database.dsn())
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def notes_of(database: RLSDatabase) -> int:
    return int(await scalar(database, "SELECT count(*) FROM notes WHERE body LIKE 'audited%'"))


async def records_of(database: RLSDatabase) -> int:
    sql = "SELECT count(*) FROM audit_logs WHERE security_event = 'GUARDED_WRITE'"
    return int(await scalar(database, sql))


async def break_log(database: RLSDatabase) -> None:
    """Take the table away, as a failed disk or a wrong migration would."""
    await scalar(database, "ALTER TABLE audit_logs RENAME TO audit_logs_away")


async def mend_log(database: RLSDatabase) -> None:
    await scalar(database, "ALTER TABLE audit_logs_away RENAME TO audit_logs")


@asynccontextmanager
async def engine_with(
    database: RLSDatabase, audit: AuditLog, driver: str = "asyncpg"
) -> AsyncIterator[AsyncEngine]:
    engine = guarded_engine(database.url(driver), variables=VARIABLES)
    audit_writes(engine, audit)
    try:
        async with audit:
            yield engine
    finally:
        await engine.dispose()


def app_with(database: RLSDatabase, audit: AuditLog) -> tuple[FastAPI, AsyncEngine]:
    engine = guarded_engine(database.url(), variables=VARIABLES)
    app = FastAPI()

    @app.post("/notes", status_code=201)
    async def add(session: GuardedSession, *, fail: bool = False) -> None:
        await session.execute(text(ADD))
        if fail:
            raise RuntimeError("after the write")

    @app.get("/notes")
    async def read(session: GuardedSession) -> int:
        return len((await session.execute(text("SELECT id FROM notes"))).all())

    settings = guard_settings(
        authenticators=[KnownTokens()],
        resolver=ClaimResolver(),
        memberships=None,
        databases=[engine],
        startup_checks="monitor",
        audit=audit,
    )
    return Guard(settings).install(app), engine


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Serve *app* under a lifespan, as a server does."""
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan"}, to_app.get, from_app.put))
    await to_app.put({"type": "lifespan.startup"})
    started = await from_app.get()
    if started["type"] != "lifespan.startup.complete":
        await asyncio.gather(task, return_exceptions=True)
        raise NotReadyError("startup", started["message"])
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://app.example",
        headers={"authorization": f"Bearer alice@{ALICE}"},
    ) as client:
        yield client
    await to_app.put({"type": "lifespan.shutdown"})
    assert (await from_app.get())["type"] == "lifespan.shutdown.complete"
    await task


async def test_a_write_leaves_one_record_and_a_read_none(database: RLSDatabase) -> None:
    """Nobody has to remember to call the log; nobody pays for a read."""
    audit = AuditLog(sinks=[postgres_sink(database)], signing_key=KEY)
    app, engine = app_with(database, audit)
    async with served(app) as client:
        written = await client.post("/notes")
        read = await client.get("/notes")
        records = [each async for each in audit.read(AuditQuery(name="GUARDED_WRITE"))]
        (report,) = (await audit.verify()).values()
    await engine.dispose()

    assert (written.status_code, read.status_code) == (201, 200)
    (record,) = records
    assert (record.fields["tenant_id"], record.fields["user_id"]) == (ALICE, "alice")
    assert record.fields["details"] == {"statements": 1, "tables": "notes"}
    assert record.fields["request_id"] == written.headers["x-request-id"]
    assert report.ok, report.findings
    assert not audit.healthy  # the guard has closed it
    assert all(reader is not audit for reader in events._sinks)


async def test_a_server_without_lifespan_opens_it_at_the_first_request(
    database: RLSDatabase,
) -> None:
    """Serverless adapters send none; the first write must be on record there, too."""
    audit = AuditLog(sinks=[postgres_sink(database)], signing_key=KEY)
    app, engine = app_with(database, audit)
    transport = httpx.ASGITransport(app=app)
    headers = {"authorization": f"Bearer alice@{ALICE}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://a.example") as client:
        answers = await asyncio.gather(*(client.post("/notes", headers=headers) for _ in range(3)))
    await audit.aclose()
    await engine.dispose()

    assert {answer.status_code for answer in answers} == {201}
    assert (await notes_of(database), await records_of(database)) == (3, 3)


async def test_a_pool_whose_writes_are_not_seen_is_named(
    database: RLSDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not done by itself must not look as if it were; where it must be done, it stops."""
    audit = AuditLog(sinks=[postgres_sink(database)], signing_key=KEY)
    async with create_guarded_pool(database.dsn, variables=VARIABLES, min_size=1) as pool:
        with pytest.raises(ConfigError, match="GuardedPool records no write by itself"):
            guard_settings(databases=[pool], audit=audit)
        settings = guard_settings(databases=[pool], audit=audit, insecure_unrecorded_pools=True)
        Guard(settings).install(FastAPI())

    assert "GuardedPool are not recorded by themselves" in caplog.text


async def test_a_handler_that_fails_leaves_neither(database: RLSDatabase) -> None:
    """A record of what did not happen is a false record."""
    audit = AuditLog(sinks=[postgres_sink(database)], signing_key=KEY)
    app, engine = app_with(database, audit)
    async with served(app) as client:
        answer = await client.post("/notes", params={"fail": "1"})
    await engine.dispose()

    assert answer.status_code == 500
    assert (await notes_of(database), await records_of(database)) == (0, 0)


async def test_what_cannot_be_recorded_is_refused_and_nothing_is_stored(
    database: RLSDatabase,
) -> None:
    """Attacker's side: whoever can break the log must not be able to act unseen."""
    audit = AuditLog(sinks=[postgres_sink(database)], signing_key=KEY)
    app, engine = app_with(database, audit)
    async with served(app) as client:
        await break_log(database)
        refused = await client.post("/notes")
        read = await client.get("/notes")
        await mend_log(database)
        again = await client.post("/notes")
    await engine.dispose()

    assert refused.status_code == 503
    assert refused.json()["code"] == "audit_unavailable"
    assert (read.status_code, again.status_code) == (200, 201)  # the pool is not poisoned
    assert (await notes_of(database), await records_of(database)) == (1, 1)


async def test_a_file_that_cannot_be_written_refuses_as_well(
    database: RLSDatabase, tmp_path: Any
) -> None:
    """The same promise, where the log is not in the database."""
    audit = AuditLog(sinks=[JSONLinesAuditSink(tmp_path / "log")], signing_key=KEY)
    app, engine = app_with(database, audit)
    async with served(app) as client:
        assert (await client.post("/notes")).status_code == 201
        await audit.aclose()
        refused = await client.post("/notes")
    await engine.dispose()

    assert refused.status_code == 503
    assert await notes_of(database) == 1


async def test_best_effort_serves_on_and_counts(database: RLSDatabase) -> None:
    """Who chose to go on without a record must be able to see how many are missing."""
    audit = AuditLog(
        sinks=[postgres_sink(database)], signing_key=KEY, mode="best_effort", capacity=1
    )
    app, engine = app_with(database, audit)
    async with served(app) as client:
        await break_log(database)
        statuses = {(await client.post("/notes")).status_code for _ in range(4)}
        dropped = audit.dropped
    await engine.dispose()

    assert statuses == {201}
    assert await notes_of(database) == 4
    assert dropped["GUARDED_WRITE"] >= 2


@pytest.mark.parametrize("mode", ["required", "best_effort"])
async def test_a_log_that_does_not_open(database: RLSDatabase, mode: Any) -> None:
    """An app that could record nothing does not start; one for which that is fine says so."""
    audit = AuditLog(sinks=[postgres_sink(database)], signing_key=KEY, mode=mode)
    app, engine = app_with(database, audit)
    await break_log(database)
    await scalar(database, "ALTER TABLE audit_checkpoints RENAME TO checkpoints_away")
    try:
        async with served(app) as client:
            assert mode == "best_effort"
            assert (await client.post("/notes")).status_code == 201
    except NotReadyError:
        assert mode == "required"
    await engine.dispose()


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg_async"])
async def test_every_way_of_writing_is_seen(database: RLSDatabase, driver: str) -> None:
    """One that is not seen is the one that will be used."""
    audit = AuditLog(sinks=[postgres_sink(database)], signing_key=KEY)
    async with engine_with(database, audit, driver) as engine:
        with use_context(context_of(ALICE)):
            async with engine.begin() as connection:
                await connection.execute(text(ADD))
            async with AsyncSession(engine) as session, session.begin():
                await session.execute(text(f"WITH x AS ({ADD} RETURNING id) SELECT * FROM x"))
            async with engine.connect() as connection:
                await connection.exec_driver_sql("UPDATE notes SET body = 'audited too'")
                await connection.commit()
                await connection.exec_driver_sql("DELETE FROM notes")
                await connection.rollback()
                await connection.execute(text("SELECT count(*) FROM notes"))
                await connection.commit()
        async with rls_enforced_session(engine, BOB, "notes.sweep") as session:
            await session.execute(text(ADD))

    assert await records_of(database) == 4
    operations = "SELECT string_agg(operation, ',') FROM audit_logs WHERE operation <> ''"
    assert await scalar(database, operations) == "notes.sweep"


async def test_a_function_that_writes_behind_a_select_is_asked_about(
    database: RLSDatabase,
) -> None:
    """The text looks like a read; only the database knows."""
    owner = VARIABLES.owner_role
    await scalar(
        database,
        "CREATE FUNCTION add_note() RETURNS void LANGUAGE sql AS $$ INSERT INTO notes (body) "
        "VALUES ('audited by a function') $$",
    )
    await scalar(database, f"ALTER FUNCTION add_note() OWNER TO {owner}")
    audit = AuditLog(sinks=[postgres_sink(database)], signing_key=KEY)
    async with engine_with(database, audit) as engine:
        with use_context(context_of(ALICE)):
            async with engine.begin() as connection:
                await connection.execute(text("SELECT add_note()"))
            async with engine.begin() as connection:
                await connection.execute(text("SELECT pg_backend_pid()"))

    assert (await notes_of(database), await records_of(database)) == (1, 1)


async def test_a_commit_in_a_text_is_no_way_around_it(database: RLSDatabase) -> None:
    """Attacker's side: SQLAlchemy does not see a COMMIT that is sent as a statement."""
    audit = AuditLog(sinks=[postgres_sink(database)], signing_key=KEY)
    async with engine_with(database, audit) as engine:
        with use_context(context_of(ALICE)):
            async with engine.connect() as connection:
                await connection.execute(text(ADD))
                await connection.execute(text("COMMIT"))
            assert (await notes_of(database), await records_of(database)) == (1, 1)
            await break_log(database)
            async with engine.connect() as connection:
                await connection.execute(text(ADD))
                with pytest.raises(AuditUnavailableError):
                    await connection.execute(text("COMMIT"))
            await mend_log(database)

    assert (await notes_of(database), await records_of(database)) == (1, 1)


@pytest.mark.parametrize("where", ["postgres", "files"])
async def test_a_sync_engine_in_a_thread_is_held_to_it_too(
    database: RLSDatabase, tmp_path: Any, where: str
) -> None:
    """Half of all apps have sync handlers."""
    sink = postgres_sink(database) if where == "postgres" else JSONLinesAuditSink(tmp_path / "log")
    audit = AuditLog(sinks=[sink], signing_key=KEY)
    engine = guarded_engine(create_engine(database.url("psycopg")), variables=VARIABLES)
    audit_writes(engine, audit)

    def write() -> None:
        with use_context(context_of(ALICE)), engine.begin() as connection:
            connection.execute(text(ADD))

    async with audit:
        await asyncio.to_thread(write)
        records = [each async for each in audit.read(AuditQuery(name="GUARDED_WRITE"))]
    with pytest.raises(AuditUnavailableError):
        await asyncio.to_thread(write)
    engine.dispose()

    assert len(records) == 1
    assert await notes_of(database) == 1


async def test_a_sync_commit_on_the_event_loop_does_not_wait_for_itself(
    database: RLSDatabase, tmp_path: Any
) -> None:
    """It would stand still for ever; it is refused instead."""
    audit = AuditLog(sinks=[JSONLinesAuditSink(tmp_path / "log")], signing_key=KEY)
    engine = guarded_engine(create_engine(database.url("psycopg")), variables=VARIABLES)
    audit_writes(engine, audit)
    async with audit:
        with (
            pytest.raises(AuditUnavailableError),
            use_context(context_of(ALICE)),
            engine.begin() as connection,
        ):
            connection.execute(text(ADD))
    engine.dispose()

    assert await notes_of(database) == 0


async def test_a_killed_process_leaves_as_many_records_as_writes(database: RLSDatabase) -> None:
    """One transaction: what a kill keeps of the one it keeps of the other."""
    read, write = os.pipe()
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.audit_writes",
        database.url(),
        database.database.dsn(TABLES.writer_role, PASSWORD),
        str(write),
        pass_fds=[write],
    )
    os.close(write)

    def wait_for_some() -> int:
        with open(read, "rb") as told:  # noqa: PTH123 - a descriptor, not a path
            seen = len([told.readline() for _ in range(25)])
            os.kill(child.pid, signal.SIGKILL)
            return seen + len(told.readlines())

    acknowledged = await asyncio.to_thread(wait_for_some)
    assert await child.wait() == -signal.SIGKILL

    notes, records = await notes_of(database), await records_of(database)
    assert notes == records >= acknowledged
    async with writer_pool(database) as pool:
        sink = PostgresAuditSink(pool, tables=TABLES)
        report = await sink.verify(SHARED_KEY.verify_keys)
    assert report.ok, report.findings


async def test_without_the_hook_a_write_is_not_recorded(database: RLSDatabase) -> None:
    """Negative control, and the promise that nothing is done where no log is asked for."""
    engine = guarded_engine(database.url(), variables=VARIABLES)
    await add_notes(engine, 1)
    await engine.dispose()

    assert (await notes_of(database), await records_of(database)) == (1, 0)
    assert not engine.sync_engine.dispatch.after_cursor_execute


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT id, count(*) FROM notes WHERE id IN (1, 2) GROUP BY id", "read"),
        ("  (SELECT 1) UNION (SELECT 2)", "read"),
        ("SHOW server_version", "read"),
        ("SELECT * FROM notes FOR UPDATE", "unknown"),
        ("/* by the app */ SELECT 1 -- of one", "read"),
        ("-- by the app\nSELECT 1", "read"),
        ("SELECT '--', do_it(), '--'", "unknown"),
        ("SELECT '/*', do_it(), '*/'", "unknown"),
        ('SELECT "d!" (1)', "unknown"),
        ("/* /* */ DELETE FROM notes", "write"),
        ("; /* x */ commit", "commit"),
        ("SELECT nextval('s')", "unknown"),
        ('SELECT app."do_it" (1)', "unknown"),
        ("select 1; delete from notes", "unknown"),
        ("WITH x AS (DELETE FROM notes RETURNING 1) SELECT * FROM x", "write"),
        ("SELECT * INTO copy FROM notes", "unknown"),
        ("EXPLAIN ANALYZE DELETE FROM notes", "write"),
        ("CALL do_it()", "write"),
        ("DO $$ BEGIN END $$", "write"),
        ("COPY notes FROM STDIN", "write"),
        ("EXECUTE prepared", "write"),
        ("COMMIT", "commit"),
        ("INSERT INTO notes DEFAULT VALUES; end", "commit"),
        ("-- SELECT\nTRUNCATE notes", "write"),
    ],
)
def test_what_may_write_is_never_taken_for_a_read(statement: str, kind: str) -> None:
    """A wrong guess in one direction costs a question, in the other a record."""
    assert kind_of(statement) == kind


def test_a_name_in_somebodys_text_is_not_told_as_a_table() -> None:
    """Attacker's side: what a user typed must not get into the record through a literal."""
    statement = "INSERT INTO notes (body) VALUES ('now delete from secret_plan')"

    assert set(_tables(statement)) == {"notes"}


def test_a_log_that_is_named_twice_is_refused(tmp_path: Any) -> None:
    """Every event would be on record twice."""
    audit = AuditLog(sinks=[JSONLinesAuditSink(tmp_path)], signing_key=KEY)
    with pytest.raises(ConfigError):
        guard_settings(audit=audit, event_sinks=[audit])
    with pytest.raises(ConfigError):
        guard_settings(audit="required")
    assert guard_settings(audit=audit).audit is audit
    assert ACME
