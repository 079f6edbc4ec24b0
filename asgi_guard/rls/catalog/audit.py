"""audit_catalog and verify_deployment: the doors to the checks and the probe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Table

from asgi_guard.errors import ConfigError, NotReadyError
from asgi_guard.rls.binding import is_guarded, variables_of
from asgi_guard.rls.catalog.finding import Finding, raise_on_findings
from asgi_guard.rls.catalog.query import catalog_query
from asgi_guard.rls.catalog.registry import judge
from asgi_guard.rls.catalog.snapshot import Snapshot
from asgi_guard.rls.inventory import Inventory, TableSource, sort_tables
from asgi_guard.rls.policies import TenantPolicies
from asgi_guard.rls.probe import ProbeTenants, probe
from asgi_guard.rls.steps import Handle, Program, run_program
from asgi_guard.rls.variables import RLSVariables
from asgi_guard.tenancy.context import UserExecutionContext
from asgi_guard.tenancy.current import use_context

__all__ = ["audit_catalog", "nobody", "verify_deployment"]

_LOCK_TIMEOUT: Final = "3s"
_LOCKED: Final = "55P03"

Tables = TenantPolicies | TableSource | None


async def audit_catalog(
    handle: Handle,
    *,
    tables: Tables = None,
    shared: Iterable[str | Table] = (),
    system_only: Iterable[str | Table] = (),
    variables: RLSVariables | None = None,
    behaviour: bool = False,
    probe_tenants: tuple[str, str] | None = None,
) -> list[Finding]:
    """Say in which ways row-level security does not hold for the role that *handle* connects as.

    Args:
        handle: The app's own: a guarded or plain SQLAlchemy engine or connection, or an asyncpg
            pool or connection.
        tables: The `TenantPolicies` of the app, which know everything below, or its metadata or
            tables. Whatever has the tenant column counts as guarded in any case.
        shared: Reference data among *tables*; see `tenant_policies`.
        system_only: Tables that the app must not reach; see `tenant_policies`.
        variables: Names and id type; by default those of *tables* or of a guarded *handle*.
        behaviour: Also try it, in a transaction that is rolled back (`asgi_guard.rls.probe`).
        probe_tenants: Two well-formed ids that no tenant has or will have; made at random by
            default, which ids of a shape of one's own need not fit.

    Returns:
        Errors and warnings in the order in which their remedies are run; empty when all holds.

    Raises:
        NotReadyError: The database cannot be reached, or does not answer the question.
        ConfigError: *handle* or a name is of no known kind, or the handle binds other names than
            the policies read.
    """
    variables = _agreed_names(handle, tables, variables)
    inventory = _inventory(tables, shared, system_only, variables)
    tenants = ProbeTenants.make(inventory.variables.tenant_id, probe_tenants)
    with use_context(nobody(tenants, "audit_catalog")):
        return await run_program(handle, _program(inventory, tenants, behaviour=behaviour))


async def verify_deployment(
    handle: Handle,
    *,
    tables: Tables = None,
    shared: Iterable[str | Table] = (),
    system_only: Iterable[str | Table] = (),
    variables: RLSVariables | None = None,
    probe_tenants: tuple[str, str] | None = None,
) -> list[Finding]:
    """Refuse a deployment whose row-level security is not real; arguments as `audit_catalog`.

    Reads the catalog and tries it.

    Returns:
        The warnings, when there is no error.

    Raises:
        NotReadyError: There is an error finding (``reason`` is ``"rls_not_real"``, each named
            with the SQL that mends it), or the database cannot be reached.
    """
    findings = await audit_catalog(
        handle,
        tables=tables,
        shared=shared,
        system_only=system_only,
        variables=variables,
        behaviour=True,
        probe_tenants=probe_tenants,
    )
    raise_on_findings(findings)
    return findings


def nobody(tenants: ProbeTenants, operation: str) -> UserExecutionContext:
    """Return the context of a tenant that has no rows.

    Guarded handles serve only whoever has a tenant: this one has never been used, so even a
    broken deployment shows its auditor nothing.
    """
    return UserExecutionContext(tenant_id=tenants.bound, user_id="asgi-guard", operation=operation)


def _program(
    inventory: Inventory, tenants: ProbeTenants, *, behaviour: bool
) -> Program[list[Finding]]:
    # Printing a policy's expression takes a lock on its table, which a migration may hold. And
    # compiling a query of this size costs seconds, running it a few hundredths of one.
    yield (
        f"SELECT pg_catalog.set_config('lock_timeout', '{_LOCK_TIMEOUT}', true), "
        "pg_catalog.set_config('jit', 'off', true)"
    )
    answer = yield catalog_query(inventory.variables)
    if answer.sqlstate is not None or not answer.rows:
        why = "a table is locked, by a migration perhaps" if answer.sqlstate == _LOCKED else ""
        raise NotReadyError(
            "catalog_unreadable",
            f"The catalog could not be read (SQLSTATE {answer.sqlstate}): "
            f"{why or 'the role may not read it, or the server is older than PostgreSQL 15'}.",
        )
    snapshot = Snapshot.parse(answer.rows[0][0])
    findings = judge(snapshot, inventory)
    if behaviour:
        findings += yield from probe(snapshot, inventory, tenants)
    return findings


def _agreed_names(handle: Handle, tables: Tables, variables: RLSVariables | None) -> RLSVariables:
    """Return the one set of names that the app binds and the policies read."""
    said = [
        tables.inventory.variables if isinstance(tables, TenantPolicies) else None,
        variables,
        variables_of(handle) if is_guarded(handle) else None,
    ]
    known = [names for names in said if names is not None] or [RLSVariables()]
    if any(names != known[0] for names in known):
        raise ConfigError(
            "rls.variables",
            "the database handle, the policies and the settings do not use the same names",
            "Hand one RLSVariables to guarded_engine, tenant_policies and the check.",
        )
    return known[0]


def _inventory(
    tables: Tables,
    shared: Iterable[str | Table],
    system_only: Iterable[str | Table],
    variables: RLSVariables,
) -> Inventory:
    if isinstance(tables, TenantPolicies):
        return tables.inventory
    return sort_tables(
        () if tables is None else tables,
        variables=variables,
        shared=shared,
        system_only=system_only,
    )[0]
