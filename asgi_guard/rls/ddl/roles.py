"""The three roles, and who may run the script that makes them.

Passwords are not here: see `asgi_guard.rls.ddl.passwords`.
"""

from __future__ import annotations

from asgi_guard.rls.ddl.names import DOLLAR, explained, identifier, literal
from asgi_guard.rls.variables import RLSVariables

__all__ = ["administrator_check", "missing_role_statement", "role_statements"]

_OWNER = "Owns the schema, its functions and every table. Nobody logs in as it."
_RUNTIME = "What the app connects as. Owns nothing, bypasses nothing, inherits nothing."
_SYSTEM = """\
The audited way across tenants: it sees every row through policies of its own, which anybody can
list and drop, not through BYPASSRLS, which reaches every table there is."""


def administrator_check(variables: RLSVariables) -> str:
    """Refuse to run as one of the three roles: the script would lock out its own runner."""
    names = ", ".join(
        literal(role)
        for role in (variables.owner_role, variables.runtime_role, variables.system_role)
    )
    return f"""\
-- To be run by an administrator: a superuser, or a role with CREATEROLE that owns the database.
DO {DOLLAR}
BEGIN
    IF current_user IN ({names}) THEN
        RAISE EXCEPTION 'run this as an administrator, not as %', current_user;
    END IF;
END
{DOLLAR}"""


def role_statements(variables: RLSVariables) -> list[str]:
    """Make or correct the three roles, and let a managed administrator hand tables over."""
    return [
        _role(variables.owner_role, "NOLOGIN", _OWNER),
        _role(variables.runtime_role, "LOGIN", _RUNTIME),
        _role(variables.system_role, "LOGIN", _SYSTEM),
        _lend_owner(variables.owner_role),
        _let_connect(variables),
    ]


def missing_role_statement(role: str, *, login: bool) -> str:
    """Make one role that does not exist yet."""
    return f"CREATE ROLE {identifier(role)} {'LOGIN' if login else 'NOLOGIN'} NOINHERIT"


def _role(role: str, login: str, why: str) -> str:
    # NOSUPERUSER and its kin are spelled only where they must change something: on a managed
    # server the administrator may not even mention them (PostgreSQL docs, ALTER ROLE, Notes).
    # A superuser is refused, not corrected: the name may be the administrator's own.
    name, text = identifier(role), literal(role)
    wrong_login = "rolcanlogin" if login == "NOLOGIN" else "NOT rolcanlogin"
    block = f"""\
DO {DOLLAR}
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {text} AND rolsuper) THEN
        RAISE EXCEPTION 'role % is a superuser', {text}
            USING HINT = 'Give each of the three roles a name of its own.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {text}) THEN
        {missing_role_statement(role, login=login == "LOGIN")};
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {text}
               AND (rolbypassrls OR rolreplication)) THEN
        ALTER ROLE {name} NOBYPASSRLS NOREPLICATION;
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {text}
               AND (rolcreaterole OR rolcreatedb OR rolinherit OR {wrong_login})) THEN
        ALTER ROLE {name} {login} NOCREATEROLE NOCREATEDB NOINHERIT;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;  -- roles belong to the whole cluster: another database was made ready just now
END
{DOLLAR}"""
    return explained(block, why)


def _lend_owner(owner: str) -> str:
    return f"""\
-- An administrator who is no superuser hands objects over only to roles it is a member of.
DO {DOLLAR}
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE pg_catalog.format('GRANT {identifier(owner)} TO %I', current_user);
    END IF;
END
{DOLLAR}"""


def _let_connect(variables: RLSVariables) -> str:
    roles = f"{identifier(variables.runtime_role)}, {identifier(variables.system_role)}"
    return f"""\
-- Needed where CONNECT was taken from PUBLIC.
DO {DOLLAR}
BEGIN
    EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO {roles}',
                              pg_catalog.current_database());
END
{DOLLAR}"""
