"""The helper schema: ``current_tenant()`` and ``current_user_id()``, which policies ask.

The bodies are written in the SQL standard's form (``RETURN …``): names in them are resolved once,
when they are made, so no search path can put another function in their place, and the planner can
still inline them, which a ``SET search_path`` clause would prevent (PostgreSQL docs, CREATE
FUNCTION).
"""

from __future__ import annotations

from typing import Final

from asgi_guard.errors import ConfigError
from asgi_guard.rls.ddl.names import explained, identifier, literal
from asgi_guard.rls.ddl.sealed import sealed_function_statements, sealed_table_statements
from asgi_guard.rls.variables import RLSVariables

__all__ = [
    "current_tenant",
    "function_statements",
    "helper_statements",
    "schema_statements",
]

# Of character types only text: a cast to varchar(n) cuts silently and would make one tenant of
# two. Numbers and uuids refuse what they cannot read.
_ID_TYPES: Final = frozenset({"uuid", "text", "bigint", "integer"})


def current_tenant(variables: RLSVariables) -> str:
    """Return the call that reads the bound tenant."""
    return f"{identifier(variables.schema)}.current_tenant()"


def helper_statements(variables: RLSVariables) -> list[str]:
    """Make the helper schema and its functions, touching no table's schema."""
    return [*schema_statements(variables, ()), *function_statements(variables)]


def schema_statements(variables: RLSVariables, table_schemas: tuple[str, ...]) -> list[str]:
    """Make the helper schema, and take CREATE in the tables' schemas from everybody else."""
    helper, owner = identifier(variables.schema), identifier(variables.owner_role)
    apps = f"{identifier(variables.runtime_role)}, {identifier(variables.system_role)}"
    statements = [
        explained(f"CREATE SCHEMA IF NOT EXISTS {helper}", "The helper functions' own schema."),
        f"ALTER SCHEMA {helper} OWNER TO {owner}",
        f"REVOKE ALL ON SCHEMA {helper} FROM PUBLIC, {apps}",
        f"GRANT USAGE ON SCHEMA {helper} TO {apps}",
    ]
    for name in table_schemas:
        schema = identifier(name)
        statements += [
            explained(
                f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC, {apps}",
                "Who may create here can put an object in front of another's (CVE-2018-1058).",
            ),
            f"GRANT USAGE ON SCHEMA {schema} TO {apps}",
            f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner}",
        ]
    return statements


def function_statements(variables: RLSVariables) -> list[str]:
    """Make the two helper functions, and what a seal needs.

    Raises:
        ConfigError: The id type is none that every value survives unchanged.
    """
    id_type = variables.tenant_id.sql_type
    if id_type not in _ID_TYPES:
        raise ConfigError(
            "rls.tenant_id.sql_type",
            f"{id_type!r} is not supported",
            f"Use one of {', '.join(sorted(_ID_TYPES))}.",
        )
    if variables.sealed:
        return [*sealed_table_statements(variables), *sealed_function_statements(variables)]
    tenant = _function(
        variables,
        "current_tenant",
        id_type,
        variables.setting,
        "The tenant bound to this transaction. Nothing bound: NULL, which equals no row's tenant.\n"
        "Not a tenant id at all: an error.",
    )
    user = _function(
        variables,
        "current_user_id",
        "text",
        variables.user_setting,
        "The user bound to this transaction, for defaults and triggers; NULL when there is none.",
    )
    return [*tenant, *user]


def _function(
    variables: RLSVariables, name: str, returns: str, setting: str, why: str
) -> list[str]:
    function = f"{identifier(variables.schema)}.{name}()"
    apps = f"{identifier(variables.runtime_role)}, {identifier(variables.system_role)}"
    cast = "" if returns == "text" else f"::{returns}"
    # After the first transaction that set it, an unset setting reads as '', not as NULL.
    body = f"NULLIF(pg_catalog.current_setting({literal(setting)}, true), ''){cast}"
    return [
        explained(
            f"CREATE OR REPLACE FUNCTION {function} RETURNS {returns}\n"
            "    LANGUAGE sql STABLE PARALLEL SAFE SECURITY INVOKER\n"
            f"    RETURN {body}",
            why,
        ),
        f"ALTER FUNCTION {function} OWNER TO {identifier(variables.owner_role)}",
        f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC, {apps}",
        f"GRANT EXECUTE ON FUNCTION {function} TO {apps}",
    ]
