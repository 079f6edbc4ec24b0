"""tenant_policies: tables in, the DDL that separates their tenants out.

    policies = tenant_policies(Base.metadata, shared=["countries"])

    async with admin_engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.run_sync(policies.apply)

or ``print(policies)`` and hand the script to whoever runs the database. Running it again changes
nothing; after a new table, view or partition it protects that one as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, Table

from asgi_guard.errors import ConfigError
from asgi_guard.rls.ddl import functions, keys, partitions, roles, tables
from asgi_guard.rls.ddl.names import TableName
from asgi_guard.rls.inventory import Inventory, TableSource, sort_tables
from asgi_guard.rls.variables import RLSVariables

__all__ = ["TenantPolicies", "tenant_policies"]


def tenant_policies(
    source: TableSource,
    *,
    variables: RLSVariables | None = None,
    shared: Iterable[str | Table] = (),
    system_only: Iterable[str | Table] = (),
    views: Iterable[str | Table] = (),
    schema: str = "public",
    insecure_global_keys: Iterable[str | Table] = (),
    accept: Mapping[tuple[str, str], str] | None = None,
) -> TenantPolicies:
    """Describe the row-level security of a set of tables.

    Args:
        source: A ``MetaData``, a ``Table`` or several. Every table is guarded unless declared
            otherwise here: what is forgotten is protected.
        variables: Names and id type; `RLSVariables` by default.
        shared: Reference data without the tenant column, which every tenant reads and none
            writes, e.g. ``["countries"]``.
        system_only: Tables that the app's role cannot reach, e.g. ``["tenants", "memberships"]``.
        views: Views over guarded tables, e.g. ``["note_titles"]``.
        schema: Where tables and names without a schema live.
        insecure_global_keys: Guarded tables whose keys may lack the tenant, for a schema that is
            on its way: their unique keys tell tenants about each other, and their foreign keys
            cross.
        accept: Findings of the audit that do not keep the app from starting, each with the
            reason: ``{("function_definer", "public.login(text)"): "reads one row by its key"}``.

    Returns:
        The policies, ready to print or apply.

    Raises:
        ConfigError: A table lacks the tenant column, a key lacks the tenant, a name is unknown, or
            a finding is accepted without a reason.
    """
    variables = variables or RLSVariables()
    inventory, guarded = sort_tables(
        source,
        variables=variables,
        shared=shared,
        system_only=system_only,
        views=views,
        schema=schema,
    )
    lenient = _known(insecure_global_keys, inventory)
    for name, table in guarded.items():
        keys.check_column(name, table, inventory)
        if name not in lenient:
            keys.check_keys(name, table, inventory)
    unindexed = tuple(
        name
        for name, table in guarded.items()
        if not keys.has_leading_index(table, variables.column)
    )
    accepted = _with_reasons(accept or {})
    inventory = replace(inventory, global_keys=tuple(sorted(lenient)), accepted=accepted)
    functions.function_statements(variables)  # refuses an id type that does not survive a cast
    return TenantPolicies(inventory, unindexed)


@dataclass(frozen=True, slots=True)
class TenantPolicies:
    """The DDL for one set of tables. Pure text; holds no connection and no password.

    Args:
        inventory: Which table is what.
        unindexed: Guarded tables without an index that leads with the tenant.
    """

    inventory: Inventory
    unindexed: tuple[TableName, ...] = field(default=())

    def statements(self) -> list[str]:
        """Return the statements in order, each with its comment, without semicolons.

        They belong in one transaction. Run one by one instead, each leaves the tables shut
        rather than open.
        """
        variables = self.inventory.variables
        return [
            roles.administrator_check(variables),
            *roles.role_statements(variables),
            *functions.schema_statements(variables, self.inventory.schemas),
            *functions.function_statements(variables),
            *self._table_statements(),
            *self._derived_statements(),
        ]

    def apply(self, connection: Connection) -> None:
        """Run every statement on an administrator's connection, in the caller's transaction.

        Asynchronous: ``await connection.run_sync(policies.apply)``. On plain asyncpg:
        ``await connection.execute(str(policies))``.

        Raises:
            ConfigError: *connection* is an engine, or asynchronous.
            sqlalchemy.exc.DBAPIError: The database refused a statement: a table is missing, a
                row has no tenant, or the role that runs this may not.
        """
        if not isinstance(connection, Connection):
            # An asynchronous one would take every statement and run none.
            raise ConfigError(
                "TenantPolicies.apply(connection)",
                f"got a {type(connection).__name__}",
                "Write: async with engine.begin() as c: await c.run_sync(policies.apply).",
            )
        for statement in self.statements():
            # no_parameters: a "%" of format() is not a placeholder.
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})

    def __str__(self) -> str:
        """Return the script that ``psql`` runs, in one transaction."""
        head = (
            "-- Row-level security written by asgi-guard. Safe to run again.\n"
            "BEGIN;\n\n"
            "-- A busy table makes this fail after ten seconds instead of queueing everybody.\n"
            "SET LOCAL lock_timeout = '10s';\n\n"
        )
        return head + "".join(f"{statement};\n\n" for statement in self.statements()) + "COMMIT;\n"

    def _table_statements(self) -> list[str]:
        variables = self.inventory.variables
        kinds = (
            (self.inventory.guarded, tables.guarded_statements),
            (self.inventory.shared, tables.shared_statements),
            (self.inventory.system_only, tables.system_only_statements),
            (self.inventory.views, tables.view_statements),
        )
        return [
            statement
            for names, render in kinds
            for name in names
            for statement in render(name.sql, variables)
        ]

    def _derived_statements(self) -> list[str]:
        """What hangs on the tables: indexes, sequences, partitions."""
        inventory, variables = self.inventory, self.inventory.variables
        statements = [tables.index_statement(name, variables) for name in self.unindexed]
        written = (*inventory.guarded, *inventory.system_only)
        if written:
            statements.append(tables.sequence_statement(written, variables))
        if inventory.guarded:
            statements.append(partitions.partition_statement(inventory.guarded, variables))
        return statements


def _known(items: Iterable[str | Table], inventory: Inventory) -> frozenset[TableName]:
    names = frozenset(
        TableName.of(item, inventory.default_schema)
        if isinstance(item, Table)
        else TableName.parse(item, inventory.default_schema)
        for item in items
    )
    for name in sorted(names - set(inventory.guarded)):
        raise ConfigError(
            "tenant_policies(insecure_global_keys)",
            f"there is no guarded table {str(name)!r}",
            "Name a guarded table of the metadata.",
        )
    return names


def _with_reasons(accept: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    for (code, named), reason in accept.items():
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigError(
                "tenant_policies(accept)",
                f"{code} of {named} is accepted without a reason",
                'Write {("code", "object"): "why this is safe here"}.',
            )
    return dict(accept)
