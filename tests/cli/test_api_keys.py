"""``asgi-guard api-keys`` against a real database: one key on standard output, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine
from sqlalchemy.pool import NullPool
from typer.testing import CliRunner, Result

from asgi_guard.cli.app import app
from asgi_guard.integrations.sql_api_keys import api_keys_table
from asgi_guard.testing import PostgresDatabase
from tests.support.api_keys_world import FORMAT, PEPPER
from tests.support.tenancy_world import ACME, GLOBEX

pytestmark = pytest.mark.postgres

Run = Callable[..., Result]


@pytest.fixture
def pepper(tmp_path: Path) -> Path:
    path = tmp_path / "pepper"
    path.write_text(PEPPER.reveal() + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def run(postgres_database: PostgresDatabase, pepper: Path) -> Run:
    url = postgres_database.dsn().replace("postgresql://", "postgresql+psycopg://")
    metadata = MetaData()
    api_keys_table(metadata)
    metadata.create_all(create_engine(url, poolclass=NullPool))
    environment = {
        "ASGI_GUARD_API_KEYS_DSN": url.replace("+psycopg", "+asyncpg"),
        "ASGI_GUARD_API_KEYS_PEPPER_FILE": str(pepper),
        "COLUMNS": "200",
    }

    def invoke(*arguments: str, text: str = "", **changes: str) -> Result:
        return CliRunner().invoke(
            app,
            ["api-keys", "--app", "acme", *arguments],
            env={**environment, **changes},
            input=text,
        )

    return invoke


def created(run: Run, name: str = "ci") -> Result:
    return run("create", name, "--tenant", ACME, "--user", "alice", "--scope", "notes:read")


def test_a_key_goes_through_its_life(run: Run) -> None:
    """Create, list, rotate, revoke, as an operator types it."""
    made = created(run, "[bold]ci")
    key_id = made.stderr.rpartition("Key ")[2].split()[0]
    listed = run("list", "--tenant", ACME)
    rotated = run("rotate", key_id, "--tenant", ACME, "--overlap", "60")
    revoked = run("revoke", key_id, "--tenant", ACME)
    again = run("revoke", key_id, "--tenant", ACME)
    after = run("list", "--tenant", ACME)

    assert [r.exit_code for r in (made, listed, rotated, revoked, again, after)] == [0] * 4 + [1, 0]
    assert '"API_KEY_CREATED", "outcome": "allowed"' in made.stderr
    for shown in (made, rotated):
        assert FORMAT.is_well_formed(shown.stdout.removesuffix("\n"))
        assert shown.stdout.strip() not in shown.stderr
    assert "[bold]ci" in listed.stdout  # a name is no markup
    assert "notes:read" in listed.stdout
    assert made.stdout.strip() not in listed.stdout
    assert "revoked" in after.stdout
    assert "active" in after.stdout


def test_another_tenants_key_is_not_there(run: Run) -> None:
    """The tenant is asked for on purpose."""
    key_id = created(run).stderr.rpartition("Key ")[2].split()[0]

    assert run("revoke", key_id, "--tenant", GLOBEX).exit_code == 1
    assert run("rotate", key_id, "--tenant", GLOBEX).exit_code == 2
    assert key_id not in run("list", "--tenant", GLOBEX).stdout


def test_a_pepper_that_others_can_read_is_refused(run: Run, pepper: Path) -> None:
    """A secret of the machine's every user is none."""
    pepper.chmod(0o644)

    refused = created(run)

    assert refused.exit_code == 2
    assert "chmod 600" in refused.stderr
    assert PEPPER.reveal() not in refused.output


@pytest.mark.parametrize(
    "dsn", ["nonsense", "postgresql+asyncpg://u:dsn-secret@127.0.0.1:1/x", "mysql+none://u:p@h/x"]
)
def test_a_database_that_cannot_be_had_is_one_line(run: Run, dsn: str) -> None:
    """No traceback, which would show the password."""
    refused = run("list", "--tenant", ACME, ASGI_GUARD_API_KEYS_DSN=dsn)

    assert refused.exit_code == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "dsn-secret" not in refused.output
    assert "Traceback" not in refused.output


def test_everything_of_a_user_or_a_tenant_is_revoked_at_once(run: Run) -> None:
    """Somebody leaves, or a laptop is stolen: nobody knows which keys were on it."""
    for name in ("one", "two"):
        created(run, name)
    run("create", "bobs", "--tenant", ACME, "--user", "bob")

    assert run("revoke-all", "--tenant", ACME, text="n\n").exit_code == 1
    assert "Revoked 0." in run("revoke-all", "--tenant", GLOBEX, "--yes").stderr
    assert "Revoked 2." in run("revoke-all", "--tenant", ACME, "--user", "alice", "--yes").stderr
    assert "Revoked 1." in run("revoke-all", "--tenant", ACME, "--yes").stderr


def test_leaked_keys_are_revoked_by_the_text_they_were_found_in(run: Run) -> None:
    """Minutes count, and the operator has a log line, not an id."""
    keys = [created(run, name).stdout.strip() for name in ("one", "two")]
    text = f"GET /?key={keys[0]} 200\n{keys[0]} {FORMAT.new_key().reveal()} acme_live_x {keys[1]}"

    first = run("revoke-leaked", text=text)

    assert "Found 3 keys, revoked 2." in first.stderr
    assert "Found 3 keys, revoked 0." in run("revoke-leaked", text=text).stderr
    assert not any(key in first.output for key in keys)
