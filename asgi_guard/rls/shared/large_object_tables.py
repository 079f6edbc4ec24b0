"""The table in front of large objects, and the functions that reach through it.

Large objects have owners and grants, and no policies. Here they belong to the owner role, with no
grant to anybody: the app's role can name one and open none. What it has is a guarded table with a
row for each object, and functions that run as the owner and ask that table, under its policies,
which object a tenant means.

==============  =================================================================================
Statement       Effect
==============  =================================================================================
INSERT          makes an empty object; whatever is inserted, its number is the database's own
DELETE          removes the object with its row, in a cascade from the tenant's row as well
SELECT          lists the tenant's own
UPDATE          not granted: a row that named another number would open another's object
==============  =================================================================================

An object is written in the transaction that makes it, and never again: what a reader gets in
many pieces is one thing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from asgi_guard.rls.ddl.functions import current_tenant
from asgi_guard.rls.ddl.names import DOLLAR, TableName, explained, identifier
from asgi_guard.rls.ddl.tables import guarded_statements, predicate
from asgi_guard.rls.variables import RLSVariables

__all__ = ["LargeObjectTables"]

_TABLE: Final = "large_objects"
_OWNER_POLICY: Final = "tenant_isolation_owner"
_TARGET: Final = "target oid;"
_MEASURED: Final = "target oid;\n    opened integer;\n    bytes bigint;"


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeObjectTables:
    """The DDL, and what the catalog audit has to be told of it.

    Args:
        variables: Names and id type, as for `tenant_policies`.
        tenants: The table of tenants and its key, e.g. ``"tenants.id"``: a tenant's objects go
            with its row. None leaves that to you.

    Raises:
        ConfigError: *tenants* cannot be a name.
    """

    variables: RLSVariables = field(default_factory=RLSVariables)
    tenants: str | None = None

    def __post_init__(self) -> None:
        """Refuse a name that cannot be one."""
        if self.tenants is not None:
            _reference(self.tenants)

    @property
    def table_sql(self) -> str:
        """The qualified name of the table."""
        return f"{identifier(self.variables.schema)}.{_TABLE}"

    def function_sql(self, verb: str) -> str:
        """Return the qualified name of a function, e.g. of ``"read"``."""
        return f"{identifier(self.variables.schema)}.large_object_{verb}"

    @property
    def accepted(self) -> dict[tuple[str, str], str]:
        """What the catalog audit says of the functions, and why that is as it should be.

        ``tenant_policies(Base.metadata, accept=LargeObjectTables().accepted)``
        """
        named = "what the bound tenant's row names, and no other"
        reasons = {
            "make()": "a trigger: makes an empty object for the row that is inserted",
            "remove()": "a trigger: removes the object of the row that was deleted",
            "read(pg_catalog.uuid,bigint,integer)": f"reads {named}",
            "write(pg_catalog.uuid,bigint,pg_catalog.bytea)": f"writes {named}, once",
            "size(pg_catalog.uuid)": f"measures {named}",
        }
        schema = identifier(self.variables.schema)
        return {
            ("function_definer", f"{schema}.large_object_{signature}"): reason
            for signature, reason in reasons.items()
        }

    def statements(self) -> list[str]:
        """Return the DDL in order, without semicolons; safe to run again.

        Run it as an administrator, in one transaction, after ``tenant_policies(...)``, which
        makes the roles and the tenant function.
        """
        table, rule = self.table_sql, predicate(self.variables)
        owner = identifier(self.variables.owner_role)
        runtime = identifier(self.variables.runtime_role)
        return [
            self._create_table(),
            *self._tenants_key(),
            *guarded_statements(table, self.variables),
            explained(
                f"REVOKE UPDATE ON TABLE {table} FROM {runtime}",
                "A row that came to name another number would open another tenant's object.",
            ),
            f"DROP POLICY IF EXISTS {_OWNER_POLICY} ON {table}",
            explained(
                f"CREATE POLICY {_OWNER_POLICY} ON {table}\n"
                f"    AS PERMISSIVE FOR ALL TO {owner}\n"
                f"    USING ({rule})\n"
                f"    WITH CHECK ({rule})",
                "The functions run as the owner, and see no other tenant's rows either.",
            ),
            *self._functions(),
            *self._trigger("make", "BEFORE INSERT"),
            *self._trigger("remove", "AFTER DELETE"),
        ]

    def __str__(self) -> str:
        """Return the script that ``psql`` runs, in one transaction."""
        return "BEGIN;\n\n" + "".join(f"{each};\n\n" for each in self.statements()) + "COMMIT;\n"

    def _create_table(self) -> str:
        tenant = identifier(self.variables.column)
        return explained(
            f"CREATE TABLE IF NOT EXISTS {self.table_sql} (\n"
            f"    {tenant} {self.variables.tenant_id.sql_type} NOT NULL,\n"
            "    id uuid NOT NULL DEFAULT gen_random_uuid(),\n"
            # Of this type: vacuumlo removes objects that no column of type oid names.
            "    number oid NOT NULL,\n"
            "    made_at timestamptz NOT NULL DEFAULT now(),\n"
            "    made_in xid8 NOT NULL,\n"
            f"    PRIMARY KEY ({tenant}, id)\n"
            ")",
            "A row for each large object: whose it is.",
        )

    def _tenants_key(self) -> list[str]:
        if self.tenants is None:
            return []
        table, key = _reference(self.tenants)
        name, tenant = f"{_TABLE}_tenant_fkey", identifier(self.variables.column)
        return [
            f"ALTER TABLE {self.table_sql} DROP CONSTRAINT IF EXISTS {name}",
            explained(
                f"ALTER TABLE {self.table_sql} ADD CONSTRAINT {name}\n"
                f"    FOREIGN KEY ({tenant}) REFERENCES {table} ({key}) ON DELETE CASCADE",
                "A tenant's objects go with its row.",
            ),
        ]

    def _functions(self) -> list[str]:
        mine = (
            f"SELECT o.number INTO target FROM {self.table_sql} AS o\n"  # noqa: S608 - quoted names
            f"        WHERE o.{identifier(self.variables.column)} = "
            f"{current_tenant(self.variables)} AND o.id = $1"
        )
        bodies = (
            ("make()", "trigger", "", _MAKE),
            ("remove()", "trigger", "", _REMOVE),
            ("read(uuid, bigint, integer)", "bytea", _TARGET, f"{mine};\n    {_READ}"),
            (
                "write(uuid, bigint, bytea)",
                "boolean",
                _TARGET,
                f"{mine}\n        AND o.made_in = pg_current_xact_id();\n    {_WRITE}",
            ),
            ("size(uuid)", "bigint", _MEASURED, f"{mine};\n    {_SIZE}"),
        )
        return [statement for each in bodies for statement in self._function(*each)]

    def _function(self, signature: str, returns: str, declared: str, body: str) -> list[str]:
        function = self.function_sql(signature)
        names = self.variables
        apps = f"{identifier(names.runtime_role)}, {identifier(names.system_role)}"
        declare = f"DECLARE\n    {declared}\n" if declared else ""
        created = (
            f"CREATE OR REPLACE FUNCTION {function} RETURNS {returns}\n"
            "    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER\n"
            "    SET search_path = pg_catalog, pg_temp\n"
            f"    AS {DOLLAR}\n{declare}BEGIN\n    {body}\nEND\n{DOLLAR}"
        )
        statements = [
            created,
            f"ALTER FUNCTION {function} OWNER TO {identifier(names.owner_role)}",
            f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC, {apps}",
        ]
        if returns != "trigger":
            runtime = identifier(names.runtime_role)
            statements.append(f"GRANT EXECUTE ON FUNCTION {function} TO {runtime}")
        return statements

    def _trigger(self, verb: str, when: str) -> list[str]:
        name = f"large_object_{verb}"
        created = (
            f"CREATE TRIGGER {name} {when} ON {self.table_sql}\n"
            f"    FOR EACH ROW EXECUTE FUNCTION {self.function_sql(verb)}()"
        )
        return [
            f"DROP TRIGGER IF EXISTS {name} ON {self.table_sql}",
            created,
            # ALWAYS: session_replication_role = replica must not pass it by.
            f"ALTER TABLE {self.table_sql} ENABLE ALWAYS TRIGGER {name}",
        ]


# Whatever was inserted is replaced: a number of the caller's choosing would open what it names.
_MAKE: Final = """\
NEW.id := gen_random_uuid();
    NEW.number := lo_create(0);
    NEW.made_at := now();
    NEW.made_in := pg_current_xact_id();
    RETURN NEW;"""

_REMOVE: Final = """\
IF EXISTS (SELECT FROM pg_largeobject_metadata AS m WHERE m.oid = OLD.number) THEN
        PERFORM lo_unlink(OLD.number);
    END IF;
    RETURN NULL;"""


_NONE: Final = """\
IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    """

_READ: Final = f"{_NONE}RETURN lo_get(target, $2, $3);"

_WRITE: Final = f"{_NONE}PERFORM lo_put(target, $2, $3);\n    RETURN true;"

# INV_READ and SEEK_END of libpq-fs.h. Closed again: whoever knows the number of an open one may
# read on, and they count from nought.
_SIZE: Final = f"""\
{_NONE}opened := lo_open(target, 262144);
    bytes := lo_lseek64(opened, 0, 2);
    PERFORM lo_close(opened);
    RETURN bytes;"""


def _reference(text: str) -> tuple[str, str]:
    table, _, key = text.rpartition(".")
    name = TableName.parse(table, "public")
    TableName(name.schema, key).checked()
    return name.sql, identifier(key)
