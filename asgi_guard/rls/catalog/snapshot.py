"""What the catalog said, as plain values: the checks are pure functions over a `Snapshot`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from asgi_guard.rls.catalog.facts import (
    CatalogGrant,
    Database,
    DefaultGrant,
    Edge,
    ForeignKey,
    Function,
    Helper,
    Mapping,
    Owned,
    ParameterGrant,
    Preset,
    Publication,
    Role,
    Schema,
    SequenceGrant,
    ServerGrant,
    Tampered,
)
from asgi_guard.rls.ddl.names import TableName

__all__ = ["Index", "Policy", "Relation", "Snapshot", "TenantColumn", "Trigger"]


@dataclass(frozen=True, slots=True)
class TenantColumn:
    """The column that tells whose a row is (``pg_attribute``)."""

    not_null: bool
    type: str
    domain: bool
    generated: bool
    deterministic: bool
    default: str | None


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy (``pg_policy``).

    ``command`` is ``*``, ``r``, ``a``, ``w`` or ``d``. ``applies`` says whether it does to the
    connected role or one that it can become, ``active`` to what it is without becoming another,
    ``owners`` to the table's owner by name. What the expressions rest on: ``functions`` and
    ``tables`` they name, and ``others``, operators and types that are
    not the server's own.
    """

    name: str
    permissive: bool
    command: str
    applies: bool
    active: bool
    owners: bool
    using: str | None
    check: str | None
    functions: tuple[str, ...]
    tables: tuple[TableName, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """An index and the constraint that it carries, if any.

    ``columns`` holds None for an expression; ``sound`` says for each whether it is compared with
    the server's own equality. ``inherited`` ones are their parent's.
    """

    schema: str
    name: str
    unique: bool
    exclusion: bool
    valid: bool
    partial: bool
    method: str
    inherited: bool
    constraint: str | None
    definition: str
    columns: tuple[str | None, ...]
    sound: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger that fires, and the function it runs."""

    name: str
    function: str
    definer: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """One table or view (``pg_class``).

    ``kind`` is ``r`` table, ``p`` partitioned, ``f`` foreign, ``v`` view, ``m`` materialized
    view. ``privileges`` are what the connected role has or can get by becoming another;
    ``grants`` triples of grantee, privilege and whether it may be handed on, on the table or a
    column of it (``PUBLIC`` is the empty name); ``reads`` what a view selects from, ``secrets``
    the system's tables among it that not everybody may read.
    """

    name: TableName
    kind: str
    owner: str
    enabled: bool
    forced: bool
    tenant: TenantColumn | None
    extension: bool
    invoker: bool
    privileges: frozenset[str]
    grants: tuple[tuple[str, str, str], ...]
    parents: tuple[TableName, ...]
    reads: tuple[TableName, ...]
    secrets: tuple[str, ...]
    rules: tuple[str, ...]
    triggers: tuple[Trigger, ...]
    indexes: tuple[Index, ...]
    policies: tuple[Policy, ...]

    @property
    def has_column(self) -> bool:
        """Whether the tenant column is there."""
        return self.tenant is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The catalog as the connected role sees it, read in one query."""

    version: int
    role: str
    session: str
    settings: dict[str, str | None]
    roles: dict[str, Role]
    edges: tuple[Edge, ...]
    presets: tuple[Preset, ...]
    relations: dict[TableName, Relation]
    foreign_keys: tuple[ForeignKey, ...]
    helpers: dict[str, Helper]
    functions: tuple[Function, ...]
    schemas: tuple[Schema, ...]
    owned: tuple[Owned, ...]
    tampered: tuple[Tampered, ...]
    leakproof: tuple[str, ...]
    database: Database
    default_grants: tuple[DefaultGrant, ...]
    parameters: tuple[ParameterGrant, ...]
    catalog_grants: tuple[CatalogGrant, ...]
    sequences: tuple[SequenceGrant, ...]
    publications: tuple[Publication, ...]
    servers: tuple[ServerGrant, ...]
    mappings: tuple[Mapping, ...]
    large_objects: tuple[str, ...]
    _children: dict[TableName, tuple[TableName, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | dict[str, Any]) -> Snapshot:
        """Read the JSON that `asgi_guard.rls.catalog.query` asks for."""
        raw = json.loads(text) if isinstance(text, str) else dict(text)
        relations = [_relation(item) for item in raw.pop("relations")]
        lists: dict[str, Any] = {
            section: tuple(_fact(kind, item) for item in raw.pop(section))
            for section, kind in _LISTS.items()
        }
        return cls(
            relations={relation.name: relation for relation in relations},
            roles={item["name"]: Role(**item) for item in raw.pop("roles")},
            helpers={item["name"]: _fact(Helper, item) for item in raw.pop("helpers")},
            database=_fact(Database, raw.pop("database")),
            large_objects=tuple(raw.pop("large_objects")),
            leakproof=tuple(raw.pop("leakproof")),
            _children=_by_parent(relations),
            **lists,
            **raw,
        )

    @property
    def helper_owner(self) -> str | None:
        """Who owns the function that policies ask for the tenant."""
        found = self.helpers.get("current_tenant")
        return None if found is None else found.owner

    def descendants(self, table: TableName) -> list[TableName]:
        """Return the partitions and inheritance children of *table*, of any depth."""
        found: list[TableName] = []
        waiting = list(self._children.get(table, ()))
        while waiting:
            child = waiting.pop(0)
            if child not in found:
                found.append(child)
                waiting += self._children.get(child, ())
        return found


_LISTS: Final[dict[str, type[Any]]] = {
    "edges": Edge,
    "presets": Preset,
    "foreign_keys": ForeignKey,
    "functions": Function,
    "schemas": Schema,
    "owned": Owned,
    "tampered": Tampered,
    "default_grants": DefaultGrant,
    "parameters": ParameterGrant,
    "catalog_grants": CatalogGrant,
    "sequences": SequenceGrant,
    "publications": Publication,
    "servers": ServerGrant,
    "mappings": Mapping,
}


def _by_parent(relations: Iterable[Relation]) -> dict[TableName, tuple[TableName, ...]]:
    children: dict[TableName, list[TableName]] = {}
    for relation in relations:
        for parent in relation.parents:
            children.setdefault(parent, []).append(relation.name)
    return {parent: tuple(sorted(names)) for parent, names in children.items()}


def _relation(raw: dict[str, Any]) -> Relation:
    raw.pop("oid")
    tenant = raw.pop("tenant")
    parts: dict[str, Any] = {
        "name": TableName(raw.pop("schema"), raw.pop("name")),
        "privileges": frozenset(raw.pop("privileges")),
        "grants": tuple((who, what, on) for who, what, on in raw.pop("grants")),
        "tenant": None if tenant is None else TenantColumn(**tenant),
        "triggers": tuple(Trigger(**item) for item in raw.pop("triggers")),
        "indexes": tuple(_fact(Index, item) for item in raw.pop("indexes")),
        "policies": tuple(_fact(Policy, item) for item in raw.pop("policies")),
    }
    return _fact(Relation, {**raw, **parts})  # type: ignore[no-any-return]  # built from JSON


_PAIRS: Final = frozenset({"parents", "reads", "tables"})


def _fact(kind: type[Any], raw: dict[str, Any]) -> Any:
    """Build *kind*: lists become tuples, and pairs of schema and name the name of a table."""
    return kind(**{name: _value(kind, name, value) for name, value in raw.items()})


def _value(kind: type[Any], name: str, value: Any) -> Any:
    if name in _PAIRS:
        return tuple(TableName(*pair) for pair in value)
    if isinstance(value, list):
        single = name in {"table", "target"} or (kind is SequenceGrant and name == "name")
        return TableName(*value) if single else tuple(value)
    return value
