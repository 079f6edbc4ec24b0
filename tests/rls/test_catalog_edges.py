"""What the catalog check says at its edges: absent roles, foreign children, harmless objects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from asgi_guard.errors import NotReadyError
from asgi_guard.rls.catalog import Finding, audit_catalog, raise_on_findings
from asgi_guard.testing import PostgresDatabase
from tests.support.ddl_deployment import Deployment, deployed, drop_roles, fresh_variables

pytestmark = pytest.mark.postgres


@pytest.fixture
async def deployment(postgres_database: PostgresDatabase) -> AsyncIterator[Deployment]:
    async with deployed(postgres_database) as made:
        yield made


async def findings_of(made: Deployment) -> list[Finding]:
    async with made.engine() as engine:
        return await audit_catalog(engine, tables=made.policies)


async def test_roles_that_do_not_exist_are_named_with_their_creation(
    deployment: Deployment,
) -> None:
    """A settings file that names other roles than the database has is found at the start."""
    other = fresh_variables()
    variables = replace(
        deployment.variables, owner_role=other.owner_role, system_role=other.system_role
    )

    async with deployment.engine() as engine:
        found = await audit_catalog(engine, variables=variables)
        for finding in found:
            await deployment.admin(finding.remedy_sql)
        after = await audit_catalog(engine, variables=variables)
    await drop_roles(deployment, other.owner_role, other.system_role)

    assert {(f.code, f.object, f.severity) for f in found} >= {
        ("role_missing", other.owner_role, "warning"),
        ("role_missing", other.system_role, "warning"),
        ("helper_owner", "asgi_guard.current_tenant()", "warning"),
    }
    assert after == []


async def test_a_database_that_was_never_made_ready_is_told_everything(
    deployment: Deployment,
) -> None:
    """The first start against an empty schema: no helper, and not the role one thinks."""
    async with deployment.engine() as engine:
        found = await audit_catalog(engine, variables=fresh_variables(schema="elsewhere"))

    codes = {finding.code for finding in found if finding.severity == "error"}
    assert {"role_missing", "role_unexpected", "helper_missing", "policy_function"} <= codes


async def test_a_foreign_child_is_taken_from_the_app(deployment: Deployment) -> None:
    """Foreign tables take no policies: the only mend is to be reached through the parent."""
    await deployment.admin(
        "CREATE FOREIGN DATA WRAPPER nowhere",
        "CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere",
        f"CREATE FOREIGN TABLE far () INHERITS ({deployment.notes}) SERVER nowhere",
        f"GRANT SELECT ON far TO {deployment.variables.runtime_role}",
    )

    found = await findings_of(deployment)
    await deployment.admin(*(finding.remedy_sql for finding in found))

    assert [(f.code, f.object, f.severity) for f in found] == [
        ("partition_unprotected", "public.far", "error")
    ]
    assert [finding.severity for finding in await findings_of(deployment)] == ["warning"]


async def test_harmless_objects_are_no_findings(deployment: Deployment) -> None:
    """Views over shared data, tables that nobody reaches, and an invoker view of an owner."""
    runtime = deployment.variables.runtime_role
    await deployment.admin(
        f"CREATE VIEW codes AS SELECT code FROM countries; GRANT SELECT ON codes TO {runtime}",
        f"CREATE VIEW mine WITH (security_invoker = on) AS SELECT * FROM {deployment.notes}; "
        f"GRANT SELECT ON mine TO {runtime}",
        f"CREATE VIEW hidden AS SELECT * FROM {deployment.notes}",
        "CREATE TABLE alembic_version (version_num text)",
    )

    assert await findings_of(deployment) == []


async def test_a_table_out_of_reach_is_a_warning(deployment: Deployment) -> None:
    """One GRANT away from a leak, and no reason to stop serving."""
    await deployment.admin(f"CREATE TABLE stray AS SELECT * FROM {deployment.notes}")

    found = await findings_of(deployment)

    assert {(f.code, f.severity) for f in found} == {
        ("rls_disabled", "warning"),
        ("rls_not_forced", "warning"),
    }
    raise_on_findings(found)


def test_a_refusal_reads_like_a_to_do_list() -> None:
    """Each finding with its mend, in the operator's log; the caller of the app learns nothing."""
    finding = Finding(
        code="rls_disabled",
        object="public.notes",
        severity="error",
        why="Row-level security is off.",
        remedy_sql="ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;",
    )

    with pytest.raises(NotReadyError) as refused:
        raise_on_findings([finding])

    assert refused.value.detail.endswith(
        "[error] rls_disabled: public.notes: Row-level security is off.\n"
        "    ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;"
    )
    assert "1 finding." in refused.value.detail
    raise_on_findings([])
