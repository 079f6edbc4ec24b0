"""What the catalog said, as plain values: the checks are pure functions over a `Snapshot`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from asgi_guard.rls.ddl.names import TableName

__all__ = ["Edge", "Policy", "Preset", "Relation", "Role", "Snapshot"]


@dataclass(frozen=True, slots=True)
class Role:
    """One role's attributes (``pg_roles``)."""

    name: str
    superuser: bool
    bypass_rls: bool
    create_role: bool
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
    """A tenant setting that a session starts with (``pg_db_role_setting``)."""

    role: str | None
    database: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy (``pg_policy``).

    ``command`` is ``*``, ``r``, ``a``, ``w`` or ``d``; ``applies`` says whether it does to the
    connected role; ``functions`` are the ones that its expressions call.
    """

    name: str
    permissive: bool
    command: str
    applies: bool
    using: str | None
    check: str | None
    functions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """One table or view (``pg_class``).

    ``kind`` is ``r`` table, ``p`` partitioned, ``f`` foreign, ``v`` view, ``m`` materialized
    view. ``privileges`` are what the connected role has or can get by becoming another;
    ``grants`` pairs of grantee and privilege, on the table or a
    column of it (``PUBLIC`` is the empty name); ``reads`` what a
    view selects from.
    """

    name: TableName
    kind: str
    owner: str
    enabled: bool
    forced: bool
    has_column: bool
    invoker: bool
    privileges: frozenset[str]
    grants: tuple[tuple[str, str], ...]
    parents: tuple[TableName, ...]
    reads: tuple[TableName, ...]
    policies: tuple[Policy, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The catalog as the connected role sees it, read in one query."""

    version: int
    role: str
    helper_owner: str | None
    roles: dict[str, Role]
    edges: tuple[Edge, ...]
    presets: tuple[Preset, ...]
    relations: dict[TableName, Relation]
    _children: dict[TableName, tuple[TableName, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str | dict[str, Any]) -> Snapshot:
        """Read the JSON that `asgi_guard.rls.catalog.query` asks for."""
        raw = json.loads(text) if isinstance(text, str) else text
        relations = [_relation(item) for item in raw["relations"]]
        return cls(
            version=raw["version"],
            role=raw["role"],
            helper_owner=raw["helper_owner"],
            roles={item["name"]: Role(**item) for item in raw["roles"]},
            edges=tuple(Edge(**item) for item in raw["edges"]),
            presets=tuple(Preset(**item) for item in raw["presets"]),
            relations={relation.name: relation for relation in relations},
            _children=_by_parent(relations),
        )

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


def _by_parent(relations: Iterable[Relation]) -> dict[TableName, tuple[TableName, ...]]:
    children: dict[TableName, list[TableName]] = {}
    for relation in relations:
        for parent in relation.parents:
            children.setdefault(parent, []).append(relation.name)
    return {parent: tuple(sorted(names)) for parent, names in children.items()}


def _relation(raw: dict[str, Any]) -> Relation:
    return Relation(
        name=TableName(raw["schema"], raw["name"]),
        kind=raw["kind"],
        owner=raw["owner"],
        enabled=raw["enabled"],
        forced=raw["forced"],
        has_column=raw["has_column"],
        invoker=raw["invoker"],
        privileges=frozenset(raw["privileges"]),
        grants=tuple((grantee, privilege) for grantee, privilege in raw["grants"]),
        parents=tuple(TableName(*pair) for pair in raw["parents"]),
        reads=tuple(TableName(*pair) for pair in raw["reads"]),
        policies=tuple(
            Policy(**{**item, "functions": tuple(item["functions"])}) for item in raw["policies"]
        ),
    )
