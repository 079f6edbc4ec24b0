"""The corpus: each flaw alone, by the SQL that makes it, and the code it must be found under.

``{runtime}``, ``{c}`` (the tenant column), ``{rule}`` and the others are `World.words`.
"""
# ruff: noqa: ISC004, E501 - tables of SQL read better unbroken

from __future__ import annotations

from typing import Final

__all__ = ["FLAWS"]

_ALONE: Final = (
    "DROP POLICY tenant_isolation_strict ON notes; DROP POLICY tenant_isolation ON notes; "
)
_FOREIGN: Final = (
    "CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere; "
)


def _policy(using: str, check: str = "{rule}", command: str = "ALL") -> str:
    return (
        f"{_ALONE} CREATE POLICY p ON notes FOR {command} TO {{runtime}} USING ({using}) "
        f"WITH CHECK ({check})"
    )


def _helper(body: str, words: str = "LANGUAGE sql STABLE PARALLEL SAFE") -> str:
    return f"CREATE OR REPLACE FUNCTION {{helper}} RETURNS {{type}} {words} {body}"


_BODY: Final = "RETURN NULLIF(pg_catalog.current_setting('{setting}', true), '')::{type}"

ROLES: Final = {
    "superuser": ("ALTER ROLE {runtime} SUPERUSER", "role_superuser"),
    "bypassrls": ("ALTER ROLE {runtime} BYPASSRLS", "role_bypasses_rls"),
    "createrole": ("ALTER ROLE {runtime} CREATEROLE", "role_creates_roles"),
    "createdb": ("ALTER ROLE {runtime} CREATEDB", "role_creates_databases"),
    "replication": ("ALTER ROLE {runtime} REPLICATION", "role_replicates"),
    "member of the owner": ("GRANT {owner} TO {runtime}", "role_can_become"),
    "member of the system role": ("GRANT {system} TO {runtime}", "role_can_become"),
    "member of the owner over hops": (
        "CREATE ROLE {x}_a; CREATE ROLE {x}_b; GRANT {owner} TO {x}_a; "
        "GRANT {x}_a TO {x}_b; GRANT {x}_b TO {runtime}",
        "role_can_become",
    ),
    "admin of the owner": ("GRANT {owner} TO {runtime} WITH ADMIN OPTION", "role_can_become"),
    "member of a bypassing role": (
        "CREATE ROLE {x}_a BYPASSRLS; GRANT {x}_a TO {runtime}",
        "role_can_become",
    ),
    "member of a role that makes roles": (
        "CREATE ROLE {x}_a CREATEROLE; GRANT {x}_a TO {runtime}",
        "role_can_become",
    ),
    "member of the owner of a system table": (
        "CREATE ROLE {x}_a; ALTER TABLE memberships OWNER TO {x}_a; GRANT {x}_a TO {runtime}",
        "role_can_become",
    ),
    "member of the owner of the helper": (
        "CREATE ROLE {x}_a; ALTER FUNCTION {helper} OWNER TO {x}_a; GRANT {x}_a TO {runtime}",
        "helper_owner",
    ),
    "member of a harmless role": (
        "CREATE ROLE {x}_a; GRANT {x}_a TO {runtime}",
        "role_member",
    ),
    "reads the host's files": ("GRANT pg_read_server_files TO {runtime}", "role_can_become"),
    "reads everything": ("GRANT pg_read_all_data TO {runtime}", "role_can_become"),
    "watches sessions": ("GRANT pg_monitor TO {runtime}", "activity_exposed"),
    "watches sessions over hops": (
        "CREATE ROLE {x}_a; GRANT pg_read_all_stats TO {x}_a; GRANT {x}_a TO {runtime}",
        "activity_exposed",
    ),
    "signals sessions": ("GRANT pg_signal_backend TO {runtime}", "role_predefined"),
    "owner logs in": ("ALTER ROLE {owner} LOGIN", "owner_role_strong"),
    "owner bypasses": ("ALTER ROLE {owner} BYPASSRLS", "owner_role_strong"),
    "system role bypasses": ("ALTER ROLE {system} BYPASSRLS", "system_role_strong"),
    "tenant preset for the role": (
        "ALTER ROLE {runtime} SET {setting} = '{tenant}'",
        "tenant_preset",
    ),
    "tenant preset for the database": (
        "ALTER DATABASE {database} SET {setting} = '{tenant}'",
        "tenant_preset",
    ),
    "tenant preset for the role here": (
        "ALTER ROLE {runtime} IN DATABASE {database} SET {setting} = '{tenant}'",
        "tenant_preset",
    ),
    "starts as another role": ("ALTER ROLE {runtime} SET role = '{owner}'", "role_preset"),
    "policies are an error": ("ALTER ROLE {runtime} SET row_security = off", "row_security_preset"),
    "keys are not checked": (
        "ALTER ROLE {runtime} SET session_replication_role = replica",
        "setting_unsafe",
    ),
    "large objects for all": (
        "ALTER DATABASE {database} SET lo_compat_privileges = on",
        "setting_unsafe",
    ),
    "a library in each session": (
        "ALTER ROLE {runtime} SET session_preload_libraries = 'auto_explain'",
        "setting_unsafe",
    ),
    "public before the built-ins": (
        "ALTER ROLE {runtime} SET search_path = public, pg_catalog",
        "search_path_shadowed",
    ),
    "owns a function": (
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql RETURN 1; "
        "ALTER FUNCTION mine() OWNER TO {runtime}",
        "role_owns",
    ),
    "owns a schema": ("CREATE SCHEMA mine AUTHORIZATION {runtime}", "role_owns"),
    "owns a type": (
        "CREATE TYPE mood AS ENUM ('good'); ALTER TYPE mood OWNER TO {runtime}",
        "role_owns",
    ),
    "owns a domain": (
        "CREATE DOMAIN small AS int; ALTER DOMAIN small OWNER TO {runtime}",
        "role_owns",
    ),
    "owns a view": ("ALTER VIEW note_titles OWNER TO {runtime}", "role_owns"),
    "owns the database": ("ALTER DATABASE {database} OWNER TO {runtime}", "database_owned"),
}

HELPERS: Final = {
    "helper dropped": ("DROP FUNCTION {helper} CASCADE", "helper_missing"),
    "user helper dropped": ("DROP FUNCTION {schema}.current_user_id() CASCADE", "helper_missing"),
    "helper not to be called": (
        "REVOKE EXECUTE ON FUNCTION {helper} FROM {runtime}",
        "helper_unusable",
    ),
    "helper owned": ("ALTER FUNCTION {helper} OWNER TO {runtime}", "helper_owned"),
    "helper of another": ("ALTER FUNCTION {helper} OWNER TO postgres", "helper_owner"),
    "helper's schema of another": (
        "ALTER SCHEMA {schema} OWNER TO postgres",
        "helper_schema_owner",
    ),
    "helper's schema owned": ("ALTER SCHEMA {schema} OWNER TO {runtime}", "helper_schema_owner"),
    "helper with a default tenant": (
        _helper(
            "RETURN COALESCE(NULLIF(pg_catalog.current_setting('{setting}', true), ''), "
            "'{tenant}')::{type}"
        ),
        "helper_body",
    ),
    "helper of another setting": (_helper(_BODY.replace("{setting}", "app.x")), "helper_body"),
    "helper that raises no error": (
        _helper("RETURN CASE WHEN true THEN '{tenant}'::{type} END"),
        "helper_body",
    ),
    "helper over an impostor": (
        "CREATE FUNCTION public.current_setting(text, boolean) RETURNS text LANGUAGE sql "
        "RETURN '{tenant}'; " + _helper(_BODY.replace("pg_catalog.", "public.")),
        "helper_body",
    ),
    "helper with its owner's rights": (
        "ALTER FUNCTION {helper} SECURITY DEFINER",
        "helper_definer",
    ),
    "helper remembered": ("ALTER FUNCTION {helper} IMMUTABLE", "helper_volatility"),
    "helper per row": ("ALTER FUNCTION {helper} VOLATILE", "helper_volatility"),
    "helper with a setting": (
        "ALTER FUNCTION {helper} SET {setting} = '{tenant}'",
        "helper_settings",
    ),
    "helper leakproof": ("ALTER FUNCTION {helper} LEAKPROOF", "helper_attributes"),
    "helper in text": (
        _helper("AS $$ SELECT NULLIF(current_setting('{setting}', true), '')::{type} $$"),
        "helper_language",
    ),
    "helper in plpgsql": (
        _helper(
            "AS $$ BEGIN RETURN NULLIF(current_setting('{setting}', true), ''); END $$",
            "LANGUAGE plpgsql STABLE PARALLEL SAFE",
        ),
        "helper_language",
    ),
    "helper of another type": (
        "DROP FUNCTION {helper} CASCADE; CREATE FUNCTION {helper} RETURNS varchar LANGUAGE sql "
        "STABLE PARALLEL SAFE RETURN pg_catalog.current_setting('{setting}', true)",
        "helper_type",
    ),
    "user helper with a default": (
        "CREATE OR REPLACE FUNCTION {schema}.current_user_id() RETURNS text LANGUAGE sql STABLE "
        "PARALLEL SAFE RETURN 'root'",
        "helper_body",
    ),
}

TABLES: Final = {
    "owned by the app": ("ALTER TABLE notes OWNER TO {runtime}", "table_owned"),
    "shared table owned by the app": ("ALTER TABLE countries OWNER TO {runtime}", "table_owned"),
    "partition owned by the app": ("ALTER TABLE events_2024 OWNER TO {runtime}", "table_owned"),
    "owned by another": ("ALTER TABLE notes OWNER TO postgres", "table_owner"),
    "not forced": ("ALTER TABLE notes NO FORCE ROW LEVEL SECURITY", "rls_not_forced"),
    "switched off": ("ALTER TABLE notes DISABLE ROW LEVEL SECURITY", "rls_disabled"),
    "system table switched off": (
        "ALTER TABLE memberships DISABLE ROW LEVEL SECURITY",
        "rls_disabled",
    ),
    "nullable": (
        "ALTER TABLE comments DROP CONSTRAINT comments_pkey; "
        "ALTER TABLE comments ALTER {c} DROP NOT NULL",
        "tenant_column_nullable",
    ),
    "default of another": (
        "ALTER TABLE notes ALTER {c} SET DEFAULT '{other}'",
        "tenant_column_default",
    ),
    "default dropped": ("ALTER TABLE notes ALTER {c} DROP DEFAULT", "tenant_column_default"),
    "a domain": (
        "CREATE DOMAIN loose AS {type}; DROP POLICY tenant_isolation ON events; "
        "DROP POLICY tenant_isolation ON comments; DROP POLICY tenant_isolation_strict ON comments; "
        "ALTER TABLE comments ALTER {c} TYPE loose",
        "tenant_column_type",
    ),
    "computed": (
        "DROP TABLE comments; CREATE TABLE comments ({c} {type} NOT NULL "
        "GENERATED ALWAYS AS (tenant) STORED, tenant {type}, id bigint GENERATED ALWAYS AS IDENTITY, "
        "note_id bigint, country text, PRIMARY KEY ({c}, id), CONSTRAINT f FOREIGN KEY "
        "({c}, note_id) REFERENCES notes ({c}, id) ON DELETE CASCADE); "
        "GRANT SELECT, INSERT, UPDATE, DELETE ON comments TO {runtime}",
        "tenant_column_generated",
    ),
    "shared with a tenant": ("ALTER TABLE countries ADD {c} {type}", "shared_has_tenant"),
    "undeclared with a tenant": (
        "CREATE TABLE stray AS SELECT * FROM notes; GRANT SELECT ON stray TO {runtime}",
        "rls_disabled",
    ),
    "undeclared for everybody": (
        "CREATE TABLE stray AS SELECT * FROM notes; GRANT SELECT ON stray TO PUBLIC",
        "policy_missing",
    ),
    "undeclared without a tenant": (
        "CREATE TABLE stray (x int); GRANT SELECT ON stray TO PUBLIC",
        "table_undeclared",
    ),
    "one column of an undeclared table": (
        "CREATE TABLE stray (x int); GRANT SELECT (x) ON stray TO {runtime}",
        "table_undeclared",
    ),
    "partition without policies": (
        "CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO "
        "('2027-01-01'); GRANT SELECT ON events_2026 TO {runtime}",
        "partition_unprotected",
    ),
    "partition that nobody was granted": (
        "CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO "
        "('2027-01-01')",
        "partition_unprotected",
    ),
    "partition with an open policy": (
        "DROP POLICY tenant_isolation ON events_2024; DROP POLICY tenant_isolation_strict ON "
        "events_2024; CREATE POLICY p ON events_2024 USING (true); "
        "GRANT SELECT ON events_2024 TO {runtime}",
        "policy_open",
    ),
    "partition detached and open": (
        "CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO "
        "('2027-01-01'); ALTER TABLE events DETACH PARTITION events_2026; "
        "GRANT SELECT ON events_2026 TO {runtime}",
        "rls_disabled",
    ),
    "child without policies": (
        "CREATE TABLE notes_old () INHERITS (notes); GRANT SELECT ON notes_old TO {runtime}",
        "partition_unprotected",
    ),
    "parent that asks nobody": (
        "CREATE TABLE anything (title text NOT NULL); ALTER TABLE notes INHERIT anything; "
        "GRANT SELECT ON anything TO {runtime}",
        "parent_unprotected",
    ),
}

KEYS: Final = {
    "no leading index": (
        "ALTER TABLE comments DROP CONSTRAINT comments_pkey; "
        "ALTER TABLE comments ADD PRIMARY KEY (id, {c})",
        "index_missing",
    ),
    "only a partial index": (
        "ALTER TABLE comments DROP CONSTRAINT comments_pkey; "
        "CREATE INDEX ix_comments_tenant ON comments ({c}) WHERE id > 5",
        "index_missing",
    ),
    "unique without the tenant": (
        "ALTER TABLE notes ADD CONSTRAINT notes_title UNIQUE (title)",
        "unique_without_tenant",
    ),
    "unique index without the tenant": (
        "CREATE UNIQUE INDEX notes_lower ON notes (lower(title)) WHERE id > 0",
        "unique_without_tenant",
    ),
    "unique that only includes the tenant": (
        "CREATE UNIQUE INDEX notes_lower ON notes (title) INCLUDE ({c})",
        "unique_without_tenant",
    ),
    "primary key without the tenant": (
        "ALTER TABLE notes DROP CONSTRAINT notes_pkey CASCADE; ALTER TABLE notes ADD CONSTRAINT "
        "notes_pkey PRIMARY KEY (id); ALTER TABLE comments ADD CONSTRAINT comments_note_fk FOREIGN "
        "KEY (note_id) REFERENCES notes (id) ON DELETE CASCADE",
        "unique_without_tenant",
    ),
    "partition's own unique key": (
        "CREATE UNIQUE INDEX alone ON events_2024 (id)",
        "unique_without_tenant",
    ),
    "foreign key without the tenant": (
        "ALTER TABLE notes ADD UNIQUE (id); ALTER TABLE comments DROP CONSTRAINT comments_note_fk; "
        "ALTER TABLE comments ADD CONSTRAINT fk FOREIGN KEY (note_id) REFERENCES notes (id) "
        "ON DELETE CASCADE DEFERRABLE",
        "foreign_key_without_tenant",
    ),
    "foreign key with another's tenant": (
        "ALTER TABLE notes ADD CONSTRAINT u UNIQUE ({c}, id, owner); ALTER TABLE comments ADD owner "
        "{type}, ADD CONSTRAINT fk FOREIGN KEY (owner, note_id) REFERENCES notes ({c}, id)",
        "foreign_key_without_tenant",
    ),
    "foreign key that clears the tenant": (
        "ALTER TABLE comments DROP CONSTRAINT comments_note_fk; ALTER TABLE comments ADD CONSTRAINT "
        "comments_note_fk FOREIGN KEY ({c}, note_id) REFERENCES notes ({c}, id) ON DELETE SET NULL; "
        "ALTER TABLE comments ADD CONSTRAINT other_fk FOREIGN KEY ({c}, note_id) REFERENCES notes "
        "({c}, id) ON DELETE CASCADE",
        "foreign_key_clears_tenant",
    ),
    "foreign key not validated": (
        "ALTER TABLE comments ADD CONSTRAINT fk FOREIGN KEY ({c}, id) REFERENCES notes ({c}, id) "
        "ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED NOT VALID; DELETE FROM comments; "
        "ALTER TABLE comments DROP CONSTRAINT comments_note_fk; ALTER TABLE comments DROP "
        "CONSTRAINT fk; ALTER TABLE comments ADD CONSTRAINT comments_note_fk FOREIGN KEY "
        "({c}, note_id) REFERENCES notes ({c}, id) ON DELETE CASCADE NOT VALID",
        "foreign_key_unchecked",
    ),
    "foreign key disabled": ("ALTER TABLE comments DISABLE TRIGGER ALL", "foreign_key_unchecked"),
    "exclusion without the tenant": (
        "CREATE EXTENSION btree_gist; ALTER TABLE notes ADD CONSTRAINT once EXCLUDE USING gist "
        "(title WITH =, id WITH <>)",
        "exclusion_without_tenant",
    ),
    "exclusion that inverts the tenant": (
        "CREATE EXTENSION btree_gist; ALTER TABLE notes ADD CONSTRAINT once EXCLUDE USING gist "
        "({c} WITH <>, title WITH =)",
        "unique_loose",
    ),
}

POLICIES: Final = {
    "no policy": (_ALONE, "policy_missing"),
    "policy for another role": (
        f"{_ALONE} CREATE POLICY p ON notes TO {{system}} USING (true)",
        "policy_missing",
    ),
    "policy for reading only": (
        f"{_ALONE} CREATE POLICY p ON notes FOR SELECT TO {{runtime}} USING ({{rule}})",
        "policy_commands",
    ),
    "no restrictive twin": (
        "DROP POLICY tenant_isolation_strict ON notes",
        "policy_not_restrictive",
    ),
    "open": (_policy("true", "true"), "policy_open"),
    "open for reading": (
        "DROP POLICY tenant_isolation_strict ON notes; CREATE POLICY p ON notes FOR SELECT USING (true)",
        "policy_open",
    ),
    "open and held": ("CREATE POLICY p ON notes USING (true)", "policy_open"),
    "always true": (_policy("1 = 1"), "policy_open"),
    "check left out": (
        f"{_ALONE} CREATE POLICY p ON notes TO {{runtime}} USING ({{rule}})",
        "policy_check_missing",
    ),
    "check open": (_policy("{rule}", "true"), "policy_check_weaker"),
    "insert open": (
        "DROP POLICY tenant_isolation_strict ON notes; CREATE POLICY p ON notes FOR INSERT TO "
        "{runtime} WITH CHECK (true)",
        "policy_check_weaker",
    ),
    "another column": (_policy("owner = (SELECT {helper})"), "policy_other_column"),
    "inverted": (_policy("{c} <> (SELECT {helper})"), "policy_inverted"),
    "negated": (_policy("NOT ({rule})"), "policy_inverted"),
    "greater or equal": (_policy("{c} >= (SELECT {helper})"), "policy_inverted"),
    "prefix": (
        _policy("{c}::text LIKE (SELECT pg_catalog.left({helper}::text, 1)) || '%'"),
        "policy_prefix",
    ),
    "starts with": (
        _policy("starts_with({c}::text, (SELECT {helper})::text)"),
        "policy_prefix",
    ),
    "or null": (_policy("{rule} OR {c} IS NULL"), "policy_or_null"),
    "or nobody bound": (_policy("{rule} OR (SELECT {helper}) IS NULL"), "policy_or_null"),
    "or a flag": (_policy("{rule} OR public"), "policy_or_flag"),
    "or the role": (_policy("{rule} OR current_user = 'admin'"), "policy_or_flag"),
    "or a setting": (
        _policy("{rule} OR current_setting('app.bypass', true) = 'on'"),
        "policy_or_setting",
    ),
    "the setting itself": (
        _policy("{c}::text = current_setting('{setting}', true)"),
        "policy_unrecognised",
    ),
    "a default tenant": (
        _policy("{c} = COALESCE((SELECT {helper}), '{tenant}')"),
        "policy_default_tenant",
    ),
    "a case": (
        _policy("CASE WHEN public THEN true ELSE {rule} END"),
        "policy_default_tenant",
    ),
    "among several": (_policy("{c} IN ((SELECT {helper}), '{tenant}')"), "policy_or_flag"),
    "trusts a writable table": (
        _policy("{c} IN (SELECT m.owner FROM comments n JOIN notes m ON true)"),
        "policy_trusts_writable",
    ),
    "reads another table": (
        _policy("EXISTS (SELECT FROM countries WHERE open) AND {rule}"),
        "policy_reads_table",
    ),
    "another function": (
        "CREATE FUNCTION public.mine({type}) RETURNS bool LANGUAGE sql STABLE RETURN true; "
        + _policy("public.mine({c})"),
        "policy_function",
    ),
    "an impostor of the helper": (
        "CREATE FUNCTION public.current_tenant() RETURNS {type} LANGUAGE sql "
        "RETURN '{tenant}'::{type}; " + _policy("{c} = (SELECT public.current_tenant())"),
        "policy_function",
    ),
    "another operator": (
        "CREATE FUNCTION public.same({type}, {type}) RETURNS bool LANGUAGE sql IMMUTABLE RETURN "
        "true; CREATE OPERATOR public.= (FUNCTION = public.same, LEFTARG = {type}, RIGHTARG = "
        "{type}); " + _policy("{c} OPERATOR(public.=) (SELECT {helper})"),
        "policy_operator",
    ),
    "and more": (_policy("{rule} AND id > 0"), "policy_unrecognised"),
    "system role blind": ("DROP POLICY system_access ON notes", "system_policy_missing"),
    "restrictive twin open": (
        "ALTER POLICY tenant_isolation_strict ON notes USING (true) WITH CHECK (true)",
        "policy_not_restrictive",
    ),
    "among an array": (_policy("{c} = ANY (ARRAY[(SELECT {helper}), owner])"), "policy_or_flag"),
    "for the owner": (
        "CREATE POLICY p ON notes TO {owner} USING (true)",
        "policy_for_owner",
    ),
    "on a system table": (
        "CREATE POLICY p ON memberships USING (true)",
        "policy_on_system_table",
    ),
    "the system's policy for all": (
        "ALTER POLICY system_access ON memberships TO PUBLIC",
        "policy_on_system_table",
    ),
}

GRANTS: Final = {
    "truncate": ("GRANT TRUNCATE, TRIGGER ON notes TO {runtime}", "grant_excessive"),
    "references on a column": ("GRANT REFERENCES (id) ON notes TO {runtime}", "grant_excessive"),
    "system table": ("GRANT SELECT ON memberships TO PUBLIC", "grant_excessive"),
    "column of a system table": (
        "GRANT SELECT (user_id) ON memberships TO {runtime}",
        "grant_excessive",
    ),
    "shared table writable": ("GRANT INSERT ON countries TO {runtime}", "grant_excessive"),
    "truncate on a partition": ("GRANT TRUNCATE ON events_2024 TO {runtime}", "grant_excessive"),
    "for everybody": ("GRANT SELECT ON notes TO PUBLIC", "grant_public"),
    "to hand on": ("GRANT SELECT ON notes TO {runtime} WITH GRANT OPTION", "grant_option"),
    "new tables for everybody": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON TABLES TO PUBLIC",
        "grant_default",
    ),
    "new tables for the app": (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {runtime}",
        "grant_default",
    ),
    "create in public": ("GRANT CREATE ON SCHEMA public TO {runtime}", "schema_create"),
    "create for everybody": ("GRANT CREATE ON SCHEMA public TO PUBLIC", "schema_create"),
    "create in the helper's schema": ("GRANT ALL ON SCHEMA {schema} TO {runtime}", "schema_create"),
    "create schemas": ("GRANT CREATE ON DATABASE {database} TO {runtime}", "database_create"),
    "reads a sequence": ("GRANT SELECT ON SEQUENCE notes_id_seq TO {runtime}", "sequence_granted"),
    "sets a sequence": ("GRANT UPDATE ON SEQUENCE notes_id_seq TO PUBLIC", "sequence_granted"),
    "a superuser's parameter": (
        "GRANT SET ON PARAMETER session_replication_role TO {runtime}",
        "parameter_granted",
    ),
    "statistics": ("GRANT SELECT ON pg_catalog.pg_statistic TO {runtime}", "catalog_granted"),
    "passwords": (
        "GRANT SELECT (rolpassword) ON pg_catalog.pg_authid TO PUBLIC",
        "catalog_granted",
    ),
    "files": (
        "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO {runtime}",
        "catalog_granted",
    ),
}

CODE: Final = {
    "definer view": (
        "CREATE VIEW peek AS SELECT * FROM notes; GRANT SELECT ON peek TO {runtime}",
        "view_definer",
    ),
    "definer view over an invoker view": (
        "CREATE VIEW peek AS SELECT * FROM note_titles; GRANT SELECT ON peek TO PUBLIC",
        "view_definer",
    ),
    "definer view over a system table": (
        "CREATE VIEW peek AS SELECT * FROM memberships; GRANT SELECT ON peek TO {runtime}",
        "view_definer",
    ),
    "definer view over a view over a view": (
        "CREATE VIEW a AS SELECT * FROM note_titles; CREATE VIEW b AS SELECT * FROM a; "
        "CREATE VIEW peek AS SELECT * FROM b; GRANT SELECT ON peek TO {runtime}",
        "view_definer",
    ),
    "materialized view": (
        "CREATE MATERIALIZED VIEW peek AS SELECT * FROM notes; GRANT SELECT ON peek TO {runtime}",
        "view_materialized",
    ),
    "materialized view owned": (
        "CREATE MATERIALIZED VIEW peek AS SELECT * FROM notes; "
        "ALTER MATERIALIZED VIEW peek OWNER TO {runtime}",
        "view_materialized",
    ),
    "view over statistics": (
        "CREATE VIEW peek AS SELECT stanullfrac FROM pg_catalog.pg_statistic; "
        "GRANT SELECT ON peek TO {runtime}",
        "view_exposes_catalog",
    ),
    "a rule": (
        "CREATE TABLE copied AS SELECT * FROM notes; CREATE RULE copy AS ON INSERT TO notes DO ALSO "
        "INSERT INTO copied SELECT NEW.*",
        "rule_unexpected",
    ),
    "definer function": (
        "CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER "
        "SET search_path = pg_catalog, pg_temp RETURN (SELECT count(*) FROM public.notes)",
        "function_definer",
    ),
    "definer function over a hop": (
        "CREATE ROLE {x}_a; GRANT {x}_a TO {runtime}; CREATE FUNCTION peek() RETURNS int LANGUAGE sql "
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp RETURN 1; REVOKE ALL ON FUNCTION "
        "peek() FROM PUBLIC; GRANT EXECUTE ON FUNCTION peek() TO {x}_a",
        "function_definer",
    ),
    "definer function and its path": (
        "CREATE FUNCTION peek() RETURNS int LANGUAGE sql SECURITY DEFINER RETURN 1",
        "function_search_path",
    ),
    "definer trigger": (
        "CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = "
        "pg_catalog, pg_temp AS $$ BEGIN RETURN NEW; END $$; REVOKE ALL ON FUNCTION fire() FROM "
        "PUBLIC; CREATE TRIGGER t AFTER INSERT ON notes FOR EACH ROW EXECUTE FUNCTION fire()",
        "function_definer",
    ),
    "event trigger": (
        "CREATE FUNCTION fire() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER SET "
        "search_path = pg_catalog, pg_temp AS $$ BEGIN END $$; REVOKE ALL ON FUNCTION fire() FROM "
        "PUBLIC; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION fire()",
        "function_definer",
    ),
    "definer procedure": (
        "CREATE PROCEDURE peek() LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp "
        "BEGIN ATOMIC SELECT 1; END",
        "function_definer",
    ),
    "leakproof by hand": (
        "CREATE FUNCTION tells(text) RETURNS bool LANGUAGE plpgsql LEAKPROOF AS "
        "$$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$",
        "function_leakproof",
    ),
    "LIKE made leakproof": (
        "ALTER FUNCTION pg_catalog.textlike(text, text) LEAKPROOF",
        "function_leakproof",
    ),
    "instead-of trigger": (
        "CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = "
        "pg_catalog, pg_temp AS $$ BEGIN RETURN NEW; END $$; REVOKE ALL ON FUNCTION fire() FROM "
        "PUBLIC; GRANT INSERT ON note_titles TO {runtime}; CREATE TRIGGER t INSTEAD OF INSERT ON "
        "note_titles FOR EACH ROW EXECUTE FUNCTION fire()",
        "function_definer",
    ),
    "untrusted code": (
        "CREATE FUNCTION peek(text) RETURNS text LANGUAGE internal AS 'pg_read_file_all'",
        "function_untrusted",
    ),
    "dblink": ("CREATE EXTENSION dblink", "function_reaches_out"),
    "a function among the built-ins": (
        "SET LOCAL allow_system_table_mods = on; CREATE FUNCTION pg_catalog.now(int) RETURNS int "
        "LANGUAGE sql RETURN 1",
        "catalog_tampered",
    ),
    "a cast between built-ins": (
        "CREATE FUNCTION public.c(text) RETURNS point LANGUAGE sql RETURN NULL::point; "
        "CREATE CAST (text AS point) WITH FUNCTION public.c(text) AS IMPLICIT",
        "catalog_tampered",
    ),
}

AROUND: Final = {
    "foreign table": (
        f"{_FOREIGN} CREATE FOREIGN TABLE far (id int) SERVER nowhere; "
        "GRANT SELECT ON far TO {runtime}",
        "foreign_table",
    ),
    "foreign table owned": (
        f"{_FOREIGN} CREATE FOREIGN TABLE far (id int) SERVER nowhere; "
        "ALTER FOREIGN TABLE far OWNER TO {runtime}",
        "foreign_table",
    ),
    "foreign server": (
        f"{_FOREIGN} GRANT USAGE ON FOREIGN SERVER nowhere TO {{runtime}}",
        "foreign_server_usable",
    ),
    "foreign data wrapper": (
        f"{_FOREIGN} GRANT USAGE ON FOREIGN DATA WRAPPER nowhere TO {{runtime}}",
        "foreign_server_usable",
    ),
    "user mapping": (
        f"{_FOREIGN} CREATE USER MAPPING FOR PUBLIC SERVER nowhere",
        "user_mapping",
    ),
    "publication": ("CREATE PUBLICATION p FOR TABLE notes, countries", "publication"),
    "publication of everything": ("CREATE PUBLICATION p FOR ALL TABLES", "publication"),
    "publication of a schema": ("CREATE PUBLICATION p FOR TABLES IN SCHEMA public", "publication"),
    "publication of a partition": ("CREATE PUBLICATION p FOR TABLE events_2024", "publication"),
    "large object": (
        "SELECT lo_create(4711); GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC",
        "large_object",
    ),
    "large object owned": (
        "SELECT lo_create(4711); ALTER LARGE OBJECT 4711 OWNER TO {runtime}",
        "large_object",
    ),
}

FLAWS: Final = {
    f"{family}: {name}": flaw
    for family, flaws in {
        "role": ROLES,
        "helper": HELPERS,
        "table": TABLES,
        "key": KEYS,
        "policy": POLICIES,
        "grant": GRANTS,
        "code": CODE,
        "around": AROUND,
    }.items()
    for name, flaw in flaws.items()
}
