"""The part of the query about functions, schemas, and what the role owns."""

from __future__ import annotations

from asgi_guard.rls.ddl.names import literal
from asgi_guard.rls.variables import RLSVariables

__all__ = ["sections"]


def sections(variables: RLSVariables) -> dict[str, str]:
    """Return the expressions of the JSON value, by key."""
    return {
        "helpers": _HELPERS.format(schema=literal(variables.schema)),
        "functions": _FUNCTIONS,
        "schemas": _SCHEMAS,
        "owned": _OWNED.format(runtime=literal(variables.runtime_role)),
        "tampered": _TAMPERED,
        "leakproof": _LEAKPROOF,
    }


_HELPERS = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', p.proname, 'owner', pg_catalog.pg_get_userbyid(p.proowner),
            'returns', pg_catalog.format_type(p.prorettype, NULL), 'set', p.proretset,
            'language', l.lanname, 'definer', p.prosecdef, 'volatility', p.provolatile,
            'parallel', p.proparallel, 'strict', p.proisstrict, 'leakproof', p.proleakproof,
            'settings', COALESCE(p.proconfig, ARRAY[]::text[]),
            'body', COALESCE(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc),
            'standard', p.prosqlbody IS NOT NULL,
            'callable', pg_catalog.has_function_privilege(p.oid, 'EXECUTE'),
            'rests_on', ARRAY (SELECT pg_catalog.pg_describe_object(
                    d.refclassid, d.refobjid, d.refobjsubid) FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid
                  AND d.refclassid <> 'pg_catalog.pg_namespace'::regclass)
            ) ORDER BY p.proname), '[]')
        FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        JOIN pg_catalog.pg_language l ON l.oid = p.prolang
        WHERE n.nspname = {schema} AND p.pronargs = 0
          AND p.proname IN ('current_tenant', 'current_user_id')"""

# 16384 is the first id that the server gives to objects made after initdb (FirstNormalObjectId).
_FUNCTIONS = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'schema', n.nspname, 'name', p.proname,
            'signature', (pg_catalog.pg_identify_object(
                'pg_catalog.pg_proc'::regclass, p.oid, 0)).identity,
            'owner', pg_catalog.pg_get_userbyid(p.proowner), 'definer', p.prosecdef,
            'language', l.lanname, 'trusted', l.lanpltrusted, 'extension', e.extname,
            'settings', COALESCE(p.proconfig, ARRAY[]::text[]),
            'executable', x.granted, 'fires', x.fires,
            'grantees', ARRAY (SELECT DISTINCT COALESCE(r.rolname, '')
                FROM pg_catalog.aclexplode(COALESCE(
                    p.proacl, pg_catalog.acldefault('f', p.proowner))) a
                LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
                WHERE a.grantee <> p.proowner
                  AND (a.grantee = 0 OR a.grantee IN (SELECT role FROM reachable)))
            ) ORDER BY n.nspname, p.proname, p.oid), '[]')
        FROM pg_catalog.pg_proc p
        JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        JOIN pg_catalog.pg_language l ON l.oid = p.prolang
        LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::regclass
            AND d.objid = p.oid AND d.deptype = 'e'
        LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        CROSS JOIN LATERAL (SELECT
            EXISTS (SELECT FROM reachable WHERE
                pg_catalog.has_function_privilege(role, p.oid, 'EXECUTE')) AS granted,
            EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgfoid = p.oid
                AND t.tgenabled <> 'D' AND EXISTS (SELECT FROM reachable WHERE
                    pg_catalog.has_any_column_privilege(role, t.tgrelid, 'INSERT, UPDATE')
                    OR pg_catalog.has_table_privilege(role, t.tgrelid, 'DELETE, TRUNCATE')))
            OR EXISTS (SELECT FROM pg_catalog.pg_event_trigger v WHERE v.evtfoid = p.oid
                AND v.evtenabled <> 'D') AS fires) x
        WHERE p.oid >= 16384 AND (p.prosecdef OR NOT l.lanpltrusted) AND (x.granted OR x.fires)"""

_SCHEMAS = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', n.nspname, 'owner', pg_catalog.pg_get_userbyid(n.nspowner),
            'creators', ARRAY (SELECT DISTINCT COALESCE(r.rolname, '')
                FROM pg_catalog.aclexplode(n.nspacl) a
                LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
                WHERE a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
                  AND (a.grantee = 0 OR a.grantee IN (SELECT role FROM reachable)))
            ) ORDER BY n.nspname), '[]')
        FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_(temp|toast)'"""

# A sequence of a column follows its table; large objects and user mappings are judged apart.
_OWNED = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'type', o.type, 'identity', o.identity, 'schema', o.schema, 'name', o.name,
            'owner', pg_catalog.pg_get_userbyid(s.refobjid)) ORDER BY o.type, o.identity), '[]')
        FROM pg_catalog.pg_shdepend s
        CROSS JOIN LATERAL pg_catalog.pg_identify_object(s.classid, s.objid, s.objsubid) o
        WHERE s.deptype = 'o' AND s.refclassid = 'pg_catalog.pg_authid'::regclass
          AND s.refobjid IN (SELECT role FROM reachable JOIN pg_catalog.pg_roles ON oid = role
              WHERE rolname IN (current_user, {runtime}))
          AND s.dbid IN (0, (SELECT oid FROM pg_catalog.pg_database
              WHERE datname = pg_catalog.current_database()))
          AND s.classid NOT IN ('pg_catalog.pg_largeobject'::regclass,
              'pg_catalog.pg_user_mapping'::regclass, 'pg_catalog.pg_default_acl'::regclass)
          AND COALESCE(o.schema, '') !~ '^pg_temp' AND o.identity !~ '^pg_temp'
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = s.classid
              AND d.objid = s.objid AND o.type = 'sequence' AND d.deptype IN ('a', 'i'))"""

# Whatever was put into pg_catalog since stands before every name that the promise rests on, and
# so does a built-in function whose code was replaced.
_TAMPERED = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'type', o.type, 'identity', o.identity) ORDER BY o.type, o.identity), '[]')
        FROM (
            SELECT 'pg_catalog.pg_proc'::regclass AS class, p.oid FROM pg_catalog.pg_proc p
            WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND (p.oid >= 16384
                OR (p.proname IN ('current_setting', 'uuid_eq', 'texteq', 'int4eq', 'int8eq',
                    'int48eq', 'int84eq', 'set_config', 'row_security_active')
                    AND (p.prolang <> 12 OR p.proconfig IS NOT NULL OR p.prosrc NOT IN (p.proname,
                        'show_config_by_name', 'show_config_by_name_missing_ok',
                        'set_config_by_name', 'row_security_active_name'))))
            UNION ALL SELECT 'pg_catalog.pg_operator'::regclass, oid FROM pg_catalog.pg_operator
            WHERE oprnamespace = 'pg_catalog'::pg_catalog.regnamespace AND oid >= 16384
            UNION ALL SELECT 'pg_catalog.pg_class'::regclass, oid FROM pg_catalog.pg_class
            WHERE relnamespace = 'pg_catalog'::pg_catalog.regnamespace AND oid >= 16384
                AND relkind IN ('r', 'p', 'v', 'm', 'f')
            UNION ALL SELECT 'pg_catalog.pg_cast'::regclass, oid FROM pg_catalog.pg_cast
            WHERE oid >= 16384 AND castsource < 16384 AND casttarget < 16384
        ) AS found
        CROSS JOIN LATERAL pg_catalog.pg_identify_object(found.class, found.oid, 0) o
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = found.class
            AND d.objid = found.oid AND d.deptype = 'e')"""

# Built-ins that are tempting to mark so, for the index that a policy costs; none is shipped so.
_LEAKPROOF = """SELECT COALESCE(pg_catalog.json_agg(f.identity ORDER BY f.identity), '[]')
        FROM pg_catalog.pg_proc p
        CROSS JOIN LATERAL pg_catalog.pg_identify_object(
            'pg_catalog.pg_proc'::regclass, p.oid, 0) f
        WHERE p.proleakproof AND (p.oid >= 16384 OR p.proname IN ('textlike', 'texticlike',
            'textnlike', 'texticnlike', 'bpcharlike', 'bpchariclike', 'namelike', 'textregexeq',
            'texticregexeq', 'jsonb_contains', 'jsonb_contained', 'jsonb_exists',
            'jsonb_exists_any', 'jsonb_exists_all', 'jsonb_path_match_opr',
            'jsonb_path_exists_opr', 'jsonb_object_field_text', 'ts_match_vq', 'ts_match_qv',
            'arraycontains', 'arraycontained', 'arrayoverlap', 'numeric_eq', 'lower', 'upper'))
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = p.oid
              AND d.classid = 'pg_catalog.pg_proc'::regclass AND d.deptype = 'e')"""
