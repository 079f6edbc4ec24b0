"""The part of the query about tables and views: columns, policies, rules, triggers, indexes."""

from __future__ import annotations

from asgi_guard.rls.ddl.names import literal
from asgi_guard.rls.variables import RLSVariables

__all__ = ["sections", "tables"]

_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


def tables(variables: RLSVariables) -> str:
    """Return the common table expressions that `sections` reads."""
    privileges = ", ".join(f"({literal(name)})" for name in _PRIVILEGES)
    relations = _RELATIONS.format(column=literal(variables.column), privileges=privileges)
    return f"{relations},\n{_POLICIES}"


def sections() -> dict[str, str]:
    """Return the expressions of the JSON value, by key."""
    return {"relations": _AGGREGATE, "foreign_keys": _FOREIGN_KEYS}


_AGGREGATE = """SELECT COALESCE(pg_catalog.json_agg(relation), '[]') FROM (
        SELECT r.*, COALESCE(p.policies, '[]') AS policies
        FROM relations r LEFT JOIN policies p ON p.oid = r.oid) AS relation"""

_TENANT = """\
        (SELECT pg_catalog.json_build_object('not_null', a.attnotnull,
            'type', pg_catalog.format_type(a.atttypid, a.atttypmod),
            'domain', t.typtype = 'd', 'generated', a.attgenerated <> '',
            'deterministic', COALESCE(l.collisdeterministic, true),
            'default', pg_catalog.pg_get_expr(d.adbin, d.adrelid))
            FROM pg_catalog.pg_attribute a
            JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
            LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
            LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
            WHERE a.attrelid = c.oid AND a.attname = {column}
              AND a.attnum > 0 AND NOT a.attisdropped) AS tenant"""

# Node trees name every relation that a view reads; the dependencies leave out the system's own.
_SECRETS = """\
        ARRAY (SELECT DISTINCT sc.relname FROM pg_catalog.pg_rewrite w
            CROSS JOIN LATERAL pg_catalog.regexp_matches(
                w.ev_action::text, ':relid ([0-9]+)', 'g') AS found
            JOIN pg_catalog.pg_class sc ON sc.oid = found[1]::oid AND sc.oid < 16384
            WHERE w.ev_class = c.oid AND c.relkind IN ('v', 'm')
              AND NOT pg_catalog.has_table_privilege('public', sc.oid, 'SELECT')
        ) AS secrets"""

_TRIGGERS = """\
        ARRAY (SELECT pg_catalog.json_build_object('name', t.tgname,
            'function', (pg_catalog.pg_identify_object(
                'pg_catalog.pg_proc'::regclass, p.oid, 0)).identity, 'definer', p.prosecdef)
            FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
            WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D'
            ORDER BY t.tgname) AS triggers"""

# "sound": compared as the column is: no operator class or collation that equates two ids.
_INDEXES = """\
        ARRAY (SELECT pg_catalog.json_build_object('schema', n.nspname, 'name', ic.relname,
            'unique', i.indisunique, 'exclusion', i.indisexclusion, 'valid', i.indisvalid,
            'partial', i.indpred IS NOT NULL, 'method', am.amname, 'inherited', ic.relispartition,
            'constraint', co.conname, 'definition', COALESCE(
                pg_catalog.pg_get_constraintdef(co.oid), pg_catalog.pg_get_indexdef(i.indexrelid)),
            'columns', ARRAY (SELECT a.attname FROM pg_catalog.unnest(i.indkey::int2[])
                WITH ORDINALITY AS k (number, place)
                LEFT JOIN pg_catalog.pg_attribute a
                    ON a.attrelid = c.oid AND a.attnum = k.number AND k.number > 0
                WHERE k.place <= i.indnkeyatts ORDER BY k.place),
            'sound', ARRAY (SELECT COALESCE(l.collisdeterministic, true)
                AND CASE WHEN x.op IS NULL
                    THEN o.opcnamespace = 'pg_catalog'::pg_catalog.regnamespace
                    ELSE op.oprname = '='
                        AND op.oprnamespace = 'pg_catalog'::pg_catalog.regnamespace END
                FROM pg_catalog.generate_series(1, i.indnkeyatts) AS place
                JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[place - 1]
                LEFT JOIN pg_catalog.pg_collation l ON l.oid = i.indcollation[place - 1]
                CROSS JOIN LATERAL (SELECT co.conexclop[place] AS op) x
                LEFT JOIN pg_catalog.pg_operator op ON op.oid = x.op ORDER BY place))
            FROM pg_catalog.pg_index i
            JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
            JOIN pg_catalog.pg_am am ON am.oid = ic.relam
            LEFT JOIN pg_catalog.pg_constraint co ON co.conindid = i.indexrelid
                AND co.conrelid = c.oid AND co.contype IN ('p', 'u', 'x')
            WHERE i.indrelid = c.oid ORDER BY ic.relname) AS indexes"""

_RELATIONS = f"""\
relations AS (
    SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
        pg_catalog.pg_get_userbyid(c.relowner) AS owner,
        c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
{_TENANT},
        EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e'
            AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass) AS extension,
        COALESCE((SELECT o.option_value::boolean
            FROM pg_catalog.pg_options_to_table(c.reloptions) o
            WHERE o.option_name = 'security_invoker'), false) AS invoker,
        ARRAY (SELECT p.privilege FROM (VALUES {{privileges}}) AS p (privilege)
            WHERE EXISTS (SELECT FROM reachable WHERE
                CASE WHEN p.privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
                THEN pg_catalog.has_any_column_privilege(role, c.oid, p.privilege)
                ELSE pg_catalog.has_table_privilege(role, c.oid, p.privilege) END)
        ) AS privileges,
        ARRAY (SELECT ARRAY[COALESCE(r.rolname, ''), a.privilege_type,
                CASE WHEN a.is_grantable THEN 'grantable' ELSE '' END]
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
            WHERE w.ev_class = c.oid AND c.relkind IN ('v', 'm')) AS reads,
{_SECRETS},
        ARRAY (SELECT w.rulename FROM pg_catalog.pg_rewrite w
            WHERE w.ev_class = c.oid AND w.ev_type <> '1') AS rules,
{_TRIGGERS},
{_INDEXES}
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')
      AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    ORDER BY n.nspname, c.relname
)"""

# What an expression rests on beside the row and the system's own: a pinned object is not listed.
_POLICIES = """\
policies AS (
    SELECT p.polrelid AS oid, pg_catalog.json_agg(pg_catalog.json_build_object(
        'name', p.polname, 'permissive', p.polpermissive, 'command', p.polcmd,
        'applies', EXISTS (SELECT FROM pg_catalog.unnest(p.polroles) AS r
            WHERE r = 0 OR r IN (SELECT role FROM reachable)),
        'active', EXISTS (SELECT FROM pg_catalog.unnest(p.polroles) AS r
            WHERE CASE r WHEN 0 THEN true
                ELSE pg_catalog.pg_has_role(current_user, r, 'USAGE') END),
        'owners', EXISTS (SELECT FROM pg_catalog.unnest(p.polroles) AS r
            WHERE r <> 0 AND pg_catalog.pg_has_role(c.relowner, r, 'USAGE')
              AND NOT (SELECT o.rolsuper FROM pg_catalog.pg_roles o WHERE o.oid = c.relowner)),
        'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
        'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid),
        'functions', ARRAY (SELECT DISTINCT n.nspname || '.' || f.proname
            FROM pg_catalog.pg_depend d
            JOIN pg_catalog.pg_proc f ON f.oid = d.refobjid
            JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
            WHERE d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid
              AND d.refclassid = 'pg_catalog.pg_proc'::regclass),
        'tables', ARRAY (SELECT DISTINCT ARRAY[n.nspname, t.relname] FROM pg_catalog.pg_depend d
            JOIN pg_catalog.pg_class t ON t.oid = d.refobjid AND t.oid <> p.polrelid
            JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
            WHERE d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid
              AND d.refclassid = 'pg_catalog.pg_class'::regclass),
        'others', ARRAY (SELECT DISTINCT pg_catalog.pg_describe_object(
                d.refclassid, d.refobjid, d.refobjsubid) FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_policy'::regclass AND d.objid = p.oid
              AND d.refclassid NOT IN ('pg_catalog.pg_class'::regclass,
                  'pg_catalog.pg_proc'::regclass))
        ) ORDER BY p.polname) AS policies
    FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
    GROUP BY p.polrelid
)"""

_FOREIGN_KEYS = """SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(
            'name', k.conname, 'table', ARRAY[n.nspname, c.relname],
            'target', ARRAY[tn.nspname, t.relname],
            'columns', ARRAY (SELECT a.attname FROM pg_catalog.unnest(k.conkey)
                WITH ORDINALITY AS u (number, place) JOIN pg_catalog.pg_attribute a
                ON a.attrelid = k.conrelid AND a.attnum = u.number ORDER BY u.place),
            'target_columns', ARRAY (SELECT a.attname FROM pg_catalog.unnest(k.confkey)
                WITH ORDINALITY AS u (number, place) JOIN pg_catalog.pg_attribute a
                ON a.attrelid = k.confrelid AND a.attnum = u.number ORDER BY u.place),
            'clears', ARRAY (SELECT a.attname FROM pg_catalog.unnest(
                    COALESCE(NULLIF(k.confdelsetcols, '{}'), k.conkey)) AS number
                JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = number
                WHERE k.confdeltype IN ('n', 'd')),
            'definition', pg_catalog.pg_get_constraintdef(k.oid), 'validated', k.convalidated,
            'enforced', COALESCE(pg_catalog.to_jsonb(k) ->> 'conenforced', 'true') = 'true'
                AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g
                    WHERE g.tgconstraint = k.oid AND g.tgenabled IN ('D', 'R')))
            ORDER BY n.nspname, c.relname, k.conname), '[]')
        FROM pg_catalog.pg_constraint k
        JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_catalog.pg_class t ON t.oid = k.confrelid
        JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
        WHERE k.contype = 'f' AND k.conparentid = 0"""
