"""Steps that give every row its tenant: a column, a trigger for new rows, batches for old ones."""

from __future__ import annotations

from hashlib import sha256

from asgi_guard.errors import ConfigError
from asgi_guard.rls.adoption.reading import FoundForeignKey, FoundTable
from asgi_guard.rls.adoption.spec import Adoption, Filling
from asgi_guard.rls.adoption.steps import Action, Check, Step
from asgi_guard.rls.ddl.names import DOLLAR, TableName, identifier, literal
from asgi_guard.rls.variables import RLSVariables

__all__ = [
    "FILLED",
    "column_step",
    "drop_filler",
    "fill_step",
    "filled_steps",
    "make_filler",
    "short",
    "tenant_of_row",
]

FILLED = "asgi_guard_tenant_filled"
_TRIGGER = "asgi_guard_tenant_fill"


def short(*parts: str) -> str:
    """Return a name of our own for *parts*, of any length."""
    return sha256("\0".join(parts).encode()).hexdigest()[:16]


def column_step(found: FoundTable, filling: Filling, adoption: Adoption) -> Step:
    """Add the column, nullable and without a default: nothing is rewritten. New rows are filled."""
    variables, table = adoption.variables, found.name.sql
    column, kind = identifier(variables.column), variables.tenant_id.sql_type
    forward: list[str] = []
    backward: list[str] = []
    if found.column is None:
        forward.append(f"ALTER TABLE {table} ADD COLUMN IF NOT EXISTS {column} {kind}")
        backward.append(f"ALTER TABLE {table} DROP COLUMN IF EXISTS {column}")
    if filling.source != "existing":
        forward += make_filler(found, filling, adoption)
        backward = [*drop_filler(found.name, variables), *backward]
    return Step(
        "column",
        str(found.name),
        "add the column, and fill it in new rows",
        (Action(tuple(forward)),) if forward else (),
        (Action(tuple(backward)),) if backward else (),
    )


def make_filler(found: FoundTable, filling: Filling, adoption: Adoption) -> list[str]:
    """Make the trigger that fills a row in which yesterday's app names no tenant."""
    variables = adoption.variables
    column, function = identifier(variables.column), _function(found.name, variables)
    # A parent may be out of the writer's reach; what an expression calls runs as the writer.
    rights = "DEFINER" if filling.source == "parent" else "INVOKER"
    path = "pg_catalog, pg_temp" if filling.source != "expression" else "pg_catalog, public"
    return [
        (
            f"CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql\n"
            f"    SECURITY {rights} SET search_path = {path} AS {DOLLAR}\n"
            "BEGIN\n"
            f"    IF NEW.{column} IS NULL THEN\n"
            f"        SELECT {tenant_of_row(found, filling, adoption)} INTO NEW.{column}\n"
            "            FROM (SELECT NEW.*) AS r;\n"
            "    END IF;\n"
            "    RETURN NEW;\n"
            f"END\n{DOLLAR}"
        ),
        f"DROP TRIGGER IF EXISTS {_TRIGGER} ON {found.name.sql}",
        (
            f"CREATE TRIGGER {_TRIGGER} BEFORE INSERT OR UPDATE ON {found.name.sql}\n"
            f"    FOR EACH ROW EXECUTE FUNCTION {function}"
        ),
    ]


def drop_filler(name: TableName, variables: RLSVariables) -> list[str]:
    """Drop the trigger and its function."""
    return [
        f"DROP TRIGGER IF EXISTS {_TRIGGER} ON {name.sql}",
        f"DROP FUNCTION IF EXISTS {_function(name, variables)}",
    ]


def fill_step(found: FoundTable, filling: Filling, adoption: Adoption) -> Step:
    """Fill the rows that are there, in batches of blocks."""
    source = "" if filling.source == "existing" else tenant_of_row(found, filling, adoption)
    fill = tuple((leaf, source) for leaf in found.leaves) if source else ()
    return Step("backfill", str(found.name), "fill the rows that are there", fill=fill)


def filled_steps(found: FoundTable, adoption: Adoption) -> list[Step]:
    """Make the column NOT NULL without reading the table under a lock (docs, ALTER TABLE)."""
    if found.column is not None and found.column[1]:
        return []
    table, name = found.name.sql, str(found.name)
    column = identifier(adoption.variables.column)
    drop = f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {FILLED}"
    add = f"ALTER TABLE {table} ADD CONSTRAINT {FILLED} CHECK ({column} IS NOT NULL) NOT VALID"
    orphans = Check(
        f"SELECT count(*) FROM {table} WHERE {column} IS NULL",
        "rows have no tenant: their source gives none. Mend or delete them, and run again",
    )
    return [
        Step(
            "filled",
            name,
            "refuse new rows without a tenant",
            (Action((drop, add)),),
            (Action((drop,)),),
            (orphans,),
        ),
        Step(
            "filled",
            name,
            "check the rows that are there",
            (Action((f"ALTER TABLE {table} VALIDATE CONSTRAINT {FILLED}",), alone=True),),
        ),
        Step(
            "filled",
            name,
            "make the column NOT NULL, which the check has proved",
            (Action((f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL", drop)),),
            (Action((f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL", drop, add)),),
        ),
    ]


def tenant_of_row(found: FoundTable, filling: Filling, adoption: Adoption) -> str:
    """Return the SQL of the tenant of the row ``r``.

    Raises:
        ConfigError: No foreign key, or more than one, leads to the parent.
    """
    kind = adoption.variables.tenant_id.sql_type
    if filling.source == "constant":
        return f"{literal(filling.value)}::{kind}"
    if filling.source == "expression":
        return f"({filling.value})::{kind}"
    key = _leading(found, filling, adoption)
    column = identifier(adoption.variables.column)
    joined = " AND ".join(
        f"p.{identifier(theirs)} = r.{identifier(mine)}"
        for mine, theirs in zip(key.columns, key.target_columns, strict=True)
    )
    return f"(SELECT p.{column} FROM {key.target.sql} AS p WHERE {joined})"


def _leading(found: FoundTable, filling: Filling, adoption: Adoption) -> FoundForeignKey:
    parent, columns = filling.parent(adoption.schema)
    keys = [
        key
        for key in found.foreign_keys
        if key.target == parent and (not columns or key.columns == columns)
    ]
    if len(keys) != 1:
        raise ConfigError(
            f"adoption.{found.name}.parent",
            f"{len(keys)} foreign keys lead to {parent}",
            f'Name the columns: "{parent}(…)".' if keys else "Use an expression.",
        )
    return keys[0]


def _function(name: TableName, variables: RLSVariables) -> str:
    return f"{identifier(variables.schema)}.tenant_fill_{short(*name)}()"
