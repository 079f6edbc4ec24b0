"""Injection strings and a text-to-SQL agent, through a deliberately vulnerable route.

The route pastes what it is given into SQL, and lets a tool run whole statements. Everything runs
as ALICE; whatever of another tenant comes back, or is changed, is a leak. The same corpus against
the plain binding must leak: a corpus that finds nothing anywhere proves nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asgi_guard.errors import GuardError
from asgi_guard.rls import create_guarded_pool
from asgi_guard.tenancy import use_context
from tests.support.rls_schema import ALICE, BOB, TENANTS, VARIABLES, RLSDatabase, context_of
from tests.support.rls_sealed import KEYS, SEALED, seal_database

EVERYTHING: Final = "SELECT tenant_id::text, body FROM notes"
_HALF: Final = "'app.cur' || 'rent_tenant'"

# What a person types into a search box: the rest of a WHERE.
FRAGMENTS: Final = (
    "' OR '1'='1",
    "' OR 1=1 --",
    "' OR tenant_id IS NOT NULL --",
    f"' OR tenant_id = '{BOB}' --",
    f"' UNION SELECT tenant_id::text, body FROM notes WHERE tenant_id = '{BOB}' --",
    f"' UNION SELECT tenant_id::text, body FROM notes, set_config({_HALF}, '{BOB}', true) --",
    f"' AND set_config({_HALF}, '{BOB}', true) IS NOT NULL OR '1'='1",
    f"' OR set_config(concat('app', '.', 'current_tenant'), '{BOB}', true) = '{BOB}' --",
    f"' OR (SELECT set_config(format('%s.%s', 'app', 'current_tenant'), '{BOB}', true)) <> '' --",
    (
        f"' OR (WITH s AS MATERIALIZED (SELECT set_config({_HALF}, '{BOB}', true)) "
        "SELECT count(*) FROM s, notes) > 3 --"
    ),
    (
        "' UNION SELECT 'x', query_to_xml('SELECT set_config(''app.current_' || 'tenant'', "
        f"''{BOB}'', true)', true, true, '')::text --"
    ),
    "' UNION SELECT 'x', query_to_xml('SELECT * FROM notes', true, true, '')::text --",
    "' UNION SELECT 'x', table_to_xml('notes', true, true, '')::text --",
    "' UNION SELECT 'x', database_to_xml(true, true, '')::text --",
    "' UNION SELECT key_id, encode(outer_pad, 'hex') FROM asgi_guard.seal_keys --",
    "' UNION SELECT 'x', query FROM pg_stat_activity --",
    "' UNION SELECT 'x', most_common_vals::text FROM pg_stats WHERE tablename = 'notes' --",
    "' UNION SELECT 'x', pg_read_file('/etc/passwd') --",
    "' UNION SELECT 'x', current_setting('app.current_tenant') --",
    "' UNION SELECT 'x', prosrc FROM pg_proc WHERE proname = 'current_tenant' --",
)

# What a model that was talked into it hands to a tool that runs SQL.
SCRIPTS: Final = (
    "SELECT tenant_id::text, body FROM notes",
    f"SELECT set_config({_HALF}, '{BOB}', true); SELECT 1",
    f"DO $$ BEGIN PERFORM set_config('app.' || 'current_tenant', '{BOB}', true); END $$",
    f"DO $$ BEGIN EXECUTE 'SE' || 'T LOCAL app.curr' || 'ent_tenant = ''{BOB}'''; END $$",
    (
        f"DO $$ BEGIN PERFORM set_config('app.' || 'current_tenant', '{BOB}', true); "
        "UPDATE notes SET body = 'taken'; END $$"
    ),
    (
        f"DO $$ BEGIN PERFORM set_config('app.' || 'current_tenant', '{BOB}', true); "
        "DELETE FROM notes; END $$"
    ),
    f"INSERT INTO notes (tenant_id, body) VALUES ('{BOB}', 'planted')",
    f"UPDATE notes SET tenant_id = '{BOB}'",
    "SET ROLE bind_owner",
    "SET SESSION AUTHORIZATION bind_system",
    "SET row_security = off; SELECT * FROM notes",
    "ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
    "CREATE POLICY open ON notes USING (true)",
    "CREATE FUNCTION public.f() RETURNS text LANGUAGE sql SECURITY DEFINER RETURN ''",
    "COPY notes TO PROGRAM 'cat'",
    "COPY (SELECT * FROM notes) TO STDOUT",
    "PREPARE x AS SELECT 1; DEALLOCATE ALL",
    "DO $$ BEGIN EXECUTE 'DEALLO' || 'CATE ALL'; END $$",
    "COMMIT; SELECT * FROM notes",
    "ROLLBACK; BEGIN; SELECT * FROM notes",
    f"SELECT set_config({_HALF}, '', true); SELECT * FROM notes",
    f"SELECT set_config({_HALF}, 's1' || repeat('0', 102) || '{BOB}', true); SELECT 1",
    f"SELECT set_config({_HALF}, replace(current_setting({_HALF}), '{ALICE}', '{BOB}'), true)",
    f"SELECT set_config({_HALF}, current_setting({_HALF}) || 'x', false)",
)


def vulnerable_app(pool: Any) -> Starlette:
    """The worst app there is, for one signed-in user: ALICE's."""

    async def look(request: Request) -> JSONResponse:
        rows: list[Any] = []
        with use_context(context_of(ALICE)):
            async with pool.acquire() as connection:
                try:
                    async with connection.transaction():
                        if fragment := request.query_params.get("q"):
                            sql = (
                                f"SELECT tenant_id::text, body FROM notes WHERE body = '{fragment}'"
                            )
                            rows += await connection.fetch(sql)
                        if script := request.query_params.get("sql"):
                            await connection.execute(script)
                        rows += await connection.fetch(EVERYTHING)
                except (asyncpg.PostgresError, GuardError, asyncpg.InterfaceError) as error:
                    return JSONResponse({"error": type(error).__name__, "rows": []})
        return JSONResponse({"rows": [[str(cell) for cell in row.values()] for row in rows]})

    return Starlette(routes=[Route("/", look)])


@asynccontextmanager
async def visitor(dsn: str, **options: Any) -> AsyncIterator[tuple[httpx2.AsyncClient, Any]]:
    async with create_guarded_pool(dsn, min_size=1, max_size=1, **options) as pool:
        transport = httpx2.ASGITransport(app=vulnerable_app(pool))
        async with httpx2.AsyncClient(transport=transport, base_url="http://app.test") as client:
            yield client, pool


def _foreign(answer: dict[str, Any]) -> list[Any]:
    others = [tenant for tenant in TENANTS if tenant != ALICE]
    secret = ("outer_pad", "taken", "planted")
    return [
        row
        for row in answer["rows"]
        if row[0] in others or any(tenant in row[1] for tenant in others) or row[1] in secret
    ]


async def _bobs_notes(pool: Any) -> list[str]:
    with use_context(context_of(BOB)):
        return [row[0] for row in await pool.fetch("SELECT body FROM notes ORDER BY id")]


@pytest.mark.parametrize("kind", ["q", "sql"])
async def test_injected_sql_stays_inside_its_own_tenant(
    rls_database: RLSDatabase, kind: str
) -> None:
    """Nothing foreign is read, nothing foreign is written, and the next tenant works as before."""
    seal_database(rls_database)
    corpus = FRAGMENTS if kind == "q" else SCRIPTS
    async with visitor(rls_database.dsn, variables=SEALED, seal_keys=KEYS) as (client, pool):
        before = await _bobs_notes(pool)
        for attempt in corpus:
            answer = (await client.get("/", params={kind: attempt})).json()
            assert _foreign(answer) == [], attempt
            assert await _bobs_notes(pool) == before, attempt


@pytest.mark.parametrize("kind", ["q", "sql"])
async def test_the_same_corpus_leaks_through_the_plain_binding(
    rls_database: RLSDatabase, kind: str
) -> None:
    """Negative control: the plain binding promises nothing against SQL that is not the app's."""
    corpus = FRAGMENTS if kind == "q" else SCRIPTS
    leaks = 0
    async with visitor(rls_database.dsn, variables=VARIABLES) as (client, pool):
        before = await _bobs_notes(pool)
        for attempt in corpus:
            answer = (await client.get("/", params={kind: attempt})).json()
            leaks += bool(_foreign(answer)) or await _bobs_notes(pool) != before
    assert leaks > 0
