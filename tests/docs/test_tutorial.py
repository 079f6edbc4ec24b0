"""The tutorial is code that people copy: its blocks run here, in order, on a real server."""

from __future__ import annotations

import asyncio
import re
import uuid
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.testclient import TestClient

from asgi_guard.errors import RLSViolationError
from asgi_guard.rls import password_statement
from asgi_guard.secret import Secret
from asgi_guard.testing.server import PostgresDatabase

pytestmark = pytest.mark.postgres

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
TENANT, USER = str(uuid.uuid4()), "somebody@example.com"
DIRECTORY = (
    """DO $$BEGIN CREATE ROLE app_directory LOGIN;
       EXCEPTION WHEN duplicate_object THEN NULL; END$$""",
    "CREATE TABLE tenants (id uuid PRIMARY KEY, status text NOT NULL)",
    "CREATE TABLE memberships (tenant uuid, user_id text, role text, status text)",
    "GRANT SELECT ON tenants, memberships TO app_directory",
    f"INSERT INTO tenants VALUES ('{TENANT}', 'active')",
    f"INSERT INTO memberships VALUES ('{TENANT}', '{USER}', 'editor', 'active')",
)
CLAIMS = {
    "iss": "https://id.example",
    "aud": "notes",
    "sub": USER,
    "tenant_id": TENANT,
    "scope": "notes:write",
    "exp": 4_000_000_000,
}


class Tutorial:
    """The page's blocks, to be run in order in one namespace against one database."""

    def __init__(self, database: PostgresDatabase) -> None:
        page = TUTORIAL.read_text(encoding="utf-8")
        self.blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        self.names: dict[str, Any] = {"__name__": "tutorial"}
        self.database = database

    def run(self, first: int, last: int) -> None:
        """Run the blocks *first* to *last*, counted from 1."""
        for block in self.blocks[first - 1 : last]:
            for role in ("app_runtime", "app_directory"):
                printed = f"postgresql+asyncpg://{role}:secret@db/app"
                block = block.replace(printed, _as(self.database, role))  # noqa: PLW2901 - the same block
            exec(compile(block, str(TUTORIAL), "exec", dont_inherit=True), self.names)  # noqa: S102 - our page


def _as(database: PostgresDatabase, role: str) -> str:
    url = make_url(database.dsn(user=role, password="secret")).set(drivername="postgresql+asyncpg")
    return url.render_as_string(hide_password=False)


async def _prepare(database: PostgresDatabase, names: dict[str, Any]) -> None:
    """Do what an administrator does between the tutorial's second and third step."""
    admin = create_async_engine(make_url(database.dsn()).set(drivername="postgresql+asyncpg"))
    async with admin.begin() as connection:
        await connection.run_sync(names["Base"].metadata.create_all)
        await connection.run_sync(names["policies"].apply)
        for statement in DIRECTORY:
            await connection.exec_driver_sql(statement)
        for role in ("app_runtime", "app_system", "app_directory"):
            await connection.exec_driver_sql(password_statement(role, Secret("secret")))
    await admin.dispose()


async def test_every_step_of_the_tutorial_runs(
    postgres_database: PostgresDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    """A newcomer who copies a block that does not run is gone."""
    tutorial = Tutorial(postgres_database)
    tutorial.run(1, 2)
    names = tutorial.names
    assert "FORCE ROW LEVEL SECURITY" in capsys.readouterr().out
    await _prepare(postgres_database, names)
    tutorial.run(3, len(tutorial.blocks))

    assert await names["titles"](TENANT) == 0
    with pytest.raises(RLSViolationError):
        async with names["AsyncSession"](names["engine"]) as session:
            await session.execute(names["select"](names["Note"]))
    await names["job"](TENANT)
    await names["across_tenants"](_as(postgres_database, "app_system"))
    await names["engine"].dispose()
    await names["directory"].dispose()


def test_the_tutorials_app_serves_its_own_tenant(postgres_database: PostgresDatabase) -> None:
    """The handlers of the last steps, under the guard of the fourth, with a real token."""
    tutorial = Tutorial(postgres_database)
    tutorial.run(1, 2)
    asyncio.run(_prepare(postgres_database, tutorial.names))
    tutorial.run(3, 5)
    app = tutorial.names["app"]
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    tutorial.names["guard"](app, public)
    token = jwt.encode(CLAIMS, key, algorithm="RS256")
    bearer = {"authorization": f"Bearer {token}"}

    with TestClient(app, base_url="https://notes.example") as client:
        added = client.post("/notes", params={"text": "first"}, headers=bearer)
        mine = client.get("/notes", headers=bearer)
        nobody = client.get("/notes")
        foreign = client.get("/notes", headers=bearer | {"x-tenant-id": str(uuid.uuid4())})
        assert client.portal is not None
        for name in ("engine", "directory"):
            client.portal.call(tutorial.names[name].dispose)

    assert (added.status_code, mine.json()) == (201, ["first"])
    assert (nobody.status_code, foreign.status_code) == (401, 404)
