"""The one query that reads what the generated DDL sets, as whoever migrates.

It needs no rights beyond the catalog's and takes no lock that a writer would wait for. One
statement sees one state.
"""

from __future__ import annotations

from asgi_guard.rls.ddl.names import literal
from asgi_guard.rls.ddl.sealed import SEAL_KEYS
from asgi_guard.rls.variables import RLSVariables

__all__ = ["state_query"]


def state_query(variables: RLSVariables) -> str:
    """Return the query; it gives one row with one JSON value, read by `State.parse`."""
    roles = (variables.owner_role, variables.runtime_role, variables.system_role)
    words = {
        "roles": ", ".join(literal(role) for role in roles),
        "schema": literal(variables.schema),
        "column": literal(variables.column),
        "keys": literal(SEAL_KEYS),
    }
    return _QUERY.format(**words)


def _grants(acl: str, owner: str) -> str:
    """Who of ours and PUBLIC was granted what; the owner's own rights are its ownership's."""
    return f"""ARRAY (SELECT ARRAY[COALESCE(g.rolname, ''), a.privilege_type
                || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END]
            FROM pg_catalog.aclexplode({acl}) a
            LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
            WHERE a.grantee <> {owner} AND (a.grantee = 0 OR g.rolname IN ({{roles}}))
            ORDER BY 1)"""


_POLICIES = """\
ARRAY (SELECT pg_catalog.json_build_object(
            'name', p.polname, 'permissive', p.polpermissive, 'command', p.polcmd,
            'roles', ARRAY (SELECT COALESCE(g.rolname, '') FROM pg_catalog.unnest(p.polroles) AS r
                LEFT JOIN pg_catalog.pg_roles g ON g.oid = r ORDER BY 1),
            'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
            'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid),
            'functions', ARRAY (SELECT DISTINCT fn.nspname || '.' || f.proname
                FROM pg_catalog.pg_depend d
                JOIN pg_catalog.pg_proc f ON f.oid = d.refobjid
                JOIN pg_catalog.pg_namespace fn ON fn.oid = f.pronamespace
                WHERE d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid
                  AND d.refclassid = 'pg_catalog.pg_proc'::regclass),
            'tables', ARRAY (SELECT DISTINCT ARRAY[tn.nspname, t.relname]
                FROM pg_catalog.pg_depend d
                JOIN pg_catalog.pg_class t ON t.oid = d.refobjid AND t.oid <> p.polrelid
                JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
                WHERE d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid
                  AND d.refclassid = 'pg_catalog.pg_class'::regclass),
            'others', ARRAY (SELECT DISTINCT pg_catalog.pg_describe_object(
                    d.refclassid, d.refobjid, d.refobjsubid) FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid
                  AND d.refclassid NOT IN ('pg_catalog.pg_class'::regclass,
                      'pg_catalog.pg_proc'::regclass)))
            FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid ORDER BY p.polname)"""

_LEADS = """\
EXISTS (SELECT FROM pg_catalog.pg_index i
            JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
            JOIN pg_catalog.pg_am am ON am.oid = ic.relam AND am.amname = 'btree'
            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL
              AND a.attname = {column})"""

_SEQUENCES = f"""\
ARRAY (SELECT pg_catalog.json_build_object('name', sn.nspname || '.' || s.relname,
            'serial', d.deptype = 'a', 'grants', {_grants("s.relacl", "s.relowner")})
            FROM pg_catalog.pg_depend d
            JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
            JOIN pg_catalog.pg_namespace sn ON sn.oid = s.relnamespace
            WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')
              AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = c.oid)"""

_RELATIONS = f"""\
SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', ARRAY[n.nspname, c.relname], 'kind', c.relkind,
        'owner', pg_catalog.pg_get_userbyid(c.relowner),
        'enabled', c.relrowsecurity, 'forced', c.relforcerowsecurity,
        'invoker', COALESCE((SELECT o.option_value::boolean
            FROM pg_catalog.pg_options_to_table(c.reloptions) o
            WHERE o.option_name = 'security_invoker'), false),
        'tenant', (SELECT pg_catalog.json_build_object('not_null', a.attnotnull,
            'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid))
            FROM pg_catalog.pg_attribute a
            LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE a.attrelid = c.oid AND a.attname = {{column}}
              AND a.attnum > 0 AND NOT a.attisdropped),
        'parents', ARRAY (SELECT ARRAY[pn.nspname, pc.relname] FROM pg_catalog.pg_inherits i
            JOIN pg_catalog.pg_class pc ON pc.oid = i.inhparent
            JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace
            WHERE i.inhrelid = c.oid),
        'grants', {_grants("c.relacl", "c.relowner")},
        'column_grants', ARRAY (SELECT a.attname || ': ' || g.privilege_type
            FROM pg_catalog.pg_attribute a CROSS JOIN LATERAL pg_catalog.aclexplode(a.attacl) g
            LEFT JOIN pg_catalog.pg_roles r ON r.oid = g.grantee
            WHERE a.attrelid = c.oid AND (g.grantee = 0 OR r.rolname IN ({{roles}}))),
        'policies', {_POLICIES},
        'leads', {_LEADS},
        'sequences', {_SEQUENCES})
        ORDER BY n.nspname, c.relname), '[]')
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname <> 'information_schema'
      AND n.nspname !~ '^pg_'"""

_HELPERS = f"""\
SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', p.proname, 'owner', pg_catalog.pg_get_userbyid(p.proowner),
        'returns', pg_catalog.format_type(p.prorettype, NULL), 'set', p.proretset,
        'language', l.lanname, 'definer', p.prosecdef, 'volatility', p.provolatile,
        'parallel', p.proparallel, 'strict', p.proisstrict, 'leakproof', p.proleakproof,
        'settings', COALESCE(p.proconfig, ARRAY[]::text[]),
        'body', COALESCE(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc),
        'standard', p.prosqlbody IS NOT NULL,
        'rests_on', ARRAY (SELECT pg_catalog.pg_describe_object(
                d.refclassid, d.refobjid, d.refobjsubid) FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid
              AND d.refclassid <> 'pg_catalog.pg_namespace'::regclass),
        'grants', {
    _grants("COALESCE(p.proacl, pg_catalog.acldefault('f', p.proowner))", "p.proowner")
})), '[]')
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE n.nspname = {{schema}} AND p.pronargs = 0
      AND p.proname IN ('current_tenant', 'current_user_id')"""

_SCHEMAS = f"""\
SELECT COALESCE(pg_catalog.json_object_agg(n.nspname, pg_catalog.json_build_object(
        'owner', pg_catalog.pg_get_userbyid(n.nspowner),
        'grants', {
    _grants("COALESCE(n.nspacl, pg_catalog.acldefault('n', n.nspowner))", "n.nspowner")
})), '{{{{}}}}')
    FROM pg_catalog.pg_namespace n
    WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"""

_ROLES = """\
SELECT COALESCE(pg_catalog.json_object_agg(rolname, pg_catalog.array_to_string(ARRAY[
        CASE WHEN rolcanlogin THEN 'login' END, CASE WHEN rolsuper THEN 'superuser' END,
        CASE WHEN rolbypassrls THEN 'bypassrls' END, CASE WHEN rolinherit THEN 'inherit' END,
        CASE WHEN rolcreaterole THEN 'createrole' END, CASE WHEN rolcreatedb THEN 'createdb' END,
        CASE WHEN rolreplication THEN 'replication' END], ', ')), '{{}}')
    FROM pg_catalog.pg_roles WHERE rolname IN ({roles})"""

_QUERY = f"""\
SELECT pg_catalog.json_build_object(
    'relations', ({_RELATIONS}),
    'helpers', ({_HELPERS}),
    'schemas', ({_SCHEMAS}),
    'roles', ({_ROLES}))::text"""
