"""The plugin in a run of its own, as a user's suite sees it, and our rule for missing servers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asgi_guard.testing import PostgresServer

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[2]
NOWHERE = "postgresql://nobody:wrong@127.0.0.1:1/postgres"


def run_pytest(folder: Path, *arguments: str, **environment: str) -> str:
    """Run pytest apart from this run; give what it printed."""
    kept = {k: v for k, v in os.environ.items() if k not in {"CI", "ASGI_GUARD_TEST_DSN"}}
    kept |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-ra", *arguments],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    ).stdout


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Write a user's suite with a template of its own."""
    (tmp_path / "conftest.py").write_text(
        """
import pytest

pytest_plugins = ["asgi_guard.testing.plugin"]

def schema(database):
    database.execute("CREATE TABLE notes (id int)")

@pytest.fixture(scope="session")
def postgres_template(postgres_template_factory):
    return postgres_template_factory(schema)
"""
    )
    (tmp_path / "test_notes.py").write_text(
        """
def test_notes(postgres_database):
    postgres_database.execute("INSERT INTO notes VALUES (1)")
    print("port", postgres_database.port)
"""
    )
    return tmp_path


def test_a_users_suite_gets_a_server_by_one_line(suite: Path) -> None:
    """Enabling the plugin is all that a user writes."""
    assert "1 passed" in run_pytest(suite)


def test_a_named_server_is_used_instead_and_left_clean(
    suite: Path, postgres_server: PostgresServer
) -> None:
    """Teams have servers of their own; a run must not litter them."""
    told = run_pytest(suite, "-s", "--asgi-guard-dsn", postgres_server.dsn())

    assert f"port {postgres_server.port}" in told
    assert "1 passed" in told


@pytest.mark.parametrize(("ci", "outcome"), [("", "skipped"), ("true", "error")])
def test_a_missing_server_skips_with_its_reason_and_fails_in_ci(ci: str, outcome: str) -> None:
    """A proof that was skipped proves nothing, and in CI nobody reads the skips."""
    told = run_pytest(
        ROOT, "tests/testing/test_fixtures.py", "-k", "of_its_own",
        ASGI_GUARD_TEST_DSN=NOWHERE, CI=ci,
    )  # fmt: skip

    assert f"2 {outcome}" in told
    assert "PostgreSQL cannot be had: unavailable: postgres_unreachable" in told


def test_the_suite_runs_against_a_server_named_in_the_environment(
    postgres_server: PostgresServer,
) -> None:
    """The same proofs are run on a real deployment's version of PostgreSQL."""
    told = run_pytest(
        ROOT, "tests/testing/test_fixtures.py", "-k", "of_its_own",
        ASGI_GUARD_TEST_DSN=postgres_server.dsn(), CI="true",
    )  # fmt: skip

    assert "2 passed" in told
