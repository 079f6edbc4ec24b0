"""``asgi-guard rls`` against a real database: what is printed, and the exit code of a pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from asgi_guard.cli.app import app
from asgi_guard.rls import RLSVariables
from asgi_guard.testing import PostgresDatabase
from tests.support.catalog_world import prepare
from tests.support.ddl_deployment import fresh_variables

pytestmark = pytest.mark.postgres

VARIABLES = RLSVariables()


@pytest.fixture
def database(postgres_database: PostgresDatabase) -> Iterator[PostgresDatabase]:
    """A sound deployment under names of its own, told to the command by an importable object."""
    global POLICIES  # noqa: PLW0603 - the command imports it by name
    variables = fresh_variables()
    POLICIES = prepare(postgres_database, variables)
    postgres_database.execute(f"ALTER ROLE {variables.runtime_role} PASSWORD 'correct-horse'")
    yield postgres_database
    roles = (variables.owner_role, variables.runtime_role, variables.system_role)
    postgres_database.execute(*(f"DROP OWNED BY {role} CASCADE" for role in roles))
    postgres_database.execute(*(f"DROP ROLE {role}" for role in roles))


POLICIES = None


def run(database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    class Module:
        policies = POLICIES

    monkeypatch.setitem(__import__("sys").modules, "the_app_of_the_test", Module)  # type: ignore[arg-type]
    role = POLICIES.inventory.variables.runtime_role  # type: ignore[attr-defined]
    environment = {"ASGI_GUARD_RLS_DSN": database.dsn(role, "correct-horse"), "COLUMNS": "200"}
    return CliRunner().invoke(app, ["rls", *arguments], env=environment)


AUDIT = ("audit", "--policies", "the_app_of_the_test:policies")


def test_a_sound_database_passes(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline goes on."""
    result = run(database, monkeypatch, *AUDIT)

    assert result.exit_code == 0, result.output
    assert "no finding" in result.output


def test_an_error_finding_stops_a_pipeline_and_its_sql_mends_it(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the command, printed as SQL, run, gone."""
    database.execute("ALTER TABLE notes NO FORCE ROW LEVEL SECURITY")

    table = run(database, monkeypatch, *AUDIT)
    listed = run(database, monkeypatch, *AUDIT, "--format", "json")
    script = run(database, monkeypatch, *AUDIT, "--format", "sql")
    database.execute(script.output)
    after = run(database, monkeypatch, *AUDIT)

    assert (table.exit_code, listed.exit_code, after.exit_code) == (1, 1, 0)
    assert "rls_not_forced" in table.output
    assert [finding["code"] for finding in json.loads(listed.output)] == ["rls_not_forced"]
    assert "correct-horse" not in table.output + listed.output + script.output


def test_a_warning_stops_nothing(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told, and left to the reader."""
    database.execute("CREATE PUBLICATION everything FOR TABLE notes")

    result = run(database, monkeypatch, *AUDIT, "--read-only")

    assert result.exit_code == 0
    assert "publication" in result.output


@pytest.mark.parametrize("named", ["nothing", "no_such_module:x", "json:nothing"])
def test_what_cannot_be_looked_at_is_another_exit_code(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """A typing error must not pass for a sound database, nor for a broken one."""
    result = run(database, monkeypatch, "audit", "--policies", named)

    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_wrong_password_is_not_repeated(database: PostgresDatabase) -> None:
    """Pipelines keep their output."""
    role = POLICIES.inventory.variables.runtime_role  # type: ignore[attr-defined]
    environment = {"ASGI_GUARD_RLS_DSN": database.dsn(role, "battery-staple")}

    result = CliRunner().invoke(app, ["rls", "audit"], env=environment)

    assert result.exit_code == 2
    assert "battery-staple" not in result.output


def test_the_lint_reads_a_file(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Statements that a team collected elsewhere."""
    path = tmp_path / "statements.sql"
    path.write_text(
        "SELECT * FROM notes WHERE title LIKE $1;\nSELECT * FROM notes WHERE id = $1;\n"
    )

    result = run(database, monkeypatch, "lint", str(path), "--format", "json")
    table = run(database, monkeypatch, "lint", str(path))

    assert (result.exit_code, table.exit_code) == (1, 1)
    assert [finding["operator"] for finding in json.loads(result.output)] == ["text ~~ text"]
    assert "starts_with" in table.output


def test_without_kept_statements_the_lint_says_so(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty answer would read as a clean one."""
    result = run(database, monkeypatch, "lint")

    assert result.exit_code == 2
    assert "pg_stat_statements" in result.output
