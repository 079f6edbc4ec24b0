"""Each flaw alone is found by its own code, and the SQL that is printed mends it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from asgi_guard.rls import RLSVariables
from asgi_guard.rls.catalog import audit_catalog
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


async def test_each_code_of_the_catalog_has_a_flaw_in_the_corpus() -> None:
    """A code without a flaw is a check that nobody has ever seen at work."""
    elsewhere = {
        "role_missing", "role_unexpected", "role_session_differs", "table_missing",
        "tenant_column_missing", "tenant_column_collation", "probe_rows_visible",
        "probe_insert_crosses", "probe_not_enforced", "probe_timeout",
        "seal_refused", "seal_not_enforced",  # test_sealed_audit.py
    }  # fmt: skip

    assert {code for _, code in FLAWS.values()} == set(CODES) - elsewhere


async def test_every_flaw_of_the_catalog_together_still_gives_a_list(world: World) -> None:
    """A check that stumbles over what another one names tells the operator nothing at all."""
    for name in (
        "table: nullable",
        "key: unique without the tenant",
        "policy: or null",
        "grant: truncate",
    ):
        await world.run(FLAWS[name][0].format(**world.words))

    codes = {finding.code for finding in await world.findings()}

    assert {"tenant_column_nullable", "policy_or_null", "grant_excessive"} <= codes


async def test_an_accepted_finding_is_a_warning_with_its_reason(world: World) -> None:
    """A reviewed exception must neither keep the app down nor be forgotten."""
    await world.run(FLAWS["code: definer function"][0].format(**world.words))
    inventory = replace(
        world.policies.inventory, accepted={("function_definer", "public.peek()"): "reviewed"}
    )

    found = await world.findings(tables=TenantPolicies(inventory))

    assert [(f.code, f.severity) for f in found] == [("function_definer", "warning")]
    assert "Accepted: reviewed" in found[0].why


async def test_a_session_that_only_plays_the_app_is_told(world: World) -> None:
    """SET ROLE in a connect hook looks right to every other check, and RESET ROLE undoes it."""
    await world.run(f"SET LOCAL ROLE {world.variables.runtime_role}")
    found = await audit_catalog(world.connection, tables=world.policies)
    await world.run("RESET ROLE")

    assert [(f.code, f.severity) for f in found] == [("role_session_differs", "error")]


async def test_a_table_that_was_declared_and_is_not_there_is_told(world: World) -> None:
    """The settings name one database and the URL another."""
    await world.run("DROP TABLE comments")

    found = await world.findings()

    assert [(f.code, f.object) for f in found] == [("table_missing", "public.comments")]


async def test_a_schema_that_is_right_has_no_finding_whatever_its_ids(
    postgres_server: PostgresServer, request: pytest.FixtureRequest
) -> None:
    """Partitions, invoker views, reference data: a check that cries wolf is switched off."""
    for server in (postgres_server, request.getfixturevalue("postgres_15")):
        for shape in SCHEMAS:
            for made in made_on(server, shape):
                async with audited(*made) as world:
                    assert await world.findings() == []
                    assert await world.findings(tables=None, variables=made[1]) == []
                    await world.app_works()


async def test_a_collation_that_equates_two_ids_is_found_and_mended(
    postgres_15: PostgresServer,  # the embedded one is built without ICU
) -> None:
    """ACME and acme would be one tenant: only text ids can be compared so."""
    for made in made_on(postgres_15, "text"):
        async with audited(*made) as world:
            await world.run(
                "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', "
                "deterministic = false)"
            )
            for policy in ("tenant_isolation", "tenant_isolation_strict"):
                await world.run(f"DROP POLICY {policy} ON comments")
            await world.run("ALTER TABLE comments ALTER tenant_id TYPE text COLLATE loose")

            found = await world.findings()
            for finding in found:
                await world.run(finding.remedy_sql)

            assert "tenant_column_collation" in {finding.code for finding in found}
            assert await world.findings() == []
            await world.app_works()
