"""What the catalog said, as plain values that can be compared with what is wanted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

from asgi_guard.rls.ddl.names import TableName

__all__ = ["Aspects", "FoundFunction", "FoundPolicy", "FoundRelation", "State"]

Aspects: TypeAlias = dict[str, str]
"""What can depart, in words: ``{"owner": "app_owner", "grants of PUBLIC": ""}``."""

Grants: TypeAlias = tuple[tuple[str, str], ...]
"""Pairs of grantee (PUBLIC is the empty name) and privilege."""


@dataclass(frozen=True, slots=True)
class FoundPolicy:
    """One policy; the expressions are as PostgreSQL prints them, and what they rest on."""

    name: str
    permissive: bool
    command: str
    roles: tuple[str, ...]
    using: str | None
    check: str | None
    functions: tuple[str, ...]
    tables: tuple[TableName, ...]
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FoundRelation:
    """One table, partition or view. ``tenant`` is whether the column is NOT NULL, and its default.

    ``leads`` says whether a whole, valid B-tree index begins with the tenant.
    """

    name: TableName
    kind: str
    owner: str
    enabled: bool
    forced: bool
    invoker: bool
    tenant: tuple[bool, str] | None
    parents: tuple[TableName, ...]
    grants: Grants
    column_grants: tuple[str, ...]
    policies: tuple[FoundPolicy, ...]
    leads: bool
    sequences: tuple[tuple[str, bool, Grants], ...]


@dataclass(frozen=True, slots=True)
class FoundFunction:
    """One of the functions that policies ask."""

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
    rests_on: tuple[str, ...]
    grants: Grants


@dataclass(frozen=True, slots=True)
class State:
    """The part of the catalog that the generated DDL writes."""

    relations: dict[TableName, FoundRelation]
    helpers: dict[str, FoundFunction]
    schemas: dict[str, tuple[str, Grants]]
    roles: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> State:
        """Read the JSON that `asgi_guard.rls.drift.query` asks for."""
        raw = json.loads(text)
        relations = [_relation(item) for item in raw["relations"]]
        functions = [
            FoundFunction(
                **{
                    **item,
                    "settings": tuple(item["settings"]),
                    "rests_on": tuple(item["rests_on"]),
                    "grants": _pairs(item["grants"]),
                }
            )
            for item in raw["helpers"]
        ]
        return cls(
            relations={relation.name: relation for relation in relations},
            helpers={function.name: function for function in functions},
            schemas={
                name: (item["owner"], _pairs(item["grants"]))
                for name, item in raw["schemas"].items()
            },
            roles=raw["roles"],
        )

    def children(self, table: TableName) -> list[TableName]:
        """Return partitions and inheritance children of *table*, of any depth, by name."""
        found: set[TableName] = set()
        waiting = [table]
        while waiting:
            parent = waiting.pop()
            new = {name for name, one in self.relations.items() if parent in one.parents} - found
            found |= new
            waiting += new
        return sorted(found)


def _pairs(raw: list[list[str]]) -> Grants:
    return tuple((who, what) for who, what in raw)


def _relation(raw: dict[str, Any]) -> FoundRelation:
    tenant = raw["tenant"]
    parts = {
        "name": TableName(*raw["name"]),
        "tenant": None if tenant is None else (tenant["not_null"], tenant["default"] or ""),
        "parents": tuple(TableName(*pair) for pair in raw["parents"]),
        "grants": _pairs(raw["grants"]),
        "column_grants": tuple(raw["column_grants"]),
        "policies": tuple(_policy(item) for item in raw["policies"]),
        "sequences": tuple(
            (item["name"], item["serial"], _pairs(item["grants"])) for item in raw["sequences"]
        ),
    }
    return FoundRelation(**{**raw, **parts})


def _policy(raw: dict[str, Any]) -> FoundPolicy:
    parts = {
        "roles": tuple(raw["roles"]),
        "functions": tuple(raw["functions"]),
        "tables": tuple(TableName(*pair) for pair in raw["tables"]),
        "others": tuple(raw["others"]),
    }
    return FoundPolicy(**{**raw, **parts})
