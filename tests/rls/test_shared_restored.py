"""The oldest server that is supported, and what is left after a dump and a restore there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from asgi_guard.rls import TenantLargeObjects, audit_catalog
from asgi_guard.testing import EmbeddedPostgres, PostgresDatabase
from tests.support.rls_schema import ALICE, BOB
from tests.support.shared_objects import SharedWorld, filled

pytestmark = pytest.mark.postgres

DATA = b"still one tenant's"


def run(program: Path, database: PostgresDatabase, *arguments: str) -> None:
    where = ["-h", database.host, "-p", str(database.port), "-U", database.superuser]
    done = subprocess.run(
        [str(program), *where, "-d", database.name, *arguments],
        env={**os.environ, "PGPASSWORD": database.admin_password},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


async def works(world: SharedWorld) -> None:
    """Everything of one tenant, nothing of the other, and no finding that is not accepted."""
    async with world.works_for(ALICE) as handle:
        objects = TenantLargeObjects(handle)
        number = await objects.write(DATA)
        assert [chunk async for chunk in objects.read(number)] == [DATA]
    async with world.works_for(BOB) as handle:
        with pytest.raises(LookupError):
            await TenantLargeObjects(handle).size(number)
    async with world.works_for(ALICE) as handle:
        await TenantLargeObjects(handle).unlink(number)
    async with world.engine() as engine:
        findings = await audit_catalog(engine, tables=world.policies, behaviour=True)
    assert {(one.code, one.object) for one in findings} == set(world.large_objects.accepted)


async def test_it_works_on_the_oldest_server_and_after_a_restore(
    postgres_15_bin: Path, tmp_path: Path
) -> None:
    """A restore must bring back which object is whose."""
    with EmbeddedPostgres(durable=False, bin_dir=postgres_15_bin) as embedded:
        world = filled(embedded.server.create_database("original"))
        await works(world)
        async with world.works_for(BOB) as handle:
            number = await TenantLargeObjects(handle).write(DATA)
            assert await world.numbers.next_number(handle, "invoice") == 1

        script = tmp_path / "dump.sql"
        run(postgres_15_bin / "pg_dump", world.rls.database, "-f", str(script))
        restored = embedded.server.create_database("restored")
        quietly = ("-q", "-v", "ON_ERROR_STOP=1", "-f", str(script))
        run(postgres_15_bin / "psql", restored, *quietly)

        again = world.on(restored)
        await works(again)
        async with again.works_for(BOB) as handle:
            assert await TenantLargeObjects(handle).size(number) == len(DATA)
            assert await again.numbers.next_number(handle, "invoice") == 2
