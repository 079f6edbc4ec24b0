"""The pages of the rooms are code that people copy: they run, and what they list is whole."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from dataclasses import fields
from pathlib import Path

import asyncpg
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from sqlalchemy import text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.testclient import TestClient

from asgi_guard import Guard, GuardSettings, UserExecutionContext, use_context
from asgi_guard.errors import ContextMissingError, RLSViolationError
from asgi_guard.integrations.fastapi import GuardedSession
from asgi_guard.protocols import Principal, Scope
from asgi_guard.rls import GuardedAsyncSession, guarded_engine
from asgi_guard.settings.env import PREFIX, read_environment
from asgi_guard.tenancy import ClaimResolver
from asgi_guard.testing import ContaminationError, PostgresDatabase
from scripts.errors_page import PAGE, errors_page
from tests.support.pages import Page, as_role, prepare, tutorial_models

ROOT = Path(__file__).resolve().parents[2]
TENANT, OTHER = str(uuid.uuid4()), str(uuid.uuid4())
ROWS = (
    f"INSERT INTO notes VALUES ('{TENANT}', gen_random_uuid(), 'mine')",
    f"INSERT INTO notes VALUES ('{OTHER}', gen_random_uuid(), 'theirs')",
)
ALICE = UserExecutionContext(tenant_id=TENANT, user_id="alice")


def test_the_page_of_errors_is_what_the_classes_say() -> None:
    """An operator looks a code up where it was written down once."""
    written = PAGE.read_text(encoding="utf-8")

    assert written == errors_page(), "run: python -m scripts.errors_page"
    Page("errors.md").run()


async def test_the_page_of_tenancy_runs() -> None:
    """Its blocks assert by themselves; here is what they must not do outside a context."""
    names = Page("tenancy.md").run()

    with pytest.raises(ContextMissingError):
        names["greeting"]()
    membership = await names["memberships"].lookup("alice", TENANT)
    assert membership is not None
    assert not membership.active


@pytest.mark.postgres
async def test_the_page_of_row_level_security_runs(postgres_database: PostgresDatabase) -> None:
    """Each way to the database shows one tenant, and the system's way all of them."""
    models = tutorial_models()
    await prepare(postgres_database, models, *ROWS)
    names = Page("rls.md", postgres_database, **models).run()

    async with GuardedAsyncSession(names["engine"]) as session:
        with pytest.raises(RLSViolationError):
            await names["list_notes"](session)
        with use_context(ALICE):
            assert await names["list_notes"](session) == ["mine"]
            assert await names["count"]() == 1
            await session.rollback()
    assert await names["nightly"](OTHER) == ["theirs"]
    assert await names["invoices"]() == 2
    await names["engine"].dispose()


def test_the_page_of_row_level_security_names_every_reason() -> None:
    """An operator finds the reason of the event that woke them."""
    page = Page("rls.md").text
    code = "".join(file.read_text() for file in (ROOT / "asgi_guard" / "rls").rglob("*.py"))
    reasons = set(re.findall(r'reason="(\w+)"', code))

    assert "no_tenant" in reasons
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in page] == []


@pytest.mark.postgres
async def test_the_page_of_policies_runs(postgres_database: PostgresDatabase) -> None:
    """Its models have keys that the policies take, and its set-up leaves nothing to find."""
    models = tutorial_models()
    names = Page("policies.md", postgres_database, **models).run(1)
    assert "FORCE ROW LEVEL SECURITY" in names["script"]
    await prepare(postgres_database, models)

    Page("policies.md", **models).run(2)
    assert "comments" in str(names["tenant_policies"](models["Base"].metadata))


INDEXES = (
    "CREATE INDEX ON notes (text text_pattern_ops)",
    "ALTER TABLE notes ADD COLUMN data jsonb",
    "CREATE INDEX ON notes USING gin (data)",
    "ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
    f"""INSERT INTO notes SELECT '{TENANT}', gen_random_uuid(), 'n' || i, jsonb_build_object('k', i)
        FROM generate_series(1, 5000) AS i""",
    "ALTER TABLE notes ENABLE ROW LEVEL SECURITY",
    "ANALYZE notes",
)


KEEPS = {
    "text = 'n4999'": "Index Cond: (text = ",
    "starts_with(text, 'n4999')": "Index Cond: ((text ~>=~ ",
    "text ^@ 'n4999'": "Index Cond: ((text ~>=~ ",
}
LOSES = ("text LIKE 'n4999%'", """data @> '{"k": 4999}'""")


@pytest.mark.postgres
async def test_what_the_page_says_about_indexes_is_so(postgres_database: PostgresDatabase) -> None:
    """A query that was fast before policies and is slow after is the first surprise of all."""
    await prepare(postgres_database, tutorial_models(), *INDEXES)

    async def plans(dsn: str) -> dict[str, str]:
        connection = await asyncpg.connect(dsn)
        found = {}
        async with connection.transaction():
            await connection.execute(f"SET LOCAL app.current_tenant = '{TENANT}'")
            await connection.execute("SET LOCAL enable_seqscan = off")
            for condition in (*KEEPS, *LOSES):
                explain = f"EXPLAIN ANALYZE SELECT * FROM notes WHERE {condition}"
                found[condition] = "\n".join(row[0] for row in await connection.fetch(explain))
        await connection.close()
        return found

    guarded = await plans(postgres_database.dsn("app_runtime", "secret"))
    control = await plans(postgres_database.dsn())

    for condition, uses in KEEPS.items():
        assert uses in guarded[condition]
    for condition in LOSES:
        assert "Rows Removed by Filter: 4999" in guarded[condition]
        assert "Rows Removed by Filter" not in control[condition], "no policy, no loss"


def test_the_page_of_the_guard_runs_and_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field and every variable has its line, and no line is of another."""
    page = Page("guard.md")
    assert isinstance(page.run()["settings"], GuardSettings)

    table = page.text.partition("## Settings")[2].partition("## Environment")[0]
    listed = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    names = [name for cell in listed for name in re.findall(r"`(\w+)`", cell)]
    assert names == [field.name for field in fields(GuardSettings)]

    variables = re.findall(rf"^\| `({PREFIX}\w+)` \| `?([\w-]*)", page.text, re.MULTILINE)
    given = {
        "a": "x-request-id",  # "a header name"
        "addresses": "10.0.0.0/8",
        "origins": "https://a.example",
        "paths": "/health",
    }
    environ = {name: given.get(first, first) for name, first in variables}
    assert len(read_environment(environ)) == len(variables) == 9


class Bearer:
    """Knows one token."""

    async def authenticate(self, scope: Scope) -> Principal | None:
        if (b"authorization", b"Bearer alices") not in scope["headers"]:
            return None
        return Principal(user_id="alice", tenant_id=TENANT, scopes=frozenset({"notes:write"}))


@pytest.mark.postgres
async def test_the_page_of_fastapi_runs(postgres_database: PostgresDatabase) -> None:
    """Its router, behind the guard, on a real database."""
    models = tutorial_models()
    await prepare(postgres_database, models, *ROWS)
    app = FastAPI()
    app.include_router(Page("fastapi.md", **models).run()["router"])
    engine: AsyncEngine = guarded_engine(as_role(postgres_database, "app_runtime"))
    settings = GuardSettings(
        authenticators=[Bearer()],
        resolver=ClaimResolver(),
        databases=[engine],
        tables=models["policies"],
    )
    bearer = {"authorization": "Bearer alices"}

    @app.get("/streamed")
    async def streamed(session: GuardedSession) -> StreamingResponse:
        async def body() -> AsyncIterator[str]:
            yield await session.scalar(text("SELECT text FROM notes LIMIT 1"))

        return StreamingResponse(body())

    with TestClient(Guard(settings).install(app), base_url="https://notes.example") as client:
        added = client.post("/notes", params={"text": "second"}, headers=bearer)
        mine = client.get("/notes", headers=bearer)
        nobody = client.get("/notes")
        with pytest.raises(InvalidRequestError, match="permanently closed"):
            client.get("/streamed", headers=bearer)
        assert client.portal is not None
        client.portal.call(engine.dispose)

    assert (added.status_code, added.json()) == (201, "alice")
    assert sorted(mine.json()) == ["mine", "second"]
    assert nobody.status_code == 401


@pytest.mark.postgres
async def test_the_page_of_testing_runs(postgres_database: PostgresDatabase) -> None:
    """The attack finds nothing, and its control finds something."""
    models = tutorial_models()
    await prepare(postgres_database, models, *ROWS)
    names = Page("testing.md", **models).run()

    name, dsn = names["versions"]()
    assert name == "notes"
    assert dsn.startswith("postgresql://app_runtime:secret@127.0.0.1:")
    runtime = as_role(postgres_database, "app_runtime")
    admin = postgres_database.dsn().replace("://", "+asyncpg://", 1)
    await names["test_nobody_reads_anothers_notes"](runtime, TENANT)
    await names["test_control_the_attack_works_where_no_policy_is_asked"](admin, TENANT)

    names["test_each_tenant_has_an_agent"]()
    detector = names["TenantDetector"]()
    names["test_the_history_is_nobodys"](detector)
    assert detector.found == ()
    shared = names["Agent"]()
    with pytest.raises(ContaminationError), names["detect_shared"](names["Agent"]):  # noqa: PT012 - the block's end raises
        names["ask"](shared, TENANT)
        names["ask"](shared, OTHER)
