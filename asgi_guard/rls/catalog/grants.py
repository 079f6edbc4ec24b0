"""Checks of grants: on tables, schemas, the database, parameters, and on what is made next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from asgi_guard.rls.catalog.facts import DefaultGrant
from asgi_guard.rls.catalog.finding import Finding, make, script
from asgi_guard.rls.catalog.scope import AuditScope
from asgi_guard.rls.catalog.snapshot import Relation
from asgi_guard.rls.ddl.names import identifier

__all__ = ["creation", "defaults", "sequences", "system", "tables"]

_ROWS: Final = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
_NOTHING: Final[frozenset[str]] = frozenset()
_KINDS: Final = {"r": "TABLES", "n": "SCHEMAS", "L": "LARGE OBJECTS"}


def tables(scope: AuditScope) -> Iterator[Finding]:
    """The app's role was granted what its kind of table allows, and no more."""
    inventory = scope.inventory
    allowed = [
        *((relation, _ROWS) for relation in scope.guarded),
        *((relation, _ROWS) for relation in scope.children()),
        *((relation, frozenset({"SELECT"})) for relation in scope.present(inventory.shared)),
        *((relation, _NOTHING) for relation in scope.present(inventory.system_only)),
    ]
    for relation, rights in allowed:
        excess = [(who, what) for who, what, _ in relation.grants if what not in rights]
        if excess:
            yield _excess(relation, excess)
        public = [("", what) for who, what, _ in relation.grants if not who and what in rights]
        if public:
            yield make(
                "grant_public",
                relation.name,
                "Every role of the server was granted it, whatever is made of that role later.",
                _revoked(relation, public, regrant=_app(scope)),
            )
        handed = [(who, what) for who, what, option in relation.grants if option]
        if handed:
            yield make(
                "grant_option",
                relation.name,
                "The app's role may grant its rights to others, who are held by no policy of its.",
                _revoked(relation, handed, option="GRANT OPTION FOR "),
            )


def creation(scope: AuditScope) -> Iterator[Finding]:
    """Neither the app nor PUBLIC may create anything but temporary tables."""
    own = scope.inventory.variables.owner_role  # becoming it is a finding of its own
    for schema in scope.snapshot.schemas:
        creators = tuple(who for who in schema.creators if who != own)
        if creators:
            yield make(
                "schema_create",
                schema.name,
                "Who may create here puts an object in front of another's (CVE-2018-1058).",
                f"REVOKE CREATE ON SCHEMA {identifier(schema.name)} "
                f"FROM {scope.grantees(creators)};",
            )
    database = scope.snapshot.database
    if database.creators:
        yield make(
            "database_create",
            database.name,
            "Who may create schemas owns what is in them, and may name them as others expect.",
            f"REVOKE CREATE ON DATABASE {identifier(database.name)} "
            f"FROM {scope.grantees(database.creators)};",
        )
    if database.owner in scope.selves:
        owner = identifier(scope.inventory.variables.owner_role)
        yield make(
            "database_owned",
            database.name,
            "The owner of a database is a member of pg_database_owner, which owns schema public, "
            "and may drop or rename it all.",
            f"ALTER DATABASE {identifier(database.name)} OWNER TO {owner};\n"
            f"GRANT CONNECT ON DATABASE {identifier(database.name)} TO {_app(scope)};",
        )


def defaults(scope: AuditScope) -> Iterator[Finding]:
    """Nothing that is made later is granted to the app as it is made, before it has policies."""
    for grant in _distinct(scope.snapshot.default_grants, _place):
        where = f" IN SCHEMA {identifier(grant.schema)}" if grant.schema else ""
        kind = _KINDS[grant.kind]
        who = identifier(grant.grantee) if grant.grantee else "PUBLIC"
        yield make(
            "grant_default",
            f"{kind.lower()} of {grant.maker}{where.lower()}",
            f"New {kind.lower()} that {grant.maker} makes are granted to {who} before anybody "
            "gave them policies.",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {identifier(grant.maker)}{where} "
            f"REVOKE ALL ON {kind} FROM {who};",
            severity="warning" if grant.grantee else "error",
        )


def sequences(scope: AuditScope) -> Iterator[Finding]:
    """The app draws from sequences, and neither reads nor sets them."""
    for grant in _distinct(scope.snapshot.sequences, lambda one: (one.name, one.grantee)):
        who = identifier(grant.grantee) if grant.grantee else "PUBLIC"
        yield make(
            "sequence_granted",
            grant.name,
            "SELECT tells how many rows all tenants made, UPDATE sets the next number for all.",
            f"REVOKE SELECT, UPDATE ON SEQUENCE {grant.name.sql} FROM {who};",
        )


def system(scope: AuditScope) -> Iterator[Finding]:
    """No right on the server's own parameters, tables and functions beyond everybody's."""
    for given in scope.snapshot.parameters:
        who = identifier(given.grantee) if given.grantee else "PUBLIC"
        yield make(
            "parameter_granted",
            given.name,
            f"{who} may {given.privilege} a parameter kept for superusers: one of them switches "
            "foreign keys and triggers off.",
            f"REVOKE {given.privilege} ON PARAMETER {given.name} FROM {who};",
        )
    for grant in scope.snapshot.catalog_grants:
        who = identifier(grant.grantee) if grant.grantee else "PUBLIC"
        column = f" ({grant.column})" if grant.column else ""
        yield make(
            "catalog_granted",
            grant.object,
            "It reaches rows, files, statistics or passwords that PostgreSQL keeps from everybody.",
            f"REVOKE {grant.privilege}{column} ON {grant.kind} {grant.object} FROM {who};",
        )


def _excess(relation: Relation, excess: list[tuple[str, str]]) -> Finding:
    listed = ", ".join(sorted({privilege for _, privilege in excess}))
    return make(
        "grant_excessive",
        relation.name,
        f"The app's role was granted {listed}; TRUNCATE ignores policies, REFERENCES probes "
        "other tenants' keys, TRIGGER runs code, and only declared tables may be read or written.",
        _revoked(relation, excess),
    )


def _revoked(
    relation: Relation, grants: list[tuple[str, str]], *, option: str = "", regrant: str = ""
) -> str:
    by_grantee: dict[str, set[str]] = {}
    for grantee, privilege in grants:
        by_grantee.setdefault(grantee, set()).add(privilege)
    statements = [
        f"REVOKE {option}{', '.join(sorted(privileges))} ON TABLE {relation.name.sql} "
        f"FROM {identifier(grantee) if grantee else 'PUBLIC'}"
        for grantee, privileges in sorted(by_grantee.items())
    ]
    if regrant and not relation.parents:  # the app may have had it by this grant alone
        listed = ", ".join(sorted({privilege for _, privilege in grants}))
        statements.append(f"GRANT {listed} ON TABLE {relation.name.sql} TO {regrant}")
    return script(statements)


def _app(scope: AuditScope) -> str:
    return identifier(scope.inventory.variables.runtime_role)


def _place(grant: DefaultGrant) -> tuple[object, ...]:
    return grant.maker, grant.schema, grant.kind, grant.grantee


def _distinct(items: Iterable[object], key: Callable[..., object]) -> list:  # type: ignore[type-arg]
    return list({key(item): item for item in items}.values())
