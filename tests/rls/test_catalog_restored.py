"""The generated DDL survives pg_dump and restore: same audit, same behaviour."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from asgi_guard.rls import RLSVariables
from asgi_guard.tenancy.tenant_id import INTEGER, UUID
from asgi_guard.testing import EmbeddedPostgres, PostgresDatabase, PostgresServer
from asgi_guard.testing.binaries import wheel_bin_dir
from tests.support.catalog_world import audited, prepare
from tests.support.ddl_deployment import fresh_variables, renamed_variables

pytestmark = pytest.mark.postgres


@pytest.fixture(params=["18", "15"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[PostgresServer, Path, RLSVariables]]:
    """A server, the programs of its own version, and names."""
    if request.param == "15":
        programs = request.getfixturevalue("postgres_15_bin")
        with EmbeddedPostgres(durable=False, bin_dir=programs) as embedded:
            yield embedded.server, programs, renamed_variables(INTEGER)
        return
    with EmbeddedPostgres(durable=False) as embedded:
        yield embedded.server, wheel_bin_dir(), fresh_variables(UUID)


def run(program: Path, database: PostgresDatabase, *arguments: str) -> None:
    environment = {**os.environ, "PGPASSWORD": database.admin_password}
    where = ["-h", database.host, "-p", str(database.port), "-U", database.superuser]
    command = [str(program), *where, *arguments]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


async def test_a_restored_database_is_guarded_as_before(
    place: tuple[PostgresServer, Path, RLSVariables], tmp_path: Path
) -> None:
    """A restore after a bad night must not be the night's second disaster."""
    server, programs, variables = place
    original = server.create_database("original")
    policies = prepare(original, variables)
    script = tmp_path / "dump.sql"
    run(programs / "pg_dump", original, "-d", "original", "-f", str(script))

    restored = server.create_database("restored")
    quietly = ("-q", "-v", "ON_ERROR_STOP=1", "-d", "restored", "-f", str(script))
    run(programs / "psql", restored, *quietly)

    async with audited(restored, variables, policies) as world:
        assert await world.findings() == []
        await world.app_works()
        # The control: the same dump without its FORCE would be found.
        await world.run("ALTER TABLE notes NO FORCE ROW LEVEL SECURITY")
        assert [finding.code for finding in await world.findings()] == ["rls_not_forced"]


async def test_the_script_run_again_on_a_restored_database_changes_nothing(
    place: tuple[PostgresServer, Path, RLSVariables], tmp_path: Path
) -> None:
    """What was dumped is what is generated: policy by policy, to the letter."""
    server, programs, variables = place
    original = server.create_database("original")
    policies = prepare(original, variables)
    first, second = tmp_path / "first.sql", tmp_path / "second.sql"
    schema = ("--schema-only", "-d")
    run(programs / "pg_dump", original, *schema, "original", "-f", str(first))
    restored = server.create_database("restored")
    run(programs / "psql", restored, "-q", "-d", "restored", "-f", str(first))
    restored.execute(str(policies))
    run(programs / "pg_dump", restored, *schema, "restored", "-f", str(second))

    def meaning(path: Path) -> list[str]:
        # Since 15.14 a dump holds a random key against injected psql commands.
        lines = path.read_text().splitlines()
        return sorted(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))

    assert meaning(first) == meaning(second)
