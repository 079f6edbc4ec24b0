"""The log in PostgreSQL: one transaction with the write, one tenant's view, rows that stay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from asgi_guard.audit_log import (
    AuditLog,
    AuditQuery,
    AuditSigningKey,
    AuditTamperedError,
    AuditUnavailableError,
    PostgresAuditSink,
    VerifyReport,
)
from asgi_guard.errors import ConfigError, NotReadyError
from asgi_guard.protocols import Receive, Scope, Send
from asgi_guard.rls import (
    create_guarded_pool,
    guarded_engine,
    tenant_policies,
    verify_deployment,
)
from asgi_guard.tenancy import use_context
from asgi_guard.tenancy.fail_closed import FailClosedMiddleware
from tests.support.audit_logs import KEY, event
from tests.support.audit_postgres import PASSWORD, TABLES, install, open_log, writer_pool
from tests.support.rls_schema import ALICE, BOB, VARIABLES, Base, RLSDatabase, context_of

pytestmark = pytest.mark.postgres

NOTE = "INSERT INTO notes (body) VALUES ('audited')"


@pytest.fixture
def database(rls_database: RLSDatabase) -> RLSDatabase:
    """Give a database with a log's tables."""
    install(rls_database)
    return rls_database


async def report_of(audit: AuditLog) -> VerifyReport:
    (report,) = (await audit.verify()).values()
    return report


async def test_operators_sql_reads_the_columns_it_expects(database: RLSDatabase) -> None:
    """Dashboards and runbooks name these columns."""
    async with open_log(database) as audit:
        await audit.record(event(1, tenant=ALICE))
        await audit.record(event(2, tenant=BOB))
        await audit.record(event(3, tenant=None, name="STARTUP_CHECK_FAILED"))

    async with writer_pool(database) as pool:
        rows = await pool.fetch(
            "SELECT security_event, tenant_id::text, user_id, outcome, details->>'number' AS n "
            'FROM audit_logs WHERE "timestamp" >= \'2026-03-01\' ORDER BY "timestamp"'
        )
    assert [tuple(row.values()) for row in rows] == [
        ("TENANT_MISMATCH", ALICE, "user-1", "denied", "1"),
        ("TENANT_MISMATCH", BOB, "user-2", "denied", "2"),
        ("STARTUP_CHECK_FAILED", None, "user-3", "denied", "3"),
    ]


async def test_a_log_that_nobody_touched_is_whole(database: RLSDatabase) -> None:
    """Negative control of everything below, over two runs."""
    for run in range(2):
        async with open_log(database) as audit:
            await asyncio.gather(
                *(
                    audit.record(event(number, tenant=(ALICE, BOB, None)[number % 3]))
                    for number in range(30 * run, 30 * run + 30)
                )
            )
            report = await report_of(audit)
    assert report.ok, report.findings
    assert (report.records, report.chains) == (60, 3)


async def test_a_batch_costs_as_many_round_trips_as_one_record(database: RLSDatabase) -> None:
    """Row by row, a burst of refusals would hold its tenants' chains for seconds."""
    sent: list[str] = []

    async def listen(connection: Any) -> None:
        connection.add_query_logger(lambda record: sent.append(record.query))

    dsn = database.database.dsn(TABLES.writer_role, PASSWORD)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1, init=listen) as pool:
        sink = PostgresAuditSink(pool, tables=TABLES)
        async with AuditLog(sinks=[sink], signing_key=KEY, interval=3600) as audit:
            await audit.record(event(0, tenant=ALICE))  # asyncpg learns the types
            sent.clear()
            await audit.record(event(1, tenant=ALICE))
            one = len(sent)
            sent.clear()
            for number in range(300):
                audit.emit(event(number, tenant=(ALICE, BOB, None)[number % 3], outcome="allowed"))
            await audit.record(event(301, tenant=ALICE))
            many = len(sent)
            report = await report_of(audit)

    assert one == many <= 9
    assert (report.ok, report.records) == (True, 303)


async def test_workers_share_one_log(database: RLSDatabase) -> None:
    """Several processes write the same tenant's chain at once."""
    async with open_log(database) as one, open_log(database) as other:
        await asyncio.gather(
            *(
                log.record(event(number, tenant=(ALICE, BOB)[number % 2]))
                for number in range(40)
                for log in (one, other)
            )
        )
        report = await report_of(one)

    assert report.ok, report.findings
    assert report.records == 80


@pytest.mark.parametrize("driver", ["asyncpg pool", "asyncpg", "psycopg_async"])
async def test_the_record_is_kept_or_lost_with_the_write_it_is_about(
    database: RLSDatabase, driver: str
) -> None:
    """A log that says what was rolled back is as wrong as one that does not say what was done."""
    async with open_log(database) as audit:
        await _write(database, driver, audit, commit=True)
        await _write(database, driver, audit, commit=False)
        kept = [record.fields["user_id"] async for record in audit.read()]
        assert await _notes(database) == 1

    assert kept == ["user-1"]
    async with open_log(database) as audit:
        report = await report_of(audit)
    assert report.ok, report.findings


async def test_a_write_whose_event_cannot_be_recorded_is_not_committed(
    database: RLSDatabase,
) -> None:
    """``required`` means: no record, no write."""
    database.database.execute(f"REVOKE INSERT ON audit_logs FROM {VARIABLES.runtime_role}")
    async with open_log(database) as audit:
        with pytest.raises(AuditUnavailableError) as refused:
            await _write(database, "asyncpg", audit, commit=True)

    assert refused.value.status == 503
    assert await _notes(database) == 0


async def test_the_caller_of_such_a_write_is_told_503(database: RLSDatabase) -> None:
    """From the browser's side: no success, no row, and nothing about the log."""
    database.database.execute(f"REVOKE INSERT ON audit_logs FROM {VARIABLES.runtime_role}")

    async with open_log(database) as audit:

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await _write(database, "asyncpg", audit, commit=True)
            await send({"type": "http.response.start", "status": 201, "headers": []})
            await send({"type": "http.response.body", "body": b"written"})

        transport = httpx.ASGITransport(app=FailClosedMiddleware(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
            answer = await http.post("/notes")

    assert (answer.status_code, answer.json()["code"]) == (503, "audit_unavailable")
    assert await _notes(database) == 0


async def test_best_effort_lets_the_write_go_on_elsewhere(database: RLSDatabase) -> None:
    """Negative control: the same failure, with the other choice, outside the transaction."""
    database.database.execute("REVOKE INSERT ON audit_logs FROM bind_audit")
    async with open_log(database, mode="best_effort") as audit:
        assert not await audit.record(event(1, tenant=ALICE))
        assert not audit.healthy


async def test_the_app_reads_and_writes_its_tenants_records_only(database: RLSDatabase) -> None:
    """The log is itself a table with tenants in it."""
    async with open_log(database) as audit:
        await audit.record(event(1, tenant=ALICE))
        await audit.record(event(2, tenant=BOB))
        await audit.record(event(3, tenant=None))
        async with create_guarded_pool(database.dsn, variables=VARIABLES) as pool:
            with use_context(context_of(ALICE)):
                async with pool.acquire() as connection, connection.transaction():
                    seen = await connection.fetch("SELECT tenant_id::text FROM audit_logs")
                    with pytest.raises(AuditUnavailableError):
                        await audit.record(event(4, tenant=BOB), connection=connection)

    assert [row["tenant_id"] for row in seen] == [ALICE]


@pytest.mark.parametrize("role", ["runtime", "writer", "owner"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_logs SET user_id = 'somebody-else'",
        "DELETE FROM audit_logs",
        "TRUNCATE audit_logs",
        "UPDATE audit_checkpoints SET line = ''",
        "DELETE FROM audit_checkpoints",
    ],
)
async def test_no_role_of_ours_changes_a_row(
    database: RLSDatabase, role: str, statement: str
) -> None:
    """Append-only by grants; and by a trigger for the owner, whom grants do not bind."""
    async with open_log(database) as audit:
        await audit.record(event(1, tenant=ALICE))
    name = {"runtime": VARIABLES.runtime_role, "writer": TABLES.writer_role}.get(
        role, VARIABLES.owner_role
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await _as(database, name, statement)

    async with open_log(database) as audit:
        assert (await report_of(audit)).ok


ATTACKS: list[tuple[str, str]] = [
    ("UPDATE audit_logs SET user_id = 'somebody-else' WHERE position = 2", "altered"),
    ('UPDATE audit_logs SET "timestamp" = now() WHERE position = 2', "altered"),
    ("UPDATE audit_logs SET details = '{}' WHERE position = 2", "altered"),
    ("UPDATE audit_logs SET body = replace(body, 'user-1', 'user-x')", "altered"),
    ("UPDATE audit_logs SET body = ' ' || body WHERE position = 2", "altered"),
    ("DELETE FROM audit_logs WHERE position = 2", "dropped"),
    ("DELETE FROM audit_logs WHERE position = 5", "dropped"),
    ("DELETE FROM audit_logs WHERE chain = ''", "dropped"),
    ("DELETE FROM audit_checkpoints WHERE number = 2", "dropped"),
    ("DELETE FROM audit_checkpoints WHERE number = 0", "dropped"),
    ("UPDATE audit_checkpoints SET line = '{}' WHERE number = 1", "altered"),
    ("UPDATE audit_logs SET seq = 10 - seq WHERE chain <> ''", "altered"),
    ("UPDATE audit_logs SET signature = reverse(signature) WHERE position = 3", "forged"),
]


@pytest.mark.parametrize(("statement", "kind"), ATTACKS)
async def test_what_a_superuser_does_is_found(
    database: RLSDatabase, statement: str, kind: str
) -> None:
    """Grants and triggers do not bind a superuser; signatures do."""
    async with open_log(database) as audit:
        for number in range(5):
            await audit.record(event(number, tenant=(ALICE, None)[number % 2]))
        assert (await report_of(audit)).ok
    database.database.execute("SET session_replication_role = replica", *_untriggered(statement))

    async with writer_pool(database) as pool:
        sink = PostgresAuditSink(pool, tables=TABLES)
        report = await sink.verify(KEY.verify_keys)

    assert report.first is not None
    assert kind in {finding.kind for finding in report.findings}, report.findings


async def test_the_end_cut_off_is_known_by_the_kept_checkpoint(database: RLSDatabase) -> None:
    """Rows and checkpoints removed together leave a shorter log, whole in itself."""
    async with open_log(database) as audit:
        for number in range(3):
            await audit.record(event(number, tenant=ALICE))
        kept = (await report_of(audit)).latest
    assert kept is not None
    database.database.execute(
        *_untriggered("DELETE FROM audit_logs WHERE position = 3"),
        *_untriggered("DELETE FROM audit_checkpoints WHERE number = 3"),
    )

    async with writer_pool(database) as pool:
        sink = PostgresAuditSink(pool, tables=TABLES)
        blind = await sink.verify(KEY.verify_keys)
        seeing = await sink.verify(KEY.verify_keys, anchors=[kept])

    assert blind.ok  # negative control: only what was kept elsewhere can tell
    assert seeing.first is not None
    assert seeing.first.kind == "truncated"


async def test_injected_sql_can_append_but_not_sign(database: RLSDatabase) -> None:
    """The app's role may insert into its tenant's chain; so may whoever speaks through it."""
    async with open_log(database) as audit:
        await audit.record(event(1, tenant=ALICE))
    copied = (
        'INSERT INTO audit_logs (tenant_id, "timestamp", security_event, outcome, reason, '
        "details, chain, seq, log, prev, hash, key_id, signature, body) "
        'SELECT tenant_id, "timestamp", security_event, outcome, reason, details, chain, '
        "seq + 1, log, hash, hash, key_id, signature, body FROM audit_logs"
    )
    async with create_guarded_pool(database.dsn, variables=VARIABLES) as pool:
        with use_context(context_of(ALICE)):
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute(copied)

    async with open_log(database) as audit:
        report = await report_of(audit)

    assert report.first is not None
    assert (report.first.kind, report.first.seq) == ("altered", 2)


async def test_a_log_of_another_key_is_not_continued(database: RLSDatabase) -> None:
    """Its signatures would be lent to what nobody vouches for."""
    async with open_log(database) as audit:
        await audit.record(event(1, tenant=ALICE))

    async with writer_pool(database) as pool:
        sink = PostgresAuditSink(pool, tables=TABLES)
        other = AuditLog(sinks=[sink], signing_key=AuditSigningKey.generate())
        with pytest.raises(AuditTamperedError):
            await other.start()


async def test_a_query_is_answered_by_the_database(database: RLSDatabase) -> None:
    """The same questions as of a file, with cursors of its own."""
    async with open_log(database) as audit:
        for number in range(20):
            await audit.record(event(number, tenant=(ALICE, None)[number % 2]))

        async def count(**conditions: Any) -> int:
            return len([record async for record in audit.read(AuditQuery(**conditions))])

        assert await count(tenant_id=ALICE) == 10
        assert await count(tenant_id="", since=event(10).time) == 5
        assert await count(until=event(10).time, user_id="user-3") == 1
        assert await count(name="TENANT_MISMATCH", outcome="denied", limit=3) == 3
        page = [record async for record in audit.read(AuditQuery(limit=15))]
        rest = [record async for record in audit.read(AuditQuery(after=page[-1].cursor))]
        assert [r.fields["details"]["number"] for r in page + rest] == list(range(20))
        with pytest.raises(ConfigError):
            await count(after="0 OR 1=1")


async def test_a_tenant_id_of_another_shape_is_kept_all_the_same(database: RLSDatabase) -> None:
    """One strange event must not hold up those behind it for ever."""
    async with open_log(database) as audit:
        await audit.record(event(1, tenant="no uuid"))
        (record,) = [record async for record in audit.read()]
        assert (await report_of(audit)).ok

    assert (record.chain, record.fields["details"]["tenant_named"]) == ("", "no uuid")


async def test_the_start_up_checks_pass_with_the_logs_tables(database: RLSDatabase) -> None:
    """The log must not be the table that keeps an app from starting."""
    engine = guarded_engine(database.url(), variables=VARIABLES)
    try:
        with pytest.raises(NotReadyError, match="audit_logs"):  # negative control
            await verify_deployment(engine)
        policies = tenant_policies(Base.metadata, variables=VARIABLES, accept=TABLES.accepted)
        await verify_deployment(engine, tables=policies)
    finally:
        await engine.dispose()


def test_names_that_would_need_quotes_are_refused() -> None:
    """They become part of SQL that no parameter can carry."""
    with pytest.raises(ConfigError):
        type(TABLES)(table='logs"; DROP TABLE x')
    with pytest.raises(ConfigError):
        type(TABLES)(writer_role="app_runtime")


def _untriggered(statement: str) -> tuple[str, ...]:
    table = "audit_checkpoints" if "audit_checkpoints" in statement else "audit_logs"
    return (
        f"ALTER TABLE {table} DISABLE TRIGGER append_only",
        statement,
        f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only",
    )


async def _as(database: RLSDatabase, role: str, statement: str) -> None:
    connection = await asyncpg.connect(database.database.dsn())
    try:
        await connection.execute(f"SET ROLE {role}")
        await connection.execute(statement)
    finally:
        await connection.close()


async def _notes(database: RLSDatabase) -> int:
    connection = await asyncpg.connect(database.database.dsn())
    try:
        return int(await connection.fetchval("SELECT count(*) FROM notes WHERE body = 'audited'"))
    finally:
        await connection.close()


async def _write(database: RLSDatabase, driver: str, audit: AuditLog, *, commit: bool) -> None:
    """Write a note and its event in one transaction of the runtime role."""
    happened = event(1 if commit else 2, tenant=ALICE, outcome="allowed")
    write: Callable[..., Any] = _through_pool if driver == "asyncpg pool" else _through_session
    with use_context(context_of(ALICE)):
        try:
            await write(database, driver, audit, happened, commit=commit)
        except _UndoError:
            return


class _UndoError(Exception):
    """Roll back."""


async def _through_pool(
    database: RLSDatabase, _driver: str, audit: AuditLog, happened: Any, *, commit: bool
) -> None:
    async with (
        create_guarded_pool(database.dsn, variables=VARIABLES) as pool,
        pool.acquire() as connection,
        connection.transaction(),
    ):
        await connection.execute(NOTE)
        await audit.record(happened, connection=connection)
        if not commit:
            raise _UndoError


async def _through_session(
    database: RLSDatabase, driver: str, audit: AuditLog, happened: Any, *, commit: bool
) -> None:
    engine = guarded_engine(database.url(driver), variables=VARIABLES)
    try:
        async with AsyncSession(engine) as session, session.begin():
            await session.execute(text(NOTE))
            await audit.record(happened, connection=session)
            if not commit:
                raise _UndoError
    finally:
        await engine.dispose()
