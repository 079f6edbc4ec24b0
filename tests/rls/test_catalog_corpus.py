"""Each flaw alone is found by its own code, and the SQL that is printed mends it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from asgi_guard.rls import RLSVariables
from asgi_guard.rls.catalog.codes import CODES
from asgi_guard.rls.policies import TenantPolicies
from asgi_guard.tenancy.tenant_id import INTEGER, SLUG, UUID
from asgi_guard.testing import EmbeddedPostgres, PostgresDatabase, PostgresServer
from tests.support.catalog_flaws import FLAWS
from tests.support.catalog_world import World, audited, prepare
from tests.support.ddl_deployment import fresh_variables, renamed_variables

# One connection for all of a server's flaws: each is rolled back.
pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

SCHEMAS: dict[str, Callable[[], RLSVariables]] = {
    "uuid": lambda: fresh_variables(UUID),
    "integer": lambda: renamed_variables(INTEGER),
    "text": lambda: fresh_variables(SLUG),
}
Made = tuple[PostgresDatabase, RLSVariables, TenantPolicies]


@pytest.fixture(scope="session")
def postgres_15(postgres_15_bin: Path) -> Iterator[PostgresServer]:
    with ExitStack() as stack:
        embedded = EmbeddedPostgres(durable=False, bin_dir=postgres_15_bin)
        yield stack.enter_context(embedded).server


def made_on(server: PostgresServer, shape: str) -> Iterator[Made]:
    variables = SCHEMAS[shape]()
    database = server.create_database(f"corpus_{variables.owner_role}")
    try:
        yield database, variables, prepare(database, variables)
    finally:
        server.drop_database(database.name)
        roles = (variables.owner_role, variables.runtime_role, variables.system_role)
        server.execute(*(f"DROP ROLE {role}" for role in roles))


@pytest.fixture(scope="module", params=["uuid on the newest", "integer on 15"])
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    shape, _, place = request.param.partition(" on ")
    name = "postgres_15" if place == "15" else "postgres_server"
    yield from made_on(request.getfixturevalue(name), shape)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def opened(made: Made) -> AsyncIterator[World]:
    async with audited(*made) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module")
async def world(opened: World) -> AsyncIterator[World]:
    savepoint = opened.connection.transaction()
    await savepoint.start()
    yield opened
    await savepoint.rollback()


@pytest.mark.parametrize("name", FLAWS)
async def test_a_flaw_is_found_by_its_code_and_mended_by_its_remedy(
    world: World, name: str
) -> None:
    """An operator who runs the printed SQL has a deployment that starts, and an app that works."""
    breaking, code = FLAWS[name]
    await world.run(breaking.format(**world.words))

    found = await world.findings()
    for finding in found:
        await world.run(finding.remedy_sql)
    after = await world.findings()

    assert code in {finding.code for finding in found}, found
    assert after == []
    await world.app_works()
