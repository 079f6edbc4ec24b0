"""Checks of what the app's sessions start with, and of what its role owns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from asgi_guard.rls.catalog.facts import Owned, Preset
from asgi_guard.rls.catalog.finding import Finding, make, script
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.ddl.names import identifier

__all__ = ["owned", "presets", "settings"]

# What each must be, and what follows when it is not.
_SAFE: Final = {
    "row_security": ("on", "guarded tables answer with errors, and BYPASSRLS will be the mend"),
    "session_replication_role": ("origin", "foreign keys and triggers are not checked"),
    "lo_compat_privileges": ("off", "every large object is readable and writable by every role"),
    "standard_conforming_strings": ("on", "a backslash in a value ends its quotes: injection"),
    "transform_null_equals": ("off", "`= NULL` finds rows that have no tenant"),
}
_LOADED: Final = frozenset({"session_preload_libraries", "local_preload_libraries"})
_ALTERED: Final = {
    "foreign-data wrapper": "FOREIGN DATA WRAPPER",
    "statistics object": "STATISTICS",
}


def presets(scope: AuditScope) -> Iterator[Finding]:
    """No session starts with a tenant bound, as another role, or with a protection off."""
    variables = scope.inventory.variables
    for preset in scope.snapshot.presets:
        why = ""
        if preset.name in {variables.setting, variables.user_setting}:
            code = "tenant_preset"
            why = (
                f"Every new session has {preset.name} set, so a transaction that nobody bound "
                "still reads a tenant's rows."
            )
        elif preset.name in {"role", "session_authorization"}:
            code, why = "role_preset", f"Every new session starts as {preset.value}."
        elif preset.name == "row_security" and preset.value.lower() not in {"on", "true", "1"}:
            code, why = "row_security_preset", f"In each new session {_SAFE['row_security'][1]}."
        elif preset.name in _LOADED:
            code, why = "setting_unsafe", f"Each new session runs code of {preset.value}."
        elif preset.name == "search_path" and _shadowed(preset.value):
            code = "search_path_shadowed"
            why = f"Names are looked for in {preset.value}: an object there hides a built-in's."
        elif preset.name in _SAFE and preset.name != "row_security":
            safe, consequence = _SAFE[preset.name]
            code = "setting_unsafe"
            why = "" if preset.value.lower() == safe else f"In each new session {consequence}."
        if why:
            named = preset.role or preset.database or "ALL"
            yield make(code, named, why, f"ALTER {_holder(preset)} RESET {preset.name};")


def settings(scope: AuditScope) -> Iterator[Finding]:
    """The server's own configuration switches no protection off."""
    preset = {each.name for each in scope.snapshot.presets}
    for name, (safe, consequence) in _SAFE.items():
        value = scope.snapshot.settings.get(name)
        if value in {None, safe} or name in preset:
            continue
        yield make(
            "setting_unsafe",
            name,
            f"It is {value}: {consequence}.",
            f"ALTER SYSTEM RESET {name};\nSELECT pg_reload_conf();\n"
            "-- Unless the app's URL or a configuration file sets it: take it out there.",
        )


def owned(scope: AuditScope) -> Iterator[Finding]:
    """The app's role owns nothing beside what other checks name."""
    known = {*scope.guarded, *scope.children()}
    tables = {str(relation.name) for relation in known}
    declared = (*scope.inventory.shared, *scope.inventory.system_only)
    tables |= {str(name) for name in declared}
    helper = f"{identifier(scope.inventory.variables.schema)}.current_"
    for each in scope.snapshot.owned:
        if each.type == "database" or f"{each.schema}.{each.name}" in tables:
            continue
        if each.type == "function" and each.identity.startswith(helper):
            continue
        yield make(
            "role_owns",
            f"{each.type} {each.identity}",
            f"The app's role {each.owner} owns it, so injected SQL may replace, drop or grant it.",
            script(_handed_over(scope, each)),
        )


def _handed_over(scope: AuditScope, each: Owned) -> list[str]:
    variables = scope.inventory.variables
    kind = _ALTERED.get(each.type, each.type.upper())
    statements = [f"ALTER {kind} {each.identity} OWNER TO {identifier(variables.owner_role)}"]
    # What an owner may do without a grant is lost with the ownership.
    rights = {
        "table": "SELECT, INSERT, UPDATE, DELETE ON TABLE",
        "view": "SELECT ON TABLE",
        "materialized view": "SELECT ON TABLE",
        "foreign table": "SELECT ON TABLE",
        "sequence": "USAGE ON SEQUENCE",
        "schema": "USAGE ON SCHEMA",
        "function": "EXECUTE ON FUNCTION",
        "procedure": "EXECUTE ON PROCEDURE",
        "type": "USAGE ON TYPE",
    }.get(each.type)
    if rights:
        runtime = identifier(variables.runtime_role)
        statements.append(f"GRANT {rights} {each.identity} TO {runtime}")
    return statements


def _shadowed(path: str) -> bool:
    """Tell whether the server's own schema is named, and not first (section 5.10.5)."""
    names = [name.strip().strip('"') for name in path.split(",")]
    return "pg_catalog" in names[1:]


def _holder(preset: Preset) -> str:
    if preset.role is None:
        return "ROLE ALL" if preset.database is None else f"DATABASE {identifier(preset.database)}"
    where = "" if preset.database is None else f" IN DATABASE {identifier(preset.database)}"
    return f"ROLE {identifier(preset.role)}{where}"
