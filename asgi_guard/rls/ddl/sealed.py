"""The helper functions of a sealed deployment: they believe a signature, not a setting.

PostgreSQL has HMAC only in an extension, so it is put together from the built-in ``sha256()``
(RFC 2104), with the padded key blocks computed beforehand. The keys lie in a table that its
NOLOGIN owner alone can read; the functions run as that owner.
"""

from __future__ import annotations

from typing import Final

from asgi_guard.rls.ddl.names import DOLLAR, explained, identifier, literal
from asgi_guard.rls.seal.keys import KEY_ID_LENGTH, SealKeys
from asgi_guard.rls.seal.token import HEAD_LENGTH, MAC_LENGTH, MAX_LIFETIME, VERSION
from asgi_guard.rls.variables import RLSVariables

__all__ = [
    "SEAL_KEYS",
    "retire_seal_key_statement",
    "seal_key_statements",
    "sealed_body",
    "sealed_function_statements",
    "sealed_table_statements",
]

SEAL_KEYS: Final = "seal_keys"
_PAYLOAD: Final = HEAD_LENGTH + MAC_LENGTH + 1
_RESULTS: Final = {
    "current_tenant": f"substr(token, {_PAYLOAD}, substr(token, 37, 4)::integer)",
    "current_user_id": f"NULLIF(substr(token, {_PAYLOAD} + substr(token, 37, 4)::integer), '')",
}


def sealed_table_statements(variables: RLSVariables) -> list[str]:
    """Make the table of keys, readable by its owner alone."""
    table, owner = _table(variables), identifier(variables.owner_role)
    apps = f"{identifier(variables.runtime_role)}, {identifier(variables.system_role)}"
    return [
        explained(
            f"CREATE TABLE IF NOT EXISTS {table} (\n"
            f"    key_id text PRIMARY KEY CHECK (length(key_id) = {KEY_ID_LENGTH}),\n"
            "    inner_pad bytea NOT NULL CHECK (length(inner_pad) = 64),\n"
            "    outer_pad bytea NOT NULL CHECK (length(outer_pad) = 64),\n"
            "    ends timestamptz NOT NULL DEFAULT 'infinity'\n"
            ")",
            "Keys of the seal. Whoever reads them can name any tenant.",
        ),
        f"ALTER TABLE {table} OWNER TO {owner}",
        f"REVOKE ALL ON TABLE {table} FROM PUBLIC, {apps}",
    ]


def sealed_function_statements(variables: RLSVariables) -> list[str]:
    """Make the two functions that policies ask."""
    kinds = (
        ("current_tenant", variables.tenant_id.sql_type, "The tenant whose seal holds"),
        ("current_user_id", "text", "The user whose seal holds"),
    )
    return [
        statement
        for name, returns, why in kinds
        for statement in _function(variables, name, returns, why)
    ]


def seal_key_statements(keys: SealKeys, variables: RLSVariables | None = None) -> list[str]:
    """Write the statements that make *keys* known to the database.

    They contain the keys: run them as the owner or an administrator, over a connection that logs
    no statements, and keep them nowhere.

    Args:
        keys: All are inserted; a key that is there already stays, and is valid again.
        variables: Names that the database uses.

    Returns:
        One statement per key, without semicolons.
    """
    table = _table(variables or RLSVariables())
    statements = []
    for key in keys.keys:
        inner, outer = key.pads()
        statements.append(
            f"INSERT INTO {table} (key_id, inner_pad, outer_pad) VALUES "
            f"({literal(key.key_id)}, decode('{inner.hex()}', 'hex'), "
            f"decode('{outer.hex()}', 'hex')) "
            "ON CONFLICT (key_id) DO UPDATE SET ends = 'infinity'"
        )
    return statements


def retire_seal_key_statement(key_id: str, variables: RLSVariables | None = None) -> str:
    """Write the statement after which tokens of one key are refused.

    Run it when no process signs with that key any more.

    Args:
        key_id: `SealKey.key_id` of the key.
        variables: Names that the database uses.
    """
    table = _table(variables or RLSVariables())
    return f"UPDATE {table} SET ends = now() WHERE key_id = {literal(key_id)}"


def sealed_body(variables: RLSVariables, name: str) -> str:
    """Return the body of one function, as PostgreSQL keeps it in ``pg_proc.prosrc``.

    The signature covers everything but itself, so a part is believed only after it was checked.
    ``now()`` is when the transaction began: one that takes long keeps its tenant. The limit on
    how long a token may live bounds what can be guessed against it.
    """
    rest = HEAD_LENGTH + 1
    returns = "text" if name == "current_user_id" else variables.tenant_id.sql_type
    return f"""
DECLARE
    token text := current_setting({literal(variables.setting)}, true);
    mac text;
    lifetime numeric;
BEGIN
    IF token IS NULL OR token = '' THEN
        RETURN NULL;
    END IF;
    SELECT encode(sha256(key.outer_pad || sha256(key.inner_pad || convert_to(
               substr(token, 1, {HEAD_LENGTH}) || substr(token, {_PAYLOAD}), 'UTF8'))), 'hex')
        INTO mac
        FROM {_table(variables)} AS key
        WHERE key.key_id = substr(token, {len(VERSION) + 1}, {KEY_ID_LENGTH}) AND key.ends > now();
    IF mac IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = '28000', MESSAGE = 'tenant_seal: no valid key';
    END IF;
    IF mac <> substr(token, {rest}, {MAC_LENGTH}) OR substr(token, 1, 2) <> {literal(VERSION)} THEN
        RAISE EXCEPTION USING ERRCODE = '28000', MESSAGE = 'tenant_seal: forged';
    END IF;
    IF substr(token, 27, 10)::bigint NOT IN (0, pg_backend_pid()) THEN
        RAISE EXCEPTION USING ERRCODE = '28000', MESSAGE = 'tenant_seal: of another connection';
    END IF;
    lifetime := substr(token, 11, 16)::bigint / 1000000.0 - extract(epoch FROM now());
    IF lifetime <= 0 OR lifetime > {MAX_LIFETIME} THEN
        RAISE EXCEPTION USING ERRCODE = '28000', MESSAGE = 'tenant_seal: expired';
    END IF;
    RETURN ({_RESULTS[name]})::{returns};
END
"""


def _function(variables: RLSVariables, name: str, returns: str, why: str) -> list[str]:
    function = f"{identifier(variables.schema)}.{name}()"
    apps = f"{identifier(variables.runtime_role)}, {identifier(variables.system_role)}"
    return [
        explained(
            f"CREATE OR REPLACE FUNCTION {function} RETURNS {returns}\n"
            # Restricted: the server process that a token names is the one that leads a query.
            "    LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER\n"
            "    SET search_path = pg_catalog, pg_temp\n"
            f"    AS {DOLLAR}{sealed_body(variables, name)}{DOLLAR}",
            f"{why}; NULL without one, an error for one that is forged, late or not of this\n"
            "connection.",
        ),
        f"ALTER FUNCTION {function} OWNER TO {identifier(variables.owner_role)}",
        f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC, {apps}",
        f"GRANT EXECUTE ON FUNCTION {function} TO {apps}",
    ]


def _table(variables: RLSVariables) -> str:
    return f"{identifier(variables.schema)}.{identifier(SEAL_KEYS)}"
