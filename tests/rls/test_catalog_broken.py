"""Every broken deployment is named, refused, and mended by the SQL that the refusal prints.

Run on the embedded PostgreSQL and, where Debian's is installed, on PostgreSQL 15.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from asgi_guard.errors import NotReadyError
from asgi_guard.rls.catalog import Finding, audit_catalog, verify_deployment
from asgi_guard.tenancy.tenant_id import INTEGER, SLUG
from asgi_guard.testing import EmbeddedPostgres, PostgresServer
from tests.support.ddl_deployment import (
    Deployment,
    deployed,
    drop_roles,
    fresh_variables,
    renamed_variables,
)

pytestmark = pytest.mark.postgres

OPEN = "CREATE POLICY opened ON {notes} FOR ALL TO {runtime} USING (true) WITH CHECK (true)"
STRAY = "CREATE TABLE stray AS SELECT * FROM {notes}"
CHILD = (
    "CREATE TABLE notes_2024 () INHERITS ({notes}); "
    "INSERT INTO notes_2024 (id, title, {column}) SELECT 9, 'child', {column} FROM {notes}"
)

# What an administrator did, the code it must be found under, and the object that must be named.
# The whole corpus is tests/support/catalog_flaws.py; these go through a login of the app's own.
BROKEN: dict[str, tuple[str, str, str]] = {
    "bypassrls": ("ALTER ROLE {runtime} BYPASSRLS", "role_bypasses_rls", "{runtime}"),
    "tenant preset for the role": (
        "ALTER ROLE {runtime} SET {setting} = '{tenant}'",
        "tenant_preset",
        "{runtime}",
    ),
    "owned by the app": ("ALTER TABLE {notes} OWNER TO {runtime}", "table_owned", "public.notes"),
    "switched off": (
        "ALTER TABLE {notes} DISABLE ROW LEVEL SECURITY",
        "rls_disabled",
        "public.notes",
    ),
    "undeclared table": (
        f"{STRAY}; GRANT SELECT ON stray TO {{runtime}}",
        "rls_disabled",
        "public.stray",
    ),
    "truncate granted": (
        "GRANT TRUNCATE, TRIGGER ON {notes} TO {runtime}",
        "grant_excessive",
        "public.notes",
    ),
    "definer view": (
        "CREATE VIEW peek AS SELECT * FROM {notes}; GRANT SELECT ON peek TO {runtime}",
        "view_definer",
        "public.peek",
    ),
}


@pytest.fixture(scope="session")
def postgres_15(postgres_15_bin: Path) -> Iterator[PostgresServer]:
    with ExitStack() as stack:
        embedded = EmbeddedPostgres(durable=False, bin_dir=postgres_15_bin)
        yield stack.enter_context(embedded).server


@pytest.fixture(params=["uuid", "renamed integer on 15"])
async def deployment(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    """A sound deployment, on the newest server and, under other names, on an older one."""
    newest = request.param == "uuid"
    server = request.getfixturevalue("postgres_server" if newest else "postgres_15")
    variables = fresh_variables() if newest else renamed_variables(INTEGER)
    database = server.create_database(variables.owner_role)
    try:
        async with deployed(database, variables) as made:
            yield made
    finally:
        server.drop_database(database.name)


def words(made: Deployment) -> dict[str, str]:
    variables = made.variables
    return {
        "runtime": variables.runtime_role,
        "owner": variables.owner_role,
        "system": variables.system_role,
        "extra": f"extra_{variables.owner_role}",
        "setting": variables.setting,
        "schema": f'"{variables.schema}"' if variables.schema == "order" else variables.schema,
        "column": made.column,
        "type": variables.tenant_id.sql_type,
        "notes": made.notes,
        "database": made.database.name,
        "tenant": made.tenants[0],
    }


async def findings_of(made: Deployment) -> list[Finding]:
    async with made.engine() as engine:
        return await audit_catalog(engine, tables=made.policies, behaviour=True)


async def refusal_of(made: Deployment) -> NotReadyError:
    async with made.engine() as engine:
        with pytest.raises(NotReadyError) as refused:
            await verify_deployment(engine, tables=made.policies)
    return refused.value


async def drop_extra_roles(made: Deployment) -> None:
    extra = words(made)["extra"]
    await drop_roles(made, f"{extra}_a", f"{extra}_b")


async def test_a_sound_deployment_has_no_finding(deployment: Deployment) -> None:
    """A check that cries wolf is switched off; this is the control of every test below."""
    assert await findings_of(deployment) == []
    async with deployment.engine() as engine:
        assert await verify_deployment(engine, tables=deployment.policies) == []
        assert await audit_catalog(engine, variables=deployment.variables, behaviour=True) == []


@pytest.mark.parametrize("flaw", BROKEN)
async def test_a_broken_deployment_is_named_refused_and_mended(
    deployment: Deployment, flaw: str
) -> None:
    """An operator who runs the printed SQL has a deployment that starts, and an app that works."""
    # Arrange
    breaking, code, named = (text.format(**words(deployment)) for text in BROKEN[flaw])
    await deployment.admin(breaking)

    # Act
    found = await findings_of(deployment)
    refused = await refusal_of(deployment)
    for finding in found:
        await deployment.admin(finding.remedy_sql)
    after = await findings_of(deployment)
    await drop_extra_roles(deployment)

    # Assert
    matching = [f for f in found if (f.code, f.object) == (code, named.replace('"', ""))] or [
        f for f in found if (f.code, f.object) == (code, named)
    ]
    assert [finding.severity for finding in matching] == ["error"], found
    assert refused.reason == "rls_not_real"
    assert code in refused.detail
    assert matching[0].remedy_sql.splitlines()[0] in refused.detail
    assert after == []
    await deployment.app_still_works()
    one, other = deployment.tenants
    assert await deployment.titles(one) == {f"of {one}"}
    assert await deployment.titles(other) == {f"of {other}"}
    assert await deployment.titles(None) == set()


async def test_all_findings_are_told_at_once(deployment: Deployment) -> None:
    """Five restarts to learn of five flaws is five deployments too many."""
    some = ["bypassrls", "switched off", "truncate granted", "definer view", "undeclared table"]
    for flaw in some:
        await deployment.admin(BROKEN[flaw][0].format(**words(deployment)))

    refused = await refusal_of(deployment)

    for flaw in some:
        assert BROKEN[flaw][1] in refused.detail
    assert re.search(r"\d+ findings", refused.detail)


async def test_an_open_policy_added_later_opens_nothing(deployment: Deployment) -> None:
    """The restrictive twin holds, so the app may start; the next person's haste is told of."""
    await deployment.admin(OPEN.format(**words(deployment)))

    found = await findings_of(deployment)
    assert [(f.code, f.severity) for f in found] == [("policy_open", "warning")]
    assert await deployment.titles(None) == set()
    assert await deployment.titles(deployment.tenants[0]) == {f"of {deployment.tenants[0]}"}


async def test_a_new_partition_that_nobody_was_granted_is_a_warning(
    deployment: Deployment,
) -> None:
    """It is reached through its parent only; a nightly job must not keep the app from starting."""
    await deployment.admin(CHILD.format(**words(deployment)))

    async with deployment.engine() as engine:
        told = await verify_deployment(engine, tables=deployment.policies)

    assert [(f.code, f.object, f.severity) for f in told] == [
        ("partition_unprotected", "public.notes_2024", "warning")
    ]
    await deployment.admin("DELETE FROM notes_2024", told[0].remedy_sql)
    assert await findings_of(deployment) == []


async def test_the_administrator_is_no_role_to_serve_with(deployment: Deployment) -> None:
    """The commonest broken deployment of all: DATABASE_URL names postgres."""
    database = deployment.database
    async with deployment.engine(database.superuser, database.admin_password) as engine:
        found = await audit_catalog(engine, tables=deployment.policies, behaviour=True)

    codes = {finding.code for finding in found if finding.severity == "error"}
    assert {"role_superuser", "role_unexpected", "probe_rows_visible"} <= codes
    attribute = next(finding for finding in found if finding.code == "role_superuser")
    assert attribute.remedy_sql.startswith("--"), "the server's first role is not taken apart"


async def test_a_login_role_that_inherits_the_runtime_role_may_serve(
    deployment: Deployment,
) -> None:
    """Rotating credentials are logins in a group: policies TO the group bind them too."""
    login = f"extra_{deployment.variables.owner_role}_a"
    runtime = deployment.variables.runtime_role
    await deployment.admin(
        f"CREATE ROLE {login} LOGIN INHERIT PASSWORD 'correct horse' IN ROLE {runtime}"
    )
    try:
        async with deployment.engine(login) as engine:
            assert await verify_deployment(engine, tables=deployment.policies) == []
            await deployment.admin(f"GRANT {deployment.variables.owner_role} TO {runtime}")
            found = await audit_catalog(engine, tables=deployment.policies)
        assert [finding.code for finding in found] == ["role_can_become"]
        assert f"FROM {runtime}" in found[0].remedy_sql, "the group loses it, not the login"
    finally:
        await drop_extra_roles(deployment)


async def test_a_declared_table_without_the_tenant_column_is_refused(
    deployment: Deployment,
) -> None:
    """The model has the column, the database has not: a migration was forgotten."""
    column = deployment.column
    await deployment.admin(f'ALTER TABLE "Odd Comments" DROP COLUMN {column} CASCADE')

    found = await findings_of(deployment)

    assert ("tenant_column_missing", "public.Odd Comments") in {
        (finding.code, finding.object) for finding in found
    }
    for finding in found:
        await deployment.admin(finding.remedy_sql)
    assert await findings_of(deployment) == []


async def test_slug_tenants_are_checked_alike(postgres_server: PostgresServer) -> None:
    """The third id type, under default names."""
    variables = fresh_variables(SLUG)
    database = postgres_server.create_database(variables.owner_role)
    try:
        async with deployed(database, variables) as made:
            assert await findings_of(made) == []
            await made.admin(f"ALTER TABLE {made.notes} DISABLE ROW LEVEL SECURITY")
            assert {finding.code for finding in await findings_of(made)} == {
                "rls_disabled",
                "probe_rows_visible",
                "probe_insert_crosses",
                "probe_not_enforced",
            }
    finally:
        postgres_server.drop_database(database.name)
