"""``asgi-guard rls adopt``: the plan is printed, a check that fails stops it, and nothing leaks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from asgi_guard.cli.app import app
from asgi_guard.testing import PostgresDatabase

pytestmark = pytest.mark.postgres

ONE = "11111111-1111-4111-8111-111111111111"
FILE = f"""
[variables]
owner_role = "adoptcli_owner"
runtime_role = "adoptcli_runtime"
system_role = "adoptcli_system"

[tables.notes]
constant = "{ONE}"

[tables.comments]
parent = "notes"
"""
TABLES = """
CREATE TABLE notes (id int PRIMARY KEY);
CREATE TABLE comments (id int PRIMARY KEY, note_id int REFERENCES notes);
INSERT INTO notes SELECT generate_series(1, 100);
INSERT INTO comments SELECT n, n FROM generate_series(1, 100) n;
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "adopt.toml"
    made.write_text(FILE)
    return made


def adopt(database: PostgresDatabase, *arguments: str) -> Result:
    """Run one command as an administrator."""
    environment = {"ASGI_GUARD_ADMIN_DSN": database.dsn(), "COLUMNS": "200"}
    return CliRunner().invoke(app, ["rls", "adopt", *arguments], env=environment)


def test_planned_run_reported_and_taken_back(
    postgres_database: PostgresDatabase, file: Path
) -> None:
    """The path that an operator takes."""
    postgres_database.execute(TABLES)

    planned = adopt(postgres_database, "plan", str(file))
    assert planned.exit_code == 0, planned.output
    assert "ADD COLUMN IF NOT EXISTS tenant_id uuid" in planned.output
    assert "CREATE UNIQUE INDEX CONCURRENTLY" in planned.output

    assert adopt(postgres_database, "run", str(file), "--until", "monitor").exit_code == 0
    status = adopt(postgres_database, "status", str(file))
    assert "done" in status.output
    assert "planned" in status.output
    assert (
        adopt(postgres_database, "report", str(file)).output.strip() == "Nothing would be hidden."
    )
    assert adopt(postgres_database, "run", str(file), "--until", "enforce").exit_code == 0
    assert adopt(postgres_database, "back", str(file), "--to", "start").exit_code == 0
    assert "tenant_id" in adopt(postgres_database, "plan", str(file)).output


def test_a_finding_stops_enforcing_until_it_is_cleared(
    postgres_database: PostgresDatabase, file: Path
) -> None:
    """Exit code 1, for a pipeline."""
    postgres_database.execute(TABLES)
    adopt(postgres_database, "run", str(file), "--until", "monitor")
    postgres_database.execute(
        "INSERT INTO asgi_guard.monitor_findings (relation, kind, login, statement) "
        "VALUES ('public.notes', 'unbound', 'web', 'SELECT [bold] FROM notes')"
    )

    stopped = adopt(postgres_database, "run", str(file), "--until", "enforce")
    shown = adopt(postgres_database, "report", str(file))
    cleared = adopt(postgres_database, "report", str(file), "--clear")

    assert stopped.exit_code == shown.exit_code == 1
    assert "policies would hide" in stopped.output
    assert "SELECT [bold] FROM notes" in shown.output
    assert cleared.exit_code == 0
    assert adopt(postgres_database, "run", str(file), "--until", "enforce").exit_code == 0


@pytest.mark.parametrize(
    "text",
    ["not = [toml", "", "[tables.notes]\nnothing = 1", "[variables]\nunknown = 'x'",
     "[variables]\nshape = 'round'", "[tables.missing]\nconstant = '" + ONE + "'"],
    ids=["toml", "empty", "source", "variable", "shape", "table"],
)  # fmt: skip
def test_a_bad_file_is_one_line_and_exit_code_2(
    postgres_database: PostgresDatabase, file: Path, text: str
) -> None:
    """No traceback, and nothing was begun."""
    file.write_text(text)

    told = adopt(postgres_database, "run", str(file), "--until", "column")

    assert told.exit_code == 2
    assert "Traceback" not in told.output


def test_the_password_is_in_no_message(postgres_database: PostgresDatabase, file: Path) -> None:
    """An administrator's, of all."""
    environment = {"ASGI_GUARD_ADMIN_DSN": "postgresql://admin:hunter2@127.0.0.1:1/x"}

    told = CliRunner().invoke(app, ["rls", "adopt", "plan", str(file)], env=environment)

    assert told.exit_code == 2
    assert "hunter2" not in told.output


def test_a_run_that_is_killed_goes_on(postgres_database: PostgresDatabase, file: Path) -> None:
    """SIGKILL, while a batch waits for a row that somebody holds."""
    postgres_database.execute(TABLES)
    assert adopt(postgres_database, "run", str(file), "--until", "column").exit_code == 0
    with psycopg.connect(postgres_database.dsn()) as holder:
        holder.execute("SELECT FROM comments WHERE id = 50 FOR UPDATE")
        running = subprocess.Popen(
            [
                *(sys.executable, "-m", "asgi_guard.cli", "rls", "adopt", "run", str(file)),
                *("--until", "filled", "--blocks", "1"),
            ],
            env={**os.environ, "ASGI_GUARD_ADMIN_DSN": postgres_database.dsn()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            with psycopg.connect(postgres_database.dsn(), autocommit=True) as observer:
                waiting = "SELECT FROM pg_locks WHERE NOT granted"
                while observer.execute(waiting).fetchone() is None:
                    assert running.poll() is None
        finally:
            running.send_signal(signal.SIGKILL)
            running.wait()

    again = adopt(postgres_database, "run", str(file), "--until", "enforce")

    assert again.exit_code == 0, again.output
    with psycopg.connect(postgres_database.dsn()) as reader:
        found = reader.execute("SELECT count(*), count(tenant_id) FROM comments").fetchone()
    assert found == (100, 100)
