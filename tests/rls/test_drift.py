"""The comparison with the catalog is exact: our own DDL is no drift, in any names and id types."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asgi_guard.integrations.alembic_drift import read_state
from asgi_guard.rls.drift.change import HELPERS
from asgi_guard.rls.drift.compare import changes
from asgi_guard.rls.policies import TenantPolicies
from asgi_guard.testing import PostgresDatabase
from tests.support.ddl_deployment import VARIANTS, Deployment, deployed

pytestmark = pytest.mark.postgres


async def drift(made: Deployment, policies: TenantPolicies | None = None) -> list[str]:
    """Name what departs, as the superuser sees it."""
    wanted = policies or made.policies
    async with (
        made.engine(made.database.superuser, made.database.admin_password) as engine,
        engine.connect() as connection,
    ):
        state = await connection.run_sync(read_state, wanted)
    return [change.object for change in changes(state, wanted)]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
async def test_what_we_write_is_no_drift(
    postgres_database: PostgresDatabase,
    variant: str,
    sealed: bool,  # noqa: FBT001 - a parameter
) -> None:
    """A check that is never clean is switched off."""
    variables = replace(VARIANTS[variant](), sealed=sealed)
    async with deployed(postgres_database, variables) as made:
        assert await drift(made) == []


async def test_what_the_search_path_finds_is_printed_otherwise_and_is_no_drift(
    postgres_database: PostgresDatabase,
) -> None:
    """PostgreSQL leaves a schema out that the reader's path names."""
    async with deployed(postgres_database) as made:
        await made.admin(
            f'ALTER DATABASE "{postgres_database.name}" SET search_path = asgi_guard, public'
        )
        assert await drift(made) == []


async def test_other_names_are_drift(postgres_database: PostgresDatabase) -> None:
    """Another setting is another function, whatever the policies say."""
    async with deployed(postgres_database) as made:
        inventory = made.policies.inventory
        other = replace(inventory.variables, setting="other.tenant")
        policies = replace(made.policies, inventory=replace(inventory, variables=other))

        assert await drift(made, policies) == [HELPERS]
