"""The page of migrations is code that people copy: it runs."""

from __future__ import annotations

import re
import tomllib
import uuid
from pathlib import Path

import asyncpg
import pytest
from alembic.autogenerate import produce_migrations
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from asgi_guard.rls import RLSVariables, guarded_engine
from asgi_guard.rls.adoption import Adoption
from asgi_guard.testing import PostgresDatabase
from tests.support.pages import Page, as_role, prepare, tutorial_models

pytestmark = pytest.mark.postgres

TENANT = str(uuid.uuid4())


def test_what_the_page_puts_into_env_py_compares_policies(
    postgres_database: PostgresDatabase, tmp_path: Path
) -> None:
    """On an empty database it writes policies for every table."""
    names = Page("migrations.md", postgres_database, **tutorial_models()).run(1)
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    engine = create_engine(
        postgres_database.dsn().replace("postgresql://", "postgresql+psycopg://", 1)
    )
    with (
        EnvironmentContext(config, ScriptDirectory(str(tmp_path)), fn=lambda *_: []) as environment,
        engine.connect() as connection,
    ):
        names["do_run_migrations"](connection)
        found = produce_migrations(environment.get_context(), names["Base"].metadata)
    engine.dispose()

    assert found.upgrade_ops is not None
    told = [diff[0] for diff in found.upgrade_ops.as_diffs() if isinstance(diff, tuple)]
    assert "create_tenant_policies" in told


async def test_what_the_page_loads_is_loaded(
    postgres_database: PostgresDatabase, tmp_path: Path
) -> None:
    """Records and a file."""
    models = tutorial_models()
    await prepare(postgres_database, models)
    names = Page("migrations.md", uuid=uuid, **models).run(3)
    engine = guarded_engine(as_role(postgres_database, "app_runtime"))
    file = tmp_path / "notes.csv"
    file.write_text(f"id,text\n{uuid.uuid4()},from a file\n")

    assert await names["load"](engine, TENANT, ["one", "two"]) == 2
    assert await names["load_file"](engine, TENANT, str(file)) == 1
    await engine.dispose()


async def test_what_the_page_adopts_is_guarded(postgres_database: PostgresDatabase) -> None:
    """And taken back."""
    postgres_database.execute(
        "CREATE TABLE notes (tenant_id uuid NOT NULL, id uuid, PRIMARY KEY (tenant_id, id))"
    )
    names = Page("migrations.md").run(2)
    admin = await asyncpg.connect(postgres_database.dsn())

    assert any("CREATE POLICY" in script for script in await names["adopt"](admin))
    assert await admin.fetchval("SELECT count(*) FROM pg_policies WHERE tablename = 'notes'") == 3
    await names["regret"](admin, names["Adoption"].of({"notes": names["Filling"]("existing")}))
    assert await admin.fetchval("SELECT count(*) FROM pg_policies") == 0
    await admin.close()


def test_the_file_on_the_page_is_understood() -> None:
    """It is copied and edited."""
    (block,) = re.findall(r"```toml\n(.*?)```", Page("migrations.md").text, re.DOTALL)
    settings = tomllib.loads(block)

    adoption = Adoption.from_settings(settings, RLSVariables())

    assert {filling.source for filling in adoption.tables.values()} == {
        "existing",
        "parent",
        "expression",
        "constant",
    }
