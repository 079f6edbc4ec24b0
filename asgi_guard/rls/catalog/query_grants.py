"""The part of the query about rights that reach around tables: database, defaults, files, peers."""

from __future__ import annotations

__all__ = ["sections"]


def sections() -> dict[str, str]:
    """Return the expressions of the JSON value, by key."""
    return {
        "database": _DATABASE,
        "default_grants": _DEFAULTS,
        "parameters": _PARAMETERS,
        "catalog_grants": _CATALOG,
        "sequences": _SEQUENCES,
        "publications": _PUBLICATIONS,
        "servers": _SERVERS,
        "mappings": _MAPPINGS,
        "large_objects": _LARGE_OBJECTS,
    }


_DATABASE = """SELECT pg_catalog.json_build_object(
            'name', d.datname, 'owner', pg_catalog.pg_get_userbyid(d.datdba),
            'creators', ARRAY (SELECT DISTINCT COALESCE(r.rolname, '')
                FROM pg_catalog.aclexplode(d.datacl) a
                LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
                WHERE a.privilege_type = 'CREATE' AND a.grantee <> d.datdba
                  AND (a.grantee = 0 OR a.grantee IN (SELECT role FROM reachable))),
            'template', d.datistemplate)
        FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()"""

_DEFAULTS = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'maker', pg_catalog.pg_get_userbyid(d.defaclrole), 'schema', n.nspname,
            'kind', d.defaclobjtype, 'grantee', COALESCE(r.rolname, ''),
            'privilege', a.privilege_type)), '[]')
        FROM pg_catalog.pg_default_acl d
        CROSS JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) a
        LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
        WHERE d.defaclobjtype IN ('r', 'n', 'L') AND a.grantee <> d.defaclrole
          AND (a.grantee = 0 OR a.grantee IN (SELECT role FROM reachable))"""

_PARAMETERS = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', p.parname, 'privilege', a.privilege_type, 'grantee', COALESCE(r.rolname, '')
            ) ORDER BY p.parname), '[]')
        FROM pg_catalog.pg_parameter_acl p
        CROSS JOIN LATERAL pg_catalog.aclexplode(p.paracl) a
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
        WHERE a.grantee = 0 OR a.grantee IN (SELECT role FROM reachable)"""

# Grants on the system's own objects beyond those that initdb and extensions made.
_CATALOG = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'kind', o.kind, 'object', o.identity, 'column', o.attribute,
            'grantee', COALESCE(r.rolname, ''), 'privilege', a.privilege_type)
            ORDER BY o.identity, a.privilege_type), '[]')
        FROM (
            SELECT 'TABLE' AS kind, 'pg_catalog.pg_class'::regclass AS class, c.oid, 0 AS part,
                c.relacl AS acl, pg_catalog.acldefault('r', c.relowner) AS usual,
                'pg_catalog.' || pg_catalog.quote_ident(c.relname) AS identity, NULL AS attribute
            FROM pg_catalog.pg_class c
            WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace
            UNION ALL
            SELECT 'TABLE', 'pg_catalog.pg_class'::regclass, c.oid, a.attnum, a.attacl, NULL,
                'pg_catalog.' || pg_catalog.quote_ident(c.relname),
                pg_catalog.quote_ident(a.attname)
            FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
            WHERE c.relnamespace = 'pg_catalog'::pg_catalog.regnamespace
            UNION ALL
            SELECT 'ROUTINE', 'pg_catalog.pg_proc'::regclass, p.oid, 0, p.proacl,
                pg_catalog.acldefault('f', p.proowner), 'pg_catalog.' ||
                pg_catalog.quote_ident(p.proname) || '(' ||
                pg_catalog.pg_get_function_identity_arguments(p.oid) || ')', NULL
            FROM pg_catalog.pg_proc p
            WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
        ) AS o
        CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) a
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
        WHERE o.acl IS NOT NULL AND (a.grantee = 0 OR a.grantee IN (SELECT role FROM reachable))
          AND a.grantee <> 10 AND NOT EXISTS (
            SELECT FROM pg_catalog.aclexplode(COALESCE(
                (SELECT i.initprivs FROM pg_catalog.pg_init_privs i WHERE i.objoid = o.oid
                    AND i.classoid = o.class AND i.objsubid = o.part), o.usual)) b
            WHERE b.grantee = a.grantee AND b.privilege_type = a.privilege_type)"""

_SEQUENCES = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', ARRAY[n.nspname, c.relname], 'grantee', COALESCE(r.rolname, ''),
            'privilege', a.privilege_type) ORDER BY n.nspname, c.relname), '[]')
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
        WHERE c.relkind = 'S' AND a.privilege_type <> 'USAGE' AND a.grantee <> c.relowner
          AND n.nspname !~ '^pg_'
          AND (a.grantee = 0 OR a.grantee IN (SELECT role FROM reachable))"""

_PUBLICATIONS = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', p.pubname, 'everything', p.puballtables, 'schemas', ARRAY (
                SELECT n.nspname FROM pg_catalog.pg_publication_namespace pn
                JOIN pg_catalog.pg_namespace n ON n.oid = pn.pnnspid WHERE pn.pnpubid = p.oid),
            'tables', ARRAY (SELECT ARRAY[n.nspname, c.relname]
                FROM pg_catalog.pg_publication_rel pr
                JOIN pg_catalog.pg_class c ON c.oid = pr.prrelid
                JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE pr.prpubid = p.oid)) ORDER BY p.pubname), '[]')
        FROM pg_catalog.pg_publication p"""

_SERVERS = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'kind', o.kind, 'name', o.name, 'grantee', COALESCE(r.rolname, ''))
            ORDER BY o.name), '[]')
        FROM (
            SELECT 'FOREIGN SERVER' AS kind, srvname AS name, srvacl AS acl, srvowner AS owner
            FROM pg_catalog.pg_foreign_server
            UNION ALL SELECT 'FOREIGN DATA WRAPPER', fdwname, fdwacl, fdwowner
            FROM pg_catalog.pg_foreign_data_wrapper
        ) AS o
        CROSS JOIN LATERAL pg_catalog.aclexplode(o.acl) a
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
        WHERE a.grantee <> o.owner
          AND (a.grantee = 0 OR a.grantee IN (SELECT role FROM reachable))"""

_MAPPINGS = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'server', m.srvname, 'user', CASE m.umuser WHEN 0 THEN '' ELSE m.usename END)
            ORDER BY m.srvname, m.usename), '[]')
        FROM pg_catalog.pg_user_mappings m
        WHERE m.umuser = 0 OR m.umuser IN (SELECT role FROM reachable)"""

_LARGE_OBJECTS = """SELECT COALESCE(pg_catalog.json_agg(DISTINCT o.id), '[]') FROM (
            SELECT m.oid::text AS id FROM pg_catalog.pg_largeobject_metadata m
            LEFT JOIN LATERAL pg_catalog.aclexplode(m.lomacl) a ON true
            WHERE m.lomowner IN (SELECT role FROM reachable) OR a.grantee = 0
               OR a.grantee IN (SELECT role FROM reachable) LIMIT 100) AS o"""
