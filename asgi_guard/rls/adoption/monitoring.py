"""Policies that let everything through and write down what they would hide."""

from __future__ import annotations

from typing import Final

from asgi_guard.rls.adoption.reading import FoundTable
from asgi_guard.rls.adoption.spec import Adoption
from asgi_guard.rls.adoption.steps import Action, Check, Step
from asgi_guard.rls.ddl.functions import current_tenant
from asgi_guard.rls.ddl.names import DOLLAR, TableName, identifier, literal
from asgi_guard.rls.variables import RLSVariables

__all__ = [
    "MONITOR",
    "clear_query",
    "drop_tools",
    "hidden_check",
    "hidden_query",
    "monitor_policy",
    "monitor_step",
    "monitor_tools",
]

MONITOR: Final = "asgi_guard_monitor"
_MOST: Final = 8 * 1024 * 1024  # bytes of findings, after which none is written
_MEMORY: Final = "asgi_guard.monitored"


def monitor_tools(variables: RLSVariables) -> list[str]:
    """Make the table of findings and the function that writes to it.

    Once per transaction, table and kind, for the first row; a transaction that may not write
    leaves a line in the server's log instead. It never fails and never says no.
    """
    schema, findings = identifier(variables.schema), _findings(variables)
    function = f"{schema}.monitor_crossing(oid, text)"
    return [
        (
            f"CREATE UNLOGGED TABLE IF NOT EXISTS {findings} (\n"
            "    at timestamptz NOT NULL DEFAULT now(), relation text NOT NULL,\n"
            "    kind text NOT NULL, login text NOT NULL, application text, statement text)"
        ),
        f"REVOKE ALL ON TABLE {findings} FROM PUBLIC",
        (
            f"CREATE OR REPLACE FUNCTION {schema}.monitor_crossing(relation oid, bound text)\n"
            "    RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER\n"
            f"    SET search_path = pg_catalog, pg_temp AS {DOLLAR}\n"
            "DECLARE\n"
            f"    told text := COALESCE(current_setting({literal(_MEMORY)}, true), '');\n"
            "    kind text := CASE WHEN bound IS NULL THEN 'unbound' ELSE 'foreign' END;\n"
            "    mark text := kind || relation || ';';\n"
            "BEGIN\n"
            "    IF strpos(told, mark) > 0 THEN\n"
            "        RETURN true;\n"
            "    END IF;\n"
            f"    PERFORM set_config({literal(_MEMORY)}, told || mark, true);\n"
            "    IF current_setting('transaction_read_only') = 'on' THEN\n"
            "        RAISE LOG 'asgi_guard monitor: % row of %', kind, relation::regclass;\n"
            "        RETURN true;\n"
            "    END IF;\n"
            # A block of its own: one that catches errors costs a subtransaction each time.
            "    BEGIN\n"
            f"        IF pg_relation_size({literal(findings)}::regclass) < {_MOST} THEN\n"
            f"            INSERT INTO {findings} (relation, kind, login, application, statement)\n"
            "            VALUES (relation::regclass::text, kind, session_user,\n"
            "                current_setting('application_name'), left(current_query(), 500));\n"
            "        END IF;\n"
            "    EXCEPTION WHEN OTHERS THEN\n"
            "        RAISE LOG 'asgi_guard monitor: %', SQLERRM;\n"
            "    END;\n"
            "    RETURN true;\n"
            f"END\n{DOLLAR}"
        ),
        f"GRANT EXECUTE ON FUNCTION {function}, {current_tenant(variables)} TO PUBLIC",
    ]


def drop_tools(variables: RLSVariables) -> list[str]:
    """Take the tools away, once no policy asks them; the findings go with them."""
    return [
        f"DROP FUNCTION IF EXISTS {identifier(variables.schema)}.monitor_crossing(oid, text)",
        f"REVOKE EXECUTE ON FUNCTION {current_tenant(variables)} FROM PUBLIC",
        f"DROP TABLE IF EXISTS {_findings(variables)}",
    ]


def monitor_policy(name: TableName, variables: RLSVariables) -> list[str]:
    """Make the policy: a row of the bound tenant costs a comparison, any other is told once."""
    column, bound = identifier(variables.column), f"(SELECT {current_tenant(variables)})"
    crossing = f"{identifier(variables.schema)}.monitor_crossing(tableoid, {bound}::text)"
    rule = f"COALESCE({column} = {bound}, false) OR {crossing}"
    return [
        f"DROP POLICY IF EXISTS {MONITOR} ON {name.sql}",
        (
            f"CREATE POLICY {MONITOR} ON {name.sql} FOR ALL TO PUBLIC\n"
            f"    USING ({rule})\n    WITH CHECK ({rule})"
        ),
        # FORCE: yesterday's app may be the owner, whom policies pass by otherwise.
        f"ALTER TABLE {name.sql} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    ]


def monitor_step(found: FoundTable, adoption: Adoption) -> Step:
    """Watch one table; taken back, row security is as it was."""
    table, (enabled, forced) = found.name.sql, found.secured
    was = (
        f"{'ENABLE' if enabled else 'DISABLE'} ROW LEVEL SECURITY, "
        f"{'FORCE' if forced else 'NO FORCE'} ROW LEVEL SECURITY"
    )
    return Step(
        "monitor",
        str(found.name),
        "write down what policies would hide, and hide nothing",
        (Action(tuple(monitor_policy(found.name, adoption.variables))),),
        (Action((f"ALTER TABLE {table} {was}", f"DROP POLICY IF EXISTS {MONITOR} ON {table}")),),
    )


def hidden_check(name: TableName, variables: RLSVariables) -> Check:
    """Refuse to enforce while the monitor has something to tell of the table."""
    return Check(
        f"SELECT count(*) FROM {_findings(variables)} "
        f"WHERE to_regclass(relation) = to_regclass({literal(name.sql)})",
        "statements were seen that policies would hide rows from. Look at the report, mend the "
        "app, clear the findings, and run again",
    )


def hidden_query(variables: RLSVariables) -> str:
    """Return the query of the report: what was seen, most often first."""
    return (
        "SELECT relation, kind, login, application, statement, count(*) AS times, max(at) AS last "
        f"FROM {_findings(variables)} GROUP BY 1, 2, 3, 4, 5 ORDER BY times DESC LIMIT 100"
    )


def clear_query(variables: RLSVariables) -> str:
    """Return the statement that forgets what was seen."""
    return f"TRUNCATE {_findings(variables)}"


def _findings(variables: RLSVariables) -> str:
    return f"{identifier(variables.schema)}.monitor_findings"
