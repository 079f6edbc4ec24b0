"""Every code that a finding may carry, in one table.

``docs/catalog-audit.md`` is made from it, and no finding has a code that is not here.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

__all__ = ["CODES", "Code", "Severity"]

Severity = Literal["error", "warning"]


class Code(NamedTuple):
    """What one code means.

    Args:
        name: Stable; what operators search for.
        severity: ``"error"`` keeps the app from starting. Where it is followed by another, the
            lesser one is for objects that the app cannot reach.
        about: What kind of object it names, a heading of the page.
        meaning: One sentence.
    """

    name: str
    severity: Severity
    about: str
    meaning: str


_ROLE: Final = "The connected role"
_HELPER: Final = "The function that policies ask"
_TABLE: Final = "Tables and their tenant column"
_KEY: Final = "Keys and indexes"
_POLICY: Final = "Policies"
_GRANT: Final = "Grants"
_VIEW: Final = "Views, rules, functions"
_AROUND: Final = "Ways around tables"
_PROBE: Final = "Tried, not read"

_TABLE_OF_CODES: Final[tuple[Code, ...]] = (
    Code("role_missing", "error", _ROLE, "one of the three roles does not exist"),
    Code("role_unexpected", "error", _ROLE, "the app connects as a role without policies"),
    Code("role_superuser", "error", _ROLE, "no policy is ever asked"),
    Code("role_bypasses_rls", "error", _ROLE, "no policy is ever asked"),
    Code("role_creates_roles", "error", _ROLE, "it can make itself a member of other roles"),
    Code("role_replicates", "error", _ROLE, "it can stream every tenant's changes"),
    Code("role_creates_databases", "warning", _ROLE, "it owns whatever database it makes"),
    Code("role_session_differs", "error", _ROLE, "it logged in as another; `RESET ROLE` undoes it"),
    Code(
        "role_can_become", "error", _ROLE, "it is a member, over any number of hops, of a role "
        "that stands above policies or reads the host's files",
    ),
    Code("role_member", "warning", _ROLE, "it is a member of a further role, whose rights it has"),
    Code(
        "activity_exposed", "error", _ROLE, "through `pg_monitor` or `pg_read_all_stats` it reads "
        "other sessions' statements, and what is sealed in them",
    ),
    Code(
        "role_predefined", "warning", _ROLE, "it is a member of another `pg_…` role, made for "
        "operators",
    ),
    Code("role_owns", "error", _ROLE, "it owns an object, and can replace or drop it"),
    Code("owner_role_strong", "error", _ROLE, "the owner role bypasses policies or can log in"),
    Code("system_role_strong", "error", _ROLE, "the system role can do more than its policies say"),
    Code("tenant_preset", "error", _ROLE, "sessions start with a tenant bound (`ALTER … SET`)"),
    Code("role_preset", "error", _ROLE, "sessions start as another role (`ALTER … SET role`)"),
    Code(
        "row_security_preset", "error", _ROLE, "sessions start with `row_security = off`: every "
        "statement fails, and somebody will mend that with BYPASSRLS",
    ),
    Code(
        "setting_unsafe", "error", _ROLE, "a setting that switches a protection off: "
        "`session_replication_role`, `lo_compat_privileges`, `standard_conforming_strings`, …",
    ),
    Code("search_path_shadowed", "error", _ROLE, "a preset search path looks elsewhere first"),
    Code("helper_unusable", "error", _HELPER, "the app may not call it: every statement fails"),
    Code("helper_missing", "error", _HELPER, "it does not exist"),
    Code("helper_owned", "error", _HELPER, "the app's role owns it"),
    Code("helper_owner", "error", _HELPER, "another than the owner role can replace it"),
    Code("helper_schema_owner", "error", _HELPER, "another than the owner role owns its schema"),
    Code("helper_body", "error", _HELPER, "it answers something else than the bound id (sealed: "
         "than the one that was signed for)"),
    Code("helper_definer", "error", _HELPER, "it runs with its owner's rights (sealed: does not)"),
    Code("helper_volatility", "error", _HELPER, "it is VOLATILE, asked per row, or IMMUTABLE, "
         "asked once and remembered"),
    Code("helper_settings", "error", _HELPER, "it runs under settings of its own"),
    Code("helper_language", "error", _HELPER, "it is not an SQL-standard function body, whose names"
         " are resolved once"),
    Code("helper_type", "error", _HELPER, "it returns another type than tenant ids have"),
    Code("helper_attributes", "error", _HELPER, "it is LEAKPROOF, STRICT or not PARALLEL SAFE"),
    Code("table_owned", "error", _TABLE, "the app's role owns it and can switch policies off"),
    Code("table_owner", "warning", _TABLE, "another than the owner role owns it"),
    Code("table_missing", "warning", _TABLE, "it was declared, and is not in the database"),
    Code("table_undeclared", "error", _TABLE, "the app reaches a table that nobody declared"),
    Code("rls_disabled", "error", _TABLE, "policies exist on paper"),
    Code("rls_not_forced", "error", _TABLE, "its owner, and what runs as it, sees every row"),
    Code("tenant_column_missing", "error", _TABLE, "a guarded table has no tenant column"),
    Code("tenant_column_nullable", "error", _TABLE, "rows of nobody, whose keys are not checked"),
    Code("tenant_column_type", "error", _TABLE, "domains, `citext`, `char(n)`: two ids may be one"),
    Code("tenant_column_collation", "error", _TABLE, "a nondeterministic collation: two ids may be "
         "one"),
    Code("tenant_column_default", "warning", _TABLE, "it is not the bound tenant by default"),
    Code("tenant_column_generated", "error", _TABLE, "it is computed from other columns"),
    Code("shared_has_tenant", "warning", _TABLE, "a table declared as shared has a tenant column"),
    Code("partition_unprotected", "error", _TABLE, "a child has no policies of its own"),
    Code("parent_unprotected", "error", _TABLE, "a parent shows a guarded table's rows"),
    Code("index_missing", "warning", _KEY, "no B-tree index leads with the tenant"),
    Code("unique_without_tenant", "error", _KEY, "one tenant learns what another has"),
    Code("exclusion_without_tenant", "error", _KEY, "the same, of an exclusion constraint"),
    Code("unique_loose", "error", _KEY, "the tenant is in the key, compared loosely"),
    Code("foreign_key_without_tenant", "error", _KEY, "it points, and cascades, across tenants"),
    Code("foreign_key_clears_tenant", "error", _KEY, "deleting the other row clears the tenant"),
    Code("foreign_key_unchecked", "warning", _KEY, "disabled, not enforced, or not validated"),
    Code("policy_missing", "error", _POLICY, "none applies to the app's role"),
    Code("policy_commands", "error", _POLICY, "a command has none"),
    Code("policy_not_restrictive", "warning", _POLICY, "no restrictive twin holds what is added"),
    Code("policy_open", "error", _POLICY, "`true`, or another constant"),
    Code("policy_check_missing", "warning", _POLICY, "WITH CHECK is left to follow USING"),
    Code("policy_check_weaker", "error", _POLICY, "WITH CHECK lets in what USING does not show"),
    Code("policy_other_column", "error", _POLICY, "it compares another column"),
    Code("policy_inverted", "error", _POLICY, "`<>`, `NOT`, `IS DISTINCT FROM`"),
    Code("policy_prefix", "error", _POLICY, "LIKE, a regular expression, part of an id"),
    Code("policy_or_null", "error", _POLICY, "OR … IS NULL"),
    Code("policy_or_setting", "error", _POLICY, "a setting of another name opens it"),
    Code("policy_or_flag", "error", _POLICY, "OR, with a flag of the row or of the role"),
    Code("policy_default_tenant", "error", _POLICY, "no tenant stands for some tenant"),
    Code("policy_trusts_writable", "error", _POLICY, "it asks a table that the app can write"),
    Code("policy_reads_table", "error", _POLICY, "it asks another table"),
    Code("policy_operator", "error", _POLICY, "its operator, type or collation is no built-in"),
    Code("policy_function", "error", _POLICY, "it calls another function"),
    Code("policy_unrecognised", "error", _POLICY, "it is not the tenant comparison"),
    Code("system_policy_missing", "warning", _POLICY, "the system role sees no row of it"),
    Code("policy_for_owner", "error", _POLICY, "it lets the owner past FORCE"),
    Code("policy_on_system_table", "error", _POLICY, "a system table has a policy for the app"),
    Code("grant_excessive", "error", _GRANT, "`TRUNCATE`, `REFERENCES`, `TRIGGER`, `MAINTAIN`, or "
         "rights on shared and system tables"),
    Code("grant_public", "warning", _GRANT, "PUBLIC was granted: every role of the server"),
    Code("grant_option", "error", _GRANT, "the app may hand its rights on"),
    Code("grant_default", "error", _GRANT, "new objects are granted as they are made"),
    Code("schema_create", "error", _GRANT, "the app, or PUBLIC, may create objects in a schema"),
    Code("database_create", "error", _GRANT, "the app, or PUBLIC, may create schemas"),
    Code("database_owned", "error", _GRANT, "the app owns the database"),
    Code("sequence_granted", "warning", _GRANT, "more than `USAGE`: counts are read, or reset"),
    Code("parameter_granted", "error", _GRANT, "the app may set a superuser's parameter"),
    Code("catalog_granted", "error", _GRANT, "rights on a system table or function"),
    Code("view_definer", "error", _VIEW, "a view reads guarded tables as its owner"),
    Code("view_materialized", "error", _VIEW, "it keeps every tenant's rows, without policies"),
    Code("view_exposes_catalog", "error", _VIEW, "a view shows system tables kept from the app"),
    Code("rule_unexpected", "error", _VIEW, "a rule rewrites statements with its owner's rights"),
    Code("function_definer", "error", _VIEW, "the app calls or fires a SECURITY DEFINER function"),
    Code("function_search_path", "error", _VIEW, "such a function looks names up in a path that "
         "the caller sets"),
    Code(
        "function_leakproof",
        "error",
        _VIEW,
        "a function is marked LEAKPROOF: it is asked about other tenants' rows, before the policy",
    ),
    Code("function_untrusted", "error", _VIEW, "the app calls code that no sandbox holds"),
    Code("function_reaches_out", "error", _VIEW, "an extension's function opens other connections"),
    Code("catalog_tampered", "error", _VIEW, "an object stands in `pg_catalog`, or is not as "
         "shipped"),
    Code("foreign_table", "error", _AROUND, "rows of another server, without policies"),
    Code("foreign_server_usable", "warning", _AROUND, "the app may make foreign objects on it"),
    Code("user_mapping", "warning", _AROUND, "the app has a login on another server"),
    Code("publication", "warning", _AROUND, "rows of every tenant are streamed"),
    Code("large_object", "warning", _AROUND, "the app reads it for whichever tenant"),
    Code("probe_rows_visible", "error", _PROBE, "without a tenant, or as one without rows: a row "
         "came"),
    Code("probe_insert_crosses", "error", _PROBE, "another tenant's row got past the policy"),
    Code("probe_not_enforced", "error", _PROBE, "under `row_security = off` it answered"),
    Code("seal_refused", "error", _PROBE, "what this app signs is not believed: key or clock"),
    Code("seal_not_enforced", "error", _PROBE, "a tenant that nobody signed for was believed"),
    Code("probe_timeout", "warning", _PROBE, "no answer in 5 s where no row may be: locked, or no "
         "index leads with the tenant"),
)  # fmt: skip

CODES: Final = {code.name: code for code in _TABLE_OF_CODES}
