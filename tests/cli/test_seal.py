"""``asgi-guard rls seal``: what it prints seals a real database, and it overwrites no key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from asgi_guard.cli.app import app
from asgi_guard.rls import SealKeys, create_guarded_pool
from asgi_guard.tenancy import use_context
from tests.support.rls_schema import ALICE, RLSDatabase, context_of
from tests.support.rls_sealed import SEALED, seal_database


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["rls", "seal", *arguments])


@pytest.mark.postgres
async def test_a_new_key_is_made_known_and_signs(rls_database: RLSDatabase, tmp_path: Path) -> None:
    """The three commands of the page, in order."""
    seal_database(rls_database)
    path = tmp_path / "seal.keys"
    made = run("new", str(path)).output.strip()
    assert run("list", str(path)).output.split() == [made]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    rls_database.database.execute(run("sql", str(path)).output)
    async with create_guarded_pool(
        rls_database.dsn, variables=SEALED, seal_keys=SealKeys.from_file(path), min_size=0
    ) as pool:
        with use_context(context_of(ALICE)):
            assert await pool.fetchval("SELECT count(*) FROM notes") == 3
            rls_database.database.execute(run("retire", made).output)
            with pytest.raises(Exception, match="no valid key"):
                await pool.fetchval("SELECT count(*) FROM notes")


def test_no_key_is_overwritten_and_no_error_shows_one(tmp_path: Path) -> None:
    """A key that is lost takes every tenant's access with it until all is rotated."""
    path = tmp_path / "seal.keys"
    run("new", str(path))
    before = path.read_bytes()

    again, missing = run("new", str(path)), run("sql", str(tmp_path / "none"))
    path.chmod(0o644)
    wide = run("sql", str(path))

    assert [again.exit_code, missing.exit_code, wide.exit_code] == [2, 2, 2]
    assert path.read_bytes() == before
    assert "seal1_" not in again.output + missing.output + wide.output
    assert all(len(shown.output.splitlines()) == 1 for shown in (again, missing, wide))


def test_an_id_with_a_quote_in_it_stays_text() -> None:
    """What is printed is run by an administrator."""
    assert "'x'' OR true --'" in run("retire", "x' OR true --").output
