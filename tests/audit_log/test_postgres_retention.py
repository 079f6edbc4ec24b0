"""Retention in PostgreSQL: what is old goes, the chain holds, and nothing else may be deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from asgi_guard.audit_log import AuditLog, AuditSigningKey, PostgresAuditSink, VerifyReport
from asgi_guard.cli.app import app
from asgi_guard.errors import ConfigError
from tests.support.audit_logs import KEY, event
from tests.support.audit_postgres import PASSWORD, TABLES, install, writer_pool
from tests.support.headers_clock import MovedClock
from tests.support.rls_schema import ALICE, BOB, RLSDatabase

pytestmark = pytest.mark.postgres

KEPT = replace(TABLES, keep_days=30)
DAY = 86_400.0
START = datetime(2024, 1, 1, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def database(rls_database: RLSDatabase) -> RLSDatabase:
    install(rls_database)
    rls_database.database.execute(*KEPT.statements())
    return rls_database


@asynccontextmanager
async def log_at(database: RLSDatabase, day: float) -> AsyncIterator[AuditLog]:
    """Open the log on the day so many days after the first."""
    async with writer_pool(database) as pool:
        clock = MovedClock()
        clock.move(START + day * DAY - clock.now())
        sink = PostgresAuditSink(pool, tables=KEPT)
        async with AuditLog(sinks=[sink], signing_key=KEY, clock=clock) as audit:
            yield audit


async def written(database: RLSDatabase, day: float, *tenants: str | None) -> None:
    async with log_at(database, day) as audit:
        for number, tenant in enumerate(tenants):
            when = datetime.fromtimestamp(START + day * DAY + number, UTC)
            await audit.record(event(number, tenant=tenant, time=when))


async def forty_days(database: RLSDatabase) -> None:
    """Bob was last here on the first day; all of days 0 to 2 is expired on day 40."""
    await written(database, 0, ALICE, BOB, ALICE, None)
    await written(database, 1, ALICE, ALICE)
    await written(database, 2, ALICE)
    await written(database, 20, ALICE)
    await written(database, 40, ALICE)


async def verified(database: RLSDatabase, **options: Any) -> VerifyReport:
    async with writer_pool(database) as pool:
        return await PostgresAuditSink(pool, tables=KEPT).verify(KEY.verify_keys, **options)


async def rows(database: RLSDatabase, sql: str) -> list[Any]:
    async with writer_pool(database) as pool:
        return [tuple(row.values()) for row in await pool.fetch(sql)]


async def test_old_records_go_and_the_log_is_whole(database: RLSDatabase) -> None:
    """Keeping everything for ever is a promise that privacy law does not let you make."""
    await forty_days(database)

    report = await verified(database)
    days = await rows(
        database, 'SELECT DISTINCT "timestamp"::date::text FROM audit_logs ORDER BY 1'
    )
    told = await rows(
        database,
        "SELECT details->>'records' FROM audit_logs "
        "WHERE security_event = 'AUDIT_SEGMENTS_EXPIRED'",
    )
    assert report.ok, report.findings
    assert [day for (day,) in days] == ["2024-01-01", "2024-01-21", "2024-02-10"]
    assert sum(int(count) for (count,) in told) == 5  # of Alice's; Bob's last record stays


async def test_a_tenant_that_comes_back_goes_on_where_it_was(database: RLSDatabase) -> None:
    """A chain that began anew could be a history put in another's place."""
    await forty_days(database)
    await written(database, 80, BOB)

    numbers = await rows(database, f"SELECT seq FROM audit_logs WHERE chain = '{BOB}'")
    report = await verified(database)

    assert report.ok, report.findings
    assert numbers == [(1,), (2,)]


async def test_a_kept_checkpoint_of_what_is_gone_is_still_no_proof_of_foul_play(
    database: RLSDatabase,
) -> None:
    """An anchor older than the retention is said to be older, in those words."""
    await forty_days(database)
    report = await verified(database)

    assert report.latest is not None
    assert report.latest.first > 0
    assert (await verified(database, anchors=[report.latest])).ok


@pytest.mark.parametrize(
    "statement",
    [
        # one more row than retention took
        (
            "DELETE FROM audit_logs WHERE position = (SELECT min(position) FROM audit_logs "
            "WHERE \"timestamp\" > '2024-01-02')"
        ),
        # the last record of a tenant that is gone
        f"DELETE FROM audit_logs WHERE chain = '{BOB}'",
        # the beginning, up to a later checkpoint that also names every chain
        (
            "WITH later AS (SELECT number, after_position FROM audit_checkpoints "
            "WHERE line LIKE '%\"full\":true%' ORDER BY number DESC LIMIT 1), "
            "gone AS (DELETE FROM audit_logs USING later WHERE position <= after_position "
            "AND \"timestamp\" > '2024-01-02') "
            "DELETE FROM audit_checkpoints USING later "
            "WHERE audit_checkpoints.number < later.number"
        ),
        # what retention left, with another content
        f"UPDATE audit_logs SET user_id = 'x' WHERE chain = '{BOB}'",
        f"UPDATE audit_logs SET body = replace(body, 'user-1', 'user-x') WHERE chain = '{BOB}'",
    ],
)
async def test_whoever_takes_more_than_retention_is_found(
    database: RLSDatabase, statement: str
) -> None:
    """Attacker's side: a log that may be shortened must not be shortened further."""
    await forty_days(database)
    assert (await verified(database)).ok
    for table in ("audit_logs", "audit_checkpoints"):
        database.database.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    database.database.execute(statement)

    report = await verified(database)

    assert {finding.kind for finding in report.findings} & {"dropped", "altered"}, report


async def test_the_database_refuses_to_delete_what_is_young(database: RLSDatabase) -> None:
    """The writer's own role, taken over, can shorten the log by nothing but its old end."""
    async with log_at(database, 0) as audit:
        await audit.record(event(1, tenant=ALICE, time=datetime.now(UTC)))
    dsn = database.database.dsn(TABLES.writer_role, PASSWORD)
    connection = await asyncpg.connect(dsn)
    try:
        for statement in ("DELETE FROM audit_logs", "TRUNCATE audit_logs", ("UPDATE audit_logs SET "
                          "user_id = 'x'")):  # fmt: skip
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_one_worker_a_day_does_it_and_others_write_on(database: RLSDatabase) -> None:
    """Every worker finds out that the day is new; only together must they do it rightly."""
    await forty_days(database)
    async with log_at(database, 90) as one, log_at(database, 90) as other:
        for log in (one, other, one):
            await log.record(event(1, tenant=ALICE))

    assert (await verified(database)).ok


async def test_an_operator_shortens_a_log_and_it_stays_whole(
    database: RLSDatabase, tmp_path: Path
) -> None:
    """For a log whose writer is gone, or a retention that was agreed on later."""
    key = AuditSigningKey.create_file(tmp_path / "audit.key")
    async with writer_pool(database) as pool:
        for day in (0, 1, 2):
            clock = MovedClock()
            clock.move(START + day * DAY - clock.now())
            sink = PostgresAuditSink(pool, tables=KEPT)
            async with AuditLog(sinks=[sink], signing_key=key, clock=clock) as audit:
                for number in range(3):
                    await audit.record(
                        event(number, tenant=ALICE, time=datetime(2024, 1, 1, tzinfo=UTC))
                    )
    dsn = database.database.dsn(TABLES.writer_role, PASSWORD)

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["audit", *words])

    done = await asyncio.to_thread(
        run, "expire", dsn, "--key", str(tmp_path / "audit.key"), "--keep-days", "30"
    )
    seen = await asyncio.to_thread(run, "verify", dsn, "--public-key", key.public_key)
    files = await asyncio.to_thread(
        run, "expire", str(tmp_path), "--key", str(tmp_path / "audit.key"), "--keep-days", "30"
    )

    assert (done.exit_code, done.stdout) == (0, "deleted: 7 records\n"), done.output
    assert (seen.exit_code, seen.stdout[:6]) == (0, "whole:"), seen.output
    assert files.exit_code == 2


def test_a_retention_that_means_nothing_is_refused() -> None:
    """It would delete all, or be no number of days."""
    for days in (0, -1, True, 1.5):
        with pytest.raises(ConfigError):
            replace(TABLES, keep_days=days)  # type: ignore[arg-type] # the point
