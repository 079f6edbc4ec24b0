"""Checks of functions that the app calls or fires: whose rights they run with, and in what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from asgi_guard.rls.catalog.facts import Function
from asgi_guard.rls.catalog.finding import Finding, make, script
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.ddl.names import identifier

__all__ = ["functions", "leakproof", "tampered"]

# Extensions whose functions open connections, run programs or schedule statements as another.
_REACHING: Final = frozenset(
    {"adminpack", "aws_lambda", "aws_s3", "dblink", "http", "oracle_fdw", "pg_background",
     "pg_cron", "pg_net", "plsh", "tds_fdw"}
)  # fmt: skip


def functions(scope: AuditScope) -> Iterator[Finding]:
    """The app runs nothing with another's rights, and no code that the server cannot hold."""
    variables = scope.inventory.variables
    helpers = {"current_tenant", "current_user_id"}
    for each in scope.snapshot.functions:
        if each.schema == variables.schema and each.name in helpers:
            continue  # judged to the letter, elsewhere
        if each.definer and each.owner not in scope.selves:
            yield _definer(each)
            if not _pinned(each):
                yield make(
                    "function_search_path",
                    each.signature,
                    "It runs with its owner's rights and looks names up where the caller says: a "
                    "temporary table of the caller's stands in front of the one it means.",
                    f"ALTER ROUTINE {each.signature} SET search_path = pg_catalog, pg_temp;\n"
                    "-- Names of tables in its body then need their schema.",
                )
        if each.extension in _REACHING and each.executable:
            yield make(
                "function_reaches_out",
                each.signature,
                f"Through {each.extension} a statement opens a connection of its own, as whoever "
                "it can log in as, and no policy here sees it.",
                script(_revoked(scope, each)),
            )
        elif not each.trusted and each.extension is None:
            yield make(
                "function_untrusted",
                each.signature,
                f"Code in {each.language} does what the server's account may: files, memory, "
                "network.",
                script(_revoked(scope, each)),
            )


def leakproof(scope: AuditScope) -> Iterator[Finding]:
    """No function is promised to tell nothing, but by the server's own authors."""
    helpers = f"{identifier(scope.inventory.variables.schema)}.current_"
    for signature in scope.snapshot.leakproof:
        if signature.startswith(helpers):
            continue  # judged to the letter, elsewhere
        built_in = signature.startswith("pg_catalog.")
        yield make(
            "function_leakproof",
            signature,
            "It is asked about rows before the policy is: its errors, notices and duration tell "
            "about other tenants' rows.",
            f"ALTER FUNCTION {signature} NOT LEAKPROOF;",
            severity="warning" if built_in else None,
        )


def tampered(scope: AuditScope) -> Iterator[Finding]:
    """Nothing stands in the server's own schema that the server did not put there."""
    for each in scope.snapshot.tampered:
        shipped = each.type == "function" and each.identity.split("(")[0].startswith("pg_catalog.")
        remedy = f"DROP {each.type.upper()} {each.identity};"
        if each.type == "cast":
            remedy = f"DROP CAST {each.identity};"
        elif shipped:
            remedy = (
                f"DROP FUNCTION {each.identity};\n"
                "-- If PostgreSQL says that it is required, a built-in was replaced: dump, make a "
                "new cluster, restore."
            )
        yield make(
            "catalog_tampered",
            f"{each.type} {each.identity}",
            "It is found before every name of ours, or is a built-in no more: what a policy "
            "compares may be decided by it.",
            remedy,
        )


def _definer(each: Function) -> Finding:
    how = "fires" if each.fires and not each.executable else "calls"
    return make(
        "function_definer",
        each.signature,
        f"What the app {how} runs as {each.owner}, whose policies, if any, are not the app's.",
        f"ALTER ROUTINE {each.signature} SECURITY INVOKER;",
    )


def _pinned(each: Function) -> bool:
    path = [one.partition("=")[2] for one in each.settings if one.startswith("search_path=")]
    if not path:
        return False
    names = [name.strip().strip('"') for name in path[0].split(",")]
    return names[-1] == "pg_temp" or names in ([""], ["pg_catalog"])


def _revoked(scope: AuditScope, each: Function) -> list[str]:
    statements = []
    if each.owner in scope.selves:
        owner = identifier(scope.inventory.variables.owner_role)
        statements.append(f"ALTER ROUTINE {each.signature} OWNER TO {owner}")
    grantees = scope.grantees((*each.grantees, *scope.selves))
    return [*statements, f"REVOKE EXECUTE ON ROUTINE {each.signature} FROM {grantees}"]
