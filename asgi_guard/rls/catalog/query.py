"""The one query that reads the catalog, as the role that the app connects as.

One statement sees one state of the catalog: a check that asked twice could be told two halves of
two deployments. Every function is named with its schema, for the role's search path is not ours.
"""

from __future__ import annotations

from asgi_guard.rls.catalog import query_grants, query_objects, query_relations
from asgi_guard.rls.ddl.names import literal
from asgi_guard.rls.variables import RLSVariables

__all__ = ["catalog_query"]


def catalog_query(variables: RLSVariables) -> str:
    """Return the query; it gives one row with one JSON value, read by `Snapshot.parse`.

    Args:
        variables: Names that the sections look for.
    """
    sections = {
        **_roles(variables),
        **query_relations.sections(),
        **query_objects.sections(variables),
        **query_grants.sections(),
    }
    listed = ",\n".join(f"    '{name}', ({body})" for name, body in sections.items())
    return f"""\
WITH RECURSIVE
reachable (role) AS (
    SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user
    UNION
    SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN reachable r ON m.member = r.role
),
{query_relations.tables(variables)}
SELECT pg_catalog.json_build_object(
{listed}
)::text"""


def _roles(variables: RLSVariables) -> dict[str, str]:
    ours = ", ".join(
        literal(role)
        for role in (variables.owner_role, variables.runtime_role, variables.system_role)
    )
    return {
        "version": "SELECT pg_catalog.current_setting('server_version_num')::int",
        "role": "SELECT current_user",
        "session": "SELECT session_user",
        "settings": _SETTINGS,
        "roles": f"""SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', rolname, 'superuser', rolsuper, 'bypass_rls', rolbypassrls,
            'create_role', rolcreaterole, 'create_db', rolcreatedb, 'login', rolcanlogin,
            'replication', rolreplication, 'bootstrap', oid = 10))
        FROM pg_catalog.pg_roles
        WHERE oid IN (SELECT role FROM reachable) OR rolname IN ({ours})""",
        "edges": _EDGES,
        "presets": _PRESETS,
    }


_SETTINGS = """SELECT pg_catalog.json_object_agg(name, pg_catalog.current_setting(name, true))
        FROM pg_catalog.unnest(ARRAY['row_security', 'session_replication_role',
            'lo_compat_privileges', 'standard_conforming_strings',
            'transform_null_equals']) AS name"""

_EDGES = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'member', pg_catalog.pg_get_userbyid(member),
            'role', pg_catalog.pg_get_userbyid(roleid),
            'grantor', pg_catalog.pg_get_userbyid(grantor)) ORDER BY member, roleid), '[]')
        FROM pg_catalog.pg_auth_members WHERE member IN (SELECT role FROM reachable)"""

_PRESETS = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'role', r.rolname, 'database', d.datname, 'name', p.name, 'value', p.value)), '[]')
        FROM pg_catalog.pg_db_role_setting s
        CROSS JOIN LATERAL (
            SELECT pg_catalog.lower(pg_catalog.split_part(entry, '=', 1)) AS name,
                pg_catalog.substr(entry, pg_catalog.strpos(entry, '=') + 1) AS value
            FROM pg_catalog.unnest(s.setconfig) AS entry) p
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
        LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
        WHERE (s.setrole = 0 OR s.setrole IN (SELECT role FROM reachable))
          AND (s.setdatabase = 0 OR d.datname = pg_catalog.current_database())"""
