"""The tables of a log in PostgreSQL, and who may do what there.

==============  =================================================================================
Role            May
==============  =================================================================================
runtime         read and append rows of the bound tenant (row-level security, forced)
writer          read and append all rows, and checkpoints; it is nobody's login but the log's; with
                ``keep_days``, delete rows that are older, which the trigger checks for each
owner           own the tables; even it is stopped by the trigger from changing a row
everybody else  nothing
==============  =================================================================================

A superuser can switch the trigger off. That is what signatures and kept checkpoints are for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from asgi_guard.errors import ConfigError

__all__ = ["AuditTables"]

_IDENTIFIER: Final = re.compile(r"[a-z_][a-z0-9_]{0,50}")
_FUNCTION: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}")
_TYPES: Final = frozenset({"uuid", "text", "bigint", "integer"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTables:
    """Names; the defaults fit those of `asgi_guard.rls.RLSVariables`.

    Args:
        schema: Where the tables live.
        table: Of the records.
        checkpoints: Table of the checkpoints.
        owner_role: Role that owns both; must exist.
        runtime_role: Role that the app connects as; must exist.
        writer_role: Role of the log's own connections; made as NOLOGIN when missing.
        tenant_function: Function that gives the tenant bound to the transaction.
        tenant_type: SQL type of tenant ids.
        keep_days: Days after which records may be deleted, and are by the log itself; None keeps
            all. Run the statements again after a change: the database holds the log to it.

    Raises:
        ConfigError: A name is not a plain lower-case identifier, or two roles are one.
    """

    schema: str = "public"
    table: str = "audit_logs"
    checkpoints: str = "audit_checkpoints"
    owner_role: str = "app_owner"
    runtime_role: str = "app_runtime"
    writer_role: str = "app_audit"
    tenant_function: str = "asgi_guard.current_tenant"
    tenant_type: str = "uuid"
    keep_days: int | None = None

    def __post_init__(self) -> None:
        """Refuse any name that would have to be quoted: DDL takes no bind parameters."""
        roles = (self.owner_role, self.runtime_role, self.writer_role)
        for name in (self.schema, self.table, self.checkpoints, *roles):
            if not _IDENTIFIER.fullmatch(name):
                raise ConfigError("AuditTables", f"{name!r} is no name", "Use a-z, 0-9 and _.")
        if not _FUNCTION.fullmatch(self.tenant_function):
            raise ConfigError(
                "AuditTables.tenant_function", f"{self.tenant_function!r}", "Use schema.name."
            )
        if self.tenant_type not in _TYPES:
            raise ConfigError(
                "AuditTables.tenant_type", f"{self.tenant_type!r}", f"Use one of {sorted(_TYPES)}."
            )
        if self.keep_days is not None and (type(self.keep_days) is not int or self.keep_days < 1):
            raise ConfigError(
                "AuditTables.keep_days", f"{self.keep_days!r}", "Use 1 or more, or None."
            )
        if len(set(roles)) < len(roles):
            raise ConfigError("AuditTables", "two roles are one", "Use a role for each purpose.")

    @property
    def records_sql(self) -> str:
        """The qualified name of the records' table."""
        return f"{self.schema}.{self.table}"

    @property
    def checkpoints_sql(self) -> str:
        """The qualified name of the checkpoints' table."""
        return f"{self.schema}.{self.checkpoints}"

    @property
    def accepted(self) -> dict[tuple[str, str], str]:
        """What the catalog audit says of the records' table, and why that is as it should be.

        ``tenant_policies(Base.metadata, accept=AuditTables().accepted)``
        """
        return {
            ("tenant_column_nullable", self.records_sql): (
                "an event without a tenant is the log's own; no tenant's policy shows it"
            ),
            ("unique_without_tenant", f"{self.records_sql}.{self.table}_pkey"): (
                "positions are given by the database alone (GENERATED ALWAYS)"
            ),
            ("unique_without_tenant", f"{self.records_sql}.{self.table}_chain_seq_key"): (
                "a chain is its tenant, by a CHECK"
            ),
        }

    def statements(self) -> list[str]:
        """Return the DDL in order, without semicolons; safe to run again.

        Run it as an administrator, in one transaction, after the roles and the tenant function
        are there: ``tenant_policies(...)`` makes both.
        """
        return [
            self._writer_role(),
            self._records_table(),
            self._checkpoints_table(),
            self._index("tenant", 'tenant_id, "timestamp"'),
            self._index("time", '"timestamp"'),
            *self._append_only(),
            *self._protect(self.records_sql),
            *self._protect(self.checkpoints_sql),
            *self._tenant_policies(),
            f"GRANT SELECT, INSERT ON TABLE {self.records_sql} TO {self.runtime_role}",
            f"GRANT USAGE ON SCHEMA {self.schema} TO {self.writer_role}",
        ]

    def __str__(self) -> str:
        """Return the script that ``psql`` runs, in one transaction."""
        return "BEGIN;\n\n" + "".join(f"{each};\n\n" for each in self.statements()) + "COMMIT;\n"

    def _writer_role(self) -> str:
        return f"""\
DO $asgi_guard$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{self.writer_role}') THEN
        CREATE ROLE {self.writer_role} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
END
$asgi_guard$"""

    def _records_table(self) -> str:
        return f"""\
CREATE TABLE IF NOT EXISTS {self.records_sql} (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id {self.tenant_type},
    "timestamp" timestamptz NOT NULL,
    security_event text NOT NULL,
    outcome text NOT NULL,
    reason text NOT NULL,
    user_id text,
    session_id text,
    request_id text,
    auth_method text,
    operation text,
    client text,
    trace_id text,
    details jsonb NOT NULL,
    chain text NOT NULL CHECK (chain = COALESCE(tenant_id::text, '')),
    seq bigint NOT NULL CHECK (seq > 0),
    log text NOT NULL,
    prev text NOT NULL,
    hash text NOT NULL,
    key_id text NOT NULL,
    signature text NOT NULL,
    body text NOT NULL,
    UNIQUE (chain, seq)
)"""

    def _checkpoints_table(self) -> str:
        return f"""\
CREATE TABLE IF NOT EXISTS {self.checkpoints_sql} (
    number bigint PRIMARY KEY,
    after_position bigint NOT NULL,
    line text NOT NULL
)"""

    def _index(self, name: str, columns: str) -> str:
        index = f"ix_{self.table}_{name}"
        return f"CREATE INDEX IF NOT EXISTS {index} ON {self.records_sql} ({columns})"

    def _append_only(self) -> list[str]:
        statements = self._refusal("append_only", "the audit log is append-only")
        for table, moment in (
            (self.records_sql, 'OLD."timestamp"'),
            (self.checkpoints_sql, "(OLD.line::jsonb->>'time')::timestamptz"),
        ):
            acts = (
                "UPDATE OR DELETE OR TRUNCATE" if self.keep_days is None else "UPDATE OR TRUNCATE"
            )
            statements += self._trigger(table, "append_only", f"{acts} ON {table}")
            statements.append(f"DROP TRIGGER IF EXISTS kept ON {table}")
            if self.keep_days is not None:
                young = f"{moment} > now() - interval '{self.keep_days} days'"
                statements += self._refusal("kept", "the audit log keeps this for longer")
                statements += self._trigger(
                    table, "kept", f"DELETE ON {table} FOR EACH ROW WHEN ({young})"
                )
        return statements

    def _refusal(self, name: str, message: str) -> list[str]:
        function = f"{self.schema}.{self.table}_{name}"
        return [
            f"""\
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog AS $asgi_guard$
BEGIN
    RAISE EXCEPTION '{message}' USING ERRCODE = 'insufficient_privilege';
END
$asgi_guard$""",
            f"ALTER FUNCTION {function}() OWNER TO {self.owner_role}",
        ]

    def _trigger(self, table: str, name: str, when: str) -> list[str]:
        return [
            f"DROP TRIGGER IF EXISTS {name} ON {table}",
            f"""\
CREATE TRIGGER {name} BEFORE {when}
    EXECUTE FUNCTION {self.schema}.{self.table}_{name}()""",
            # ALWAYS: session_replication_role = replica must not pass it by.
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}",
        ]

    def _protect(self, table: str) -> list[str]:
        roles = f"{self.runtime_role}, {self.writer_role}"
        may = "SELECT, INSERT" if self.keep_days is None else "SELECT, INSERT, DELETE"
        return [
            f"ALTER TABLE {table} OWNER TO {self.owner_role}",
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            f"REVOKE ALL ON TABLE {table} FROM PUBLIC, {roles}",
            f"GRANT {may} ON TABLE {table} TO {self.writer_role}",
            f"DROP POLICY IF EXISTS audit_writer ON {table}",
            f"""\
CREATE POLICY audit_writer ON {table} AS PERMISSIVE FOR ALL TO {self.writer_role}
    USING (true) WITH CHECK (true)""",
        ]

    def _tenant_policies(self) -> list[str]:
        rule = f"tenant_id = (SELECT {self.tenant_function}())"
        statements = []
        kinds = (("tenant_isolation_strict", "RESTRICTIVE"), ("tenant_isolation", "PERMISSIVE"))
        for name, kind in kinds:
            statements += [
                f"DROP POLICY IF EXISTS {name} ON {self.records_sql}",
                f"""\
CREATE POLICY {name} ON {self.records_sql} AS {kind} FOR ALL TO {self.runtime_role}
    USING ({rule}) WITH CHECK ({rule})""",
            ]
        return statements
