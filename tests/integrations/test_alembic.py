"""Migrations: what autogenerate writes guards, what it takes back shuts, no drift goes unseen."""

from __future__ import annotations

import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import NullPool, create_engine

from asgi_guard.errors import ConfigError
from asgi_guard.integrations.alembic import migration_options
from asgi_guard.integrations.alembic_drift import read_state
from asgi_guard.rls import RLSVariables
from asgi_guard.rls.drift.compare import changes
from asgi_guard.testing import PostgresDatabase
from tests.support.alembic_project import ASYNC_ENV, SYNC_ENV, Project

pytestmark = pytest.mark.postgres

VARIABLES = RLSVariables(
    owner_role="mig_owner", runtime_role="mig_runtime", system_role="mig_system"
)
ONE, TWO = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
HEAD = """
from dataclasses import replace
from sqlalchemy import *
from asgi_guard.rls import RLSVariables, tenant_policies
variables = RLSVariables(
    owner_role="mig_owner", runtime_role="mig_runtime", system_role="mig_system"
)
metadata = MetaData()
"""
NOTES = """
notes = Table(
    "notes", metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("title", Text, nullable=False),
)
"""
KINDS = """
Table("countries", metadata, Column("code", Text, primary_key=True))
Table("tenants", metadata, Column("tenant_id", Uuid, primary_key=True))
Table("events", metadata, Column("tenant_id", Uuid), Column("what", Text))
"""
PLAIN = HEAD + NOTES + "policies = tenant_policies(metadata, variables=variables)\n"
ALL = (
    HEAD
    + NOTES
    + KINDS
    + """
policies = tenant_policies(metadata, variables=variables, shared=["countries"],
                           system_only=["tenants"])
"""
)


@pytest.fixture
def admin(postgres_database: PostgresDatabase) -> Iterator[psycopg.Connection]:
    """Connect as the administrator, each statement on its own."""
    with psycopg.connect(postgres_database.dsn(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def project(tmp_path: Path, postgres_database: PostgresDatabase) -> Project:
    """A project with the sync template."""
    return Project(tmp_path, url_of(postgres_database, "psycopg"))


def url_of(database: PostgresDatabase, driver: str) -> str:
    return database.dsn().replace("postgresql://", f"postgresql+{driver}://", 1)


def seen(admin: psycopg.Connection, tenant: str, query: str) -> object:
    """Ask as the app would."""
    with admin.transaction():
        admin.execute(f"SET LOCAL SESSION AUTHORIZATION {VARIABLES.runtime_role}")
        admin.execute("SELECT set_config(%s, %s, true)", (VARIABLES.setting, tenant))
        row = admin.execute(query).fetchone()
        return row[0] if row else None


def refused(admin: psycopg.Connection, query: str, tenant: str = ONE) -> bool:
    """Tell whether the app may not even ask."""
    try:
        seen(admin, tenant, query)
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


def fill(admin: psycopg.Connection, table: str = "notes") -> None:
    admin.execute(f"INSERT INTO {table} (tenant_id, title) VALUES ('{ONE}', 'a'), ('{TWO}', 'b')")


@pytest.mark.parametrize("template", ["sync", "async"])
def test_a_revision_guards_checks_clean_goes_back_and_forth(
    tmp_path: Path, postgres_database: PostgresDatabase, admin: psycopg.Connection, template: str
) -> None:
    """The whole way that a team takes, with both of Alembic's templates."""
    env, driver = {"sync": (SYNC_ENV, "psycopg"), "async": (ASYNC_ENV, "asyncpg")}[template]
    project = Project(tmp_path, url_of(postgres_database, driver), env)
    project.models(ALL)

    project.revision("first")
    project.upgrade()
    assert project.differences() == []
    fill(admin)
    assert seen(admin, ONE, "SELECT string_agg(title, '') FROM notes") == "a"
    assert refused(admin, "SELECT * FROM tenants")

    project.downgrade("base")
    assert admin.execute("SELECT to_regclass('notes')").fetchone() == (None,)
    project.upgrade()
    assert project.differences() == []
    fill(admin)
    assert seen(admin, TWO, "SELECT string_agg(title, '') FROM notes") == "b"


def test_a_revision_means_the_same_when_models_and_package_change(
    project: Project, admin: psycopg.Connection
) -> None:
    """It holds SQL, and no reference to what is imported today."""
    project.models(PLAIN)
    text = project.revision("first")
    project.models(HEAD + "policies = tenant_policies(metadata, variables=variables)\n")

    project.upgrade()

    fill(admin)
    assert seen(admin, ONE, "SELECT count(*) FROM notes") == 1
    assert "asgi_guard.rls" not in text
    assert "CREATE POLICY" in text


def test_a_new_table_is_guarded_by_the_next_revision(
    project: Project, admin: psycopg.Connection
) -> None:
    """It is made and guarded in one transaction; going back shuts it before it is dropped."""
    project.models(PLAIN)
    project.revision("first")
    project.upgrade()
    project.models(ALL)

    text = project.revision("second")
    project.upgrade()

    assert project.differences() == []
    assert "'public.notes'" not in text
    assert seen(admin, ONE, "SELECT count(*) FROM countries") == 0
    assert refused(admin, "INSERT INTO countries VALUES ('xx') RETURNING 1")


def test_a_dropped_table_is_guarded_again_when_it_comes_back(
    project: Project, admin: psycopg.Connection
) -> None:
    """A downgrade makes the table again: whoever fills it must find it guarded."""
    project.models(ALL)
    project.revision("first")
    project.upgrade()
    project.models(HEAD + KINDS + ALL.partition(KINDS)[2])
    project.revision("second")
    project.upgrade()
    assert project.differences() == []

    project.downgrade("first")

    fill(admin)
    assert seen(admin, ONE, "SELECT count(*) FROM notes") == 1


def test_a_table_that_was_altered_by_hand_and_dropped_comes_back_guarded(
    project: Project, admin: psycopg.Connection
) -> None:
    """Nobody looks at the policies of a table that is about to go."""
    project.models(ALL)
    project.revision("first")
    project.upgrade()
    admin.execute(
        "ALTER TABLE notes DISABLE ROW LEVEL SECURITY; DROP POLICY system_access ON notes"
    )
    admin.execute("GRANT ALL ON notes TO PUBLIC")
    project.models(HEAD + "policies = tenant_policies(metadata, variables=variables)\n")
    project.revision("second")
    project.upgrade()

    project.downgrade("first")

    fill(admin)
    assert seen(admin, ONE, "SELECT count(*) FROM notes") == 1
    assert refused(admin, "TRUNCATE notes")
    assert refused(admin, "SELECT count(*) FROM tenants")
    assert refused(admin, "INSERT INTO countries VALUES ('xx')")
    assert seen(admin, ONE, "SELECT count(*) FROM countries") == 0


def test_a_renamed_column_leaves_the_policies_as_they_are(
    project: Project, admin: psycopg.Connection
) -> None:
    """PostgreSQL keeps policies by column, not by name: nothing is to be done."""
    project.models(PLAIN)
    project.revision("first")
    project.upgrade()
    admin.execute("ALTER TABLE notes RENAME COLUMN title TO headline")
    project.models(PLAIN.replace('"title"', '"headline"'))

    assert project.differences() == []


def test_a_renamed_tenant_column_is_the_same_policy(
    project: Project, admin: psycopg.Connection
) -> None:
    """The comparison reads what the policy says now."""
    project.models(PLAIN)
    project.revision("first")
    project.upgrade()
    admin.execute("ALTER TABLE notes RENAME COLUMN tenant_id TO org_id")
    renamed = PLAIN.replace('"tenant_id"', '"org_id"').replace(
        "variables = RLSVariables(", 'variables = RLSVariables(column="org_id", '
    )
    project.models(renamed)

    assert project.differences() == []


FLAWS = {
    "policy loosened": "ALTER POLICY tenant_isolation_strict ON notes USING (true)",
    "check loosened": "ALTER POLICY tenant_isolation ON notes WITH CHECK (true)",
    "policy dropped": "DROP POLICY tenant_isolation_strict ON notes",
    "policy added": "CREATE POLICY all_of_it ON notes TO PUBLIC USING (true)",
    "policy for another": "ALTER POLICY tenant_isolation ON notes TO mig_runtime, mig_system",
    "row security off": "ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
    "force off": "ALTER TABLE notes NO FORCE ROW LEVEL SECURITY",
    "owner": "ALTER TABLE notes OWNER TO CURRENT_USER",
    "truncate": "GRANT TRUNCATE ON notes TO mig_runtime",
    "public": "GRANT SELECT ON notes TO PUBLIC",
    "column": "GRANT UPDATE (title) ON notes TO PUBLIC",
    "default": "ALTER TABLE notes ALTER tenant_id DROP DEFAULT",
    "nullable": "ALTER TABLE events ALTER tenant_id DROP NOT NULL",
    "index": "DROP INDEX ix_events_tenant",
    "sequence": "GRANT ALL ON SEQUENCE notes_id_seq TO mig_runtime",
    "schema": "GRANT CREATE ON SCHEMA public TO PUBLIC",
    "helper": "CREATE OR REPLACE FUNCTION asgi_guard.current_tenant() RETURNS uuid "
    f"LANGUAGE sql STABLE PARALLEL SAFE RETURN '{ONE}'::uuid",
    "helper execute": "GRANT EXECUTE ON FUNCTION asgi_guard.current_tenant() TO PUBLIC",
    "role": "ALTER ROLE mig_runtime BYPASSRLS",
    "shared written": "GRANT INSERT ON countries TO mig_runtime",
    "system only": "CREATE POLICY peek ON tenants TO mig_runtime USING (true)",
    "system grant": "GRANT SELECT ON tenants TO mig_runtime",
}


def test_whatever_is_altered_by_hand_is_seen_and_mended(
    project: Project, postgres_database: PostgresDatabase, admin: psycopg.Connection
) -> None:
    """Each flaw alone is drift; one revision mends them all, and going back leaves it mended."""
    project.models(ALL)
    project.revision("first")
    project.upgrade()
    policies = runpy.run_path(str(project.folder / "models.py"))["policies"]
    engine = create_engine(url_of(postgres_database, "psycopg"), poolclass=NullPool)
    found = {}
    with engine.connect() as connection:
        for name, flaw in FLAWS.items():
            connection.exec_driver_sql(flaw)
            found[name] = changes(read_state(connection, policies), policies)
            connection.rollback()
        assert changes(read_state(connection, policies), policies) == []
    assert [name for name, seen in found.items() if len(seen) != 1] == []
    for flaw in FLAWS.values():
        admin.execute(flaw)

    text = project.revision("mend")
    project.upgrade()

    assert project.differences() == []
    assert "nothing sound to go back to" in text
    project.downgrade("first")
    with engine.connect() as connection:
        assert changes(read_state(connection, policies), policies) == []


def test_a_partition_added_by_hand_is_guarded_and_never_dropped(
    project: Project, admin: psycopg.Connection
) -> None:
    """Alembic would drop a table that the metadata does not know: with a year's rows in it."""
    project.models(
        HEAD
        + """
Table("events", metadata,
    Column("tenant_id", Uuid, primary_key=True), Column("at", Date, primary_key=True),
    postgresql_partition_by="RANGE (at)")
policies = tenant_policies(metadata, variables=variables)
"""
    )
    project.revision("first")
    project.upgrade()
    assert project.differences() == []
    admin.execute(
        "CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') "
        "TO ('2025-01-01'); CREATE INDEX ON events_2024 (at)"
    )
    admin.execute("GRANT SELECT ON events_2024 TO mig_runtime")
    admin.execute(f"INSERT INTO events VALUES ('{ONE}', '2024-02-02'), ('{TWO}', '2024-02-02')")
    assert seen(admin, ONE, "SELECT count(*) FROM events_2024") == 2  # why it must be seen

    text = project.revision("second")
    project.upgrade()

    assert "drop_table" not in text
    assert project.differences() == []
    assert refused(admin, "SELECT count(*) FROM events_2024")
    assert seen(admin, ONE, "SELECT count(*) FROM events") == 1
    project.downgrade("base")


def test_another_schema_and_a_view(project: Project, admin: psycopg.Connection) -> None:
    """With include_schemas Alembic sees the helper schema too, and must leave it alone."""
    admin.execute("CREATE SCHEMA shop")
    text = (
        PLAIN.replace("MetaData()", 'MetaData(schema="shop")').replace(
            "variables=variables)", 'variables=variables, schema="shop", views=["titles"])'
        )
        + "include_schemas = True\n"
    )
    project.models(text)
    project.revision("first")
    project.upgrade()
    admin.execute("CREATE VIEW shop.titles AS SELECT title FROM shop.notes")
    assert len(project.differences()) == 1

    project.revision("second")
    project.upgrade()

    assert project.differences() == []
    fill(admin, "shop.notes")
    assert seen(admin, TWO, "SELECT string_agg(title, '') FROM shop.titles") == "b"
    project.downgrade("first")
    assert refused(admin, "SELECT * FROM shop.titles")


def test_sealing_is_a_revision_and_the_keys_survive_it(
    project: Project, admin: psycopg.Connection
) -> None:
    """Dropping the table of keys would end every session of the app."""
    project.models(PLAIN)
    project.revision("first")
    project.upgrade()
    project.models(
        PLAIN.replace("policies =", "variables = replace(variables, sealed=True)\npolicies =")
        + "include_schemas = True\n"
    )

    text = project.revision("sealed")
    project.upgrade()

    assert "seal_keys" in text
    assert project.differences() == []
    admin.execute("SELECT count(*) FROM asgi_guard.seal_keys")
    fill(admin)
    with pytest.raises(psycopg.errors.InvalidAuthorizationSpecification):
        seen(admin, ONE, "SELECT count(*) FROM notes")
    project.downgrade("first")
    assert seen(admin, ONE, "SELECT count(*) FROM notes") == 1


def test_a_change_of_kind_goes_both_ways(project: Project, admin: psycopg.Connection) -> None:
    """What was soundly the system's alone is that again, and reference data is read again."""
    project.models(ALL)
    project.revision("first")
    project.upgrade()
    admin.execute(f"INSERT INTO tenants VALUES ('{ONE}'), ('{TWO}')")
    project.models(ALL.replace('system_only=["tenants"]', "system_only=[]"))
    project.revision("guarded")
    project.upgrade()
    assert seen(admin, ONE, "SELECT count(*) FROM tenants") == 1
    project.models(
        ALL.replace('shared=["countries"]', 'shared=["countries", "tenants"]').replace(
            'system_only=["tenants"]', ""
        )
    )
    project.revision("shared")
    project.upgrade()
    assert project.differences() == []
    assert seen(admin, ONE, "SELECT count(*) FROM tenants") == 2  # as declared

    project.downgrade("guarded")
    assert seen(admin, ONE, "SELECT count(*) FROM tenants") == 1
    project.downgrade("first")
    assert refused(admin, "SELECT count(*) FROM tenants")


def test_going_back_never_leaves_a_table_open(project: Project, admin: psycopg.Connection) -> None:
    """The table was there before us, granted to everybody: back is shut, not as it was."""
    admin.execute(
        "CREATE TABLE notes (tenant_id uuid, id bigint GENERATED BY DEFAULT AS IDENTITY, "
        "title text NOT NULL, PRIMARY KEY (tenant_id, id))"
    )
    fill(admin)
    project.models(PLAIN)
    text = project.revision("first")
    assert "create_table" not in text
    project.upgrade()
    assert project.differences() == []

    project.downgrade("base")

    assert refused(admin, "SELECT count(*) FROM notes")
    admin.execute("GRANT SELECT ON notes TO mig_runtime")  # somebody is in a hurry
    assert seen(admin, ONE, "SELECT count(*) FROM notes") == 0
    project.upgrade()
    assert project.differences() == []


def test_a_revision_run_out_of_order_stops_before_it_opens_anything(
    project: Project, admin: psycopg.Connection
) -> None:
    """The functions were taken away meanwhile: everything is rolled back, nothing is half done."""
    project.models(PLAIN)
    project.revision("first")
    project.upgrade()
    project.models(ALL)
    project.revision("second")
    admin.execute("DROP FUNCTION asgi_guard.current_tenant() CASCADE")
    fill(admin)

    with pytest.raises(Exception, match="current_tenant"):
        project.upgrade()

    assert admin.execute("SELECT to_regclass('events')").fetchone() == (None,)
    assert seen(admin, ONE, "SELECT count(*) FROM notes") == 0


def test_the_script_for_a_database_administrator_holds_everything(project: Project) -> None:
    """``upgrade --sql``: not everybody may connect to production."""
    project.models(PLAIN)
    project.revision("first")

    script = project.script()

    assert "CREATE POLICY tenant_isolation_strict ON public.notes" in script
    assert "'GRANT CONNECT ON DATABASE %I TO" in script
    assert script.count("CREATE POLICY") == 3


def test_without_policies_nothing_is_compared(project: Project) -> None:
    """The other databases of a multi-database project are none of ours."""
    project.models(PLAIN)
    project.env = SYNC_ENV.replace('**migration_options(names["policies"]),', "")
    (project.folder / "env.py").write_text(project.env)

    assert "tenant_policies" not in project.revision("first")


@pytest.mark.parametrize("given", [None, "policies", VARIABLES], ids=["none", "text", "variables"])
def test_what_are_no_policies_is_refused(given: object) -> None:
    """A project that compares nothing must not look as if it did."""
    with pytest.raises(ConfigError, match="migration_options"):
        migration_options(given)  # type: ignore[arg-type] # on purpose


def test_without_alembic_the_extra_is_named() -> None:
    """``No module named 'alembic'`` does not say that there is an extra for it."""
    program = "import sys; sys.modules['alembic'] = None; import asgi_guard.integrations.alembic"

    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert told.returncode == 1
    assert 'pip install "asgi-guard[alembic]"' in told.stderr
