"""What the catalog said about objects other than tables, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

from asgi_guard.rls.ddl.names import TableName

__all__ = [
    "CatalogGrant",
    "Database",
    "DefaultGrant",
    "Edge",
    "ForeignKey",
    "Function",
    "Helper",
    "Mapping",
    "Owned",
    "ParameterGrant",
    "Preset",
    "Publication",
    "Role",
    "Schema",
    "SequenceGrant",
    "ServerGrant",
    "Tampered",
]

# ``grantee`` and ``creators`` name roles; PUBLIC is the empty name, as in the catalog's own views.


@dataclass(frozen=True, slots=True)
class Role:
    """One role's attributes (``pg_roles``)."""

    name: str
    superuser: bool
    bypass_rls: bool
    create_role: bool
    create_db: bool
    login: bool
    replication: bool
    bootstrap: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """``GRANT role TO member``, by *grantor* (``pg_auth_members``)."""

    member: str
    role: str
    grantor: str


@dataclass(frozen=True, slots=True)
class Preset:
    """A setting that a session starts with (``pg_db_role_setting``)."""

    role: str | None
    database: str | None
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Helper:
    """A function that policies ask (``pg_proc``), with what its body rests on beyond built-ins."""

    name: str
    owner: str
    returns: str
    set: bool
    language: str
    definer: bool
    volatility: str
    parallel: str
    strict: bool
    leakproof: bool
    settings: tuple[str, ...]
    body: str
    standard: bool
    callable: bool
    rests_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function with its owner's rights or untrusted code that the app calls or fires."""

    schema: str
    name: str
    signature: str
    owner: str
    definer: bool
    language: str
    trusted: bool
    extension: str | None
    settings: tuple[str, ...]
    executable: bool
    fires: bool
    grantees: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema, and who of the app's roles was granted CREATE in it."""

    name: str
    owner: str
    creators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Owned:
    """An object that the app's role owns (``pg_identify_object``)."""

    type: str
    identity: str
    schema: str | None
    name: str | None
    owner: str


@dataclass(frozen=True, slots=True)
class Tampered:
    """An object that stands in ``pg_catalog``, or a built-in cast's way, and was not shipped so."""

    type: str
    identity: str


@dataclass(frozen=True, slots=True)
class Database:
    """The connected database."""

    name: str
    owner: str
    creators: tuple[str, ...]
    template: bool


@dataclass(frozen=True, slots=True)
class DefaultGrant:
    """``ALTER DEFAULT PRIVILEGES``: what objects made by *maker* grant from the start."""

    maker: str
    schema: str | None
    kind: str
    grantee: str
    privilege: str


@dataclass(frozen=True, slots=True)
class ParameterGrant:
    """``GRANT SET`` or ``ALTER SYSTEM ON PARAMETER``."""

    name: str
    privilege: str
    grantee: str


@dataclass(frozen=True, slots=True)
class CatalogGrant:
    """A right on a system table, column or function that the server was not shipped with."""

    kind: str
    object: str
    column: str | None
    grantee: str
    privilege: str


@dataclass(frozen=True, slots=True)
class SequenceGrant:
    """A right on a sequence beyond drawing its next value."""

    name: TableName
    grantee: str
    privilege: str


@dataclass(frozen=True, slots=True)
class Publication:
    """What is sent to whoever subscribes."""

    name: str
    everything: bool
    schemas: tuple[str, ...]
    tables: tuple[TableName, ...]


@dataclass(frozen=True, slots=True)
class ServerGrant:
    """A right to use another server or a way of reaching one."""

    kind: str
    name: str
    grantee: str


@dataclass(frozen=True, slots=True)
class Mapping:
    """A login on another server that the app's role has; PUBLIC's is the empty name."""

    server: str
    user: str


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key; ``clears`` are the columns that deleting the other row empties."""

    name: str
    table: TableName
    target: TableName
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]
    clears: tuple[str, ...]
    definition: str
    validated: bool
    enforced: bool
