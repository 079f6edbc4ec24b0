"""The one query that reads the catalog, as the role that the app connects as.

One statement sees one state of the catalog: a check that asked twice could be told two halves of
two deployments. Every function is named with its schema, for the role's search path is not ours.
"""

from __future__ import annotations

from asgi_guard.rls.ddl.names import literal
from asgi_guard.rls.variables import RLSVariables

__all__ = ["catalog_query"]

_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


def catalog_query(variables: RLSVariables) -> str:
    """Return the query; it gives one row with one JSON value, read by `Snapshot.parse`."""
    ours = ", ".join(
        literal(role)
        for role in (variables.owner_role, variables.runtime_role, variables.system_role)
    )
    settings = ", ".join(literal(name) for name in (variables.setting, variables.user_setting))
    return f"""\
WITH RECURSIVE
reachable (role) AS (
    SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user
    UNION
    SELECT m.roleid FROM pg_catalog.pg_auth_members m JOIN reachable r ON m.member = r.role
),
{_RELATIONS.format(column=literal(variables.column), privileges=_values(_PRIVILEGES))},
{_POLICIES}
SELECT pg_catalog.json_build_object(
    'version', pg_catalog.current_setting('server_version_num')::int,
    'role', current_user,
    'helper_owner', (
        SELECT pg_catalog.pg_get_userbyid(p.proowner) FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname = {literal(variables.schema)} AND p.proname = 'current_tenant'
          AND p.pronargs = 0),
    'roles', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', rolname, 'superuser', rolsuper, 'bypass_rls', rolbypassrls,
            'create_role', rolcreaterole, 'replication', rolreplication, 'bootstrap', oid = 10))
        FROM pg_catalog.pg_roles
        WHERE oid IN (SELECT role FROM reachable) OR rolname IN ({ours})),
    'edges', (SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'member', pg_catalog.pg_get_userbyid(member),
            'role', pg_catalog.pg_get_userbyid(roleid),
            'grantor', pg_catalog.pg_get_userbyid(grantor)) ORDER BY member, roleid), '[]')
        FROM pg_catalog.pg_auth_members WHERE member IN (SELECT role FROM reachable)),
    'presets', (SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'role', r.rolname, 'database', d.datname, 'name', p.name)), '[]')
        FROM pg_catalog.pg_db_role_setting s
        CROSS JOIN LATERAL (
            SELECT pg_catalog.split_part(entry, '=', 1) AS name
            FROM pg_catalog.unnest(s.setconfig) AS entry) p
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
        LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
        WHERE pg_catalog.lower(p.name) IN ({settings})
          AND (s.setrole = 0 OR s.setrole IN (SELECT role FROM reachable))
          AND (s.setdatabase = 0 OR d.datname = pg_catalog.current_database())),
    'relations', (SELECT COALESCE(pg_catalog.json_agg(relation), '[]') FROM (
        SELECT r.*, COALESCE(p.policies, '[]') AS policies
        FROM relations r LEFT JOIN policies p ON p.oid = r.oid) AS relation)
)::text"""


_RELATIONS = """\
relations AS (
    SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
        pg_catalog.pg_get_userbyid(c.relowner) AS owner,
        c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
        EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid
            AND a.attname = {column} AND a.attnum > 0 AND NOT a.attisdropped) AS has_column,
        COALESCE((SELECT o.option_value::boolean
            FROM pg_catalog.pg_options_to_table(c.reloptions) o
            WHERE o.option_name = 'security_invoker'), false) AS invoker,
        ARRAY (SELECT p.privilege FROM (VALUES {privileges}) AS p (privilege)
            WHERE EXISTS (SELECT FROM reachable WHERE
                CASE WHEN p.privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
                THEN pg_catalog.has_any_column_privilege(role, c.oid, p.privilege)
                ELSE pg_catalog.has_table_privilege(role, c.oid, p.privilege) END)
        ) AS privileges,
        ARRAY (SELECT ARRAY[COALESCE(r.rolname, ''), a.privilege_type]
            FROM (SELECT c.relacl AS acl UNION ALL
                SELECT attacl FROM pg_catalog.pg_attribute WHERE attrelid = c.oid) AS granted
            CROSS JOIN LATERAL pg_catalog.aclexplode(granted.acl) a
            LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
            WHERE a.grantee <> c.relowner
              AND (a.grantee = 0 OR a.grantee IN (SELECT role FROM reachable))
        ) AS grants,
        ARRAY (SELECT ARRAY[pn.nspname, pc.relname] FROM pg_catalog.pg_inherits i
            JOIN pg_catalog.pg_class pc ON pc.oid = i.inhparent
            JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace
            WHERE i.inhrelid = c.oid) AS parents,
        ARRAY (SELECT DISTINCT ARRAY[rn.nspname, rc.relname] FROM pg_catalog.pg_rewrite w
            JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass
                AND d.objid = w.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass
            JOIN pg_catalog.pg_class rc ON rc.oid = d.refobjid AND rc.oid <> c.oid
            JOIN pg_catalog.pg_namespace rn ON rn.oid = rc.relnamespace
            WHERE w.ev_class = c.oid AND c.relkind IN ('v', 'm')) AS reads
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')
      AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    ORDER BY n.nspname, c.relname
)"""

_POLICIES = """\
policies AS (
    SELECT p.polrelid AS oid, pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', p.polname, 'permissive', p.polpermissive, 'command', p.polcmd,
        'applies', EXISTS (SELECT FROM pg_catalog.unnest(p.polroles) AS r
            WHERE CASE r WHEN 0 THEN true
                ELSE pg_catalog.pg_has_role(current_user, r, 'USAGE') END),
        'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
        'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid),
        'functions', ARRAY (SELECT DISTINCT n.nspname || '.' || f.proname
            FROM pg_catalog.pg_depend d
            JOIN pg_catalog.pg_proc f ON f.oid = d.refobjid
            JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
            WHERE d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid
              AND d.refclassid = 'pg_catalog.pg_proc'::regclass)
        ) ORDER BY p.polname) AS policies
    FROM pg_catalog.pg_policy p GROUP BY p.polrelid
)"""


def _values(words: tuple[str, ...]) -> str:
    return ", ".join(f"({literal(word)})" for word in words)
