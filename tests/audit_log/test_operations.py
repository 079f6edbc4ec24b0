"""Every operation that matters leaves its record: a table of what is done and what is written."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from asgi_guard._internal.event_catalogue import CATALOGUE
from asgi_guard._internal.events import subscribe
from asgi_guard.errors import RLSViolationError
from asgi_guard.rls import system_engine, system_session
from tests.support.audit_logs import audit_log, verified
from tests.support.audit_operations import OPERATIONS, in_context, user
from tests.support.rls_schema import VARIABLES, RLSDatabase

ELSEWHERE = {
    "KEY_RETIRED": "tests/auth/jose: it takes weeks of a moved clock",
    "VAULT_OPEN_FAILED": "tests/attacks/test_vault_rows.py: it takes an attacker",
    "PASSWORD_REHASHED": "tests/auth/passwords: it takes an old hash",
    "KEYS_RESEALED": "tests/auth/jose: a store that seals",
    "KEY_MIGRATION_STEP": "tests/auth/jose: a migration",
    "KEY_MAINTENANCE_FAILED": "tests/auth/jose: a store that is away",
    "SESSION_STATE_KEPT": "tests/auth/sessions",
}
ROOMS = ("PASSWORD_", "API_KEY_", "KEY_", "KEYS_", "VAULT_", "SESSION_", "SESSIONS_")
FILES = "SESSION_FILE_"  # the file store's own, tested beside it


async def names_left_by(name: str, path: Path) -> list[str]:
    """Do one operation with the log reading, and return the names on record."""
    operation, _ = OPERATIONS[name]
    audit = audit_log(path / "log", routine=True)
    async with audit:
        steps = operation(path, audit)
        with user() if in_context(name) else nullcontext():
            await anext(steps)
            unsubscribe = subscribe(audit)
            try:
                await anext(steps, None)
            finally:
                unsubscribe()
    return [record.fields["name"] async for record in audit.read()]


@pytest.mark.parametrize("name", OPERATIONS)
async def test_an_operation_leaves_one_record_of_each_thing_it_did(
    name: str, tmp_path: Path
) -> None:
    """One that leaves none is where an intruder works; one that leaves two is counted twice."""
    assert await names_left_by(name, tmp_path) == OPERATIONS[name][1]
    assert verified(tmp_path / "log").ok


@pytest.mark.postgres
async def test_crossing_tenants_leaves_its_beginning_and_its_end(
    rls_database: RLSDatabase, tmp_path: Path
) -> None:
    """The bypass: who, why, and for how long."""
    engine = system_engine(rls_database.url(dsn=rls_database.system_dsn), variables=VARIABLES)
    audit = audit_log(tmp_path / "log")
    unsubscribe = subscribe(audit)
    try:
        async with audit:
            async with system_session(engine, reason="monthly invoices", ticket="OPS-12"):
                pass
            with pytest.raises(RLSViolationError):
                async with engine.connect():
                    pass
    finally:
        unsubscribe()
        await engine.dispose()

    records = [record.fields async for record in audit.read()]
    assert [fields["name"] for fields in records] == [
        "SYSTEM_SESSION_OPENED",
        "SYSTEM_SESSION_CLOSED",
        "RLS_NOT_ENFORCED",
    ]
    assert records[0]["details"] == {"reason": "monthly invoices", "ticket": "OPS-12"}


def test_the_table_knows_every_event_of_these_rooms() -> None:
    """An operation that is added is entered here, or somewhere else by name."""
    shown = {name for _, names in OPERATIONS.values() for name in names}
    ours = {
        kind.name
        for kind in CATALOGUE
        if kind.name.startswith(ROOMS) and not kind.name.startswith(FILES)
    }

    assert sorted(ours - shown - set(ELSEWHERE)) == []
