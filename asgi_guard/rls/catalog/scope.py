"""Which relations a check looks at, and as whom: the questions that every family asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asgi_guard.rls.catalog.snapshot import Relation, Snapshot
from asgi_guard.rls.ddl.names import TableName, identifier
from asgi_guard.rls.inventory import Inventory

__all__ = ["AuditScope"]


@dataclass(frozen=True, slots=True)
class AuditScope:
    """A snapshot read in the light of an inventory.

    Args:
        snapshot: What the catalog said.
        inventory: What was declared.
    """

    snapshot: Snapshot
    inventory: Inventory

    @property
    def selves(self) -> tuple[str, ...]:
        """The connected role, and the runtime role where that is a group it belongs to."""
        runtime = self.inventory.variables.runtime_role
        if runtime != self.snapshot.role and runtime in self.reachable_from(self.snapshot.role):
            return (self.snapshot.role, runtime)
        return (self.snapshot.role,)

    @property
    def reachable(self) -> frozenset[str]:
        """Every role that the connected one is or can become."""
        return self.reachable_from(self.snapshot.role)

    def reachable_from(self, role: str) -> frozenset[str]:
        """Return every role that *role* is a member of, over any number of hops, and itself.

        All memberships count: without INHERIT and SET one with ADMIN still grants itself both.
        """
        found = {role}
        size = 0
        while size != len(found):
            size = len(found)
            found |= {edge.role for edge in self.snapshot.edges if edge.member in found}
        return frozenset(found)

    @property
    def guarded(self) -> list[Relation]:
        """Tables that must be guarded: the declared ones, and each one with the tenant column.

        Partitions are their parents' (see `Snapshot.descendants`).
        """
        declared = set(self.inventory.guarded)
        excepted = {*self.inventory.shared, *self.inventory.system_only}
        wanted = [
            relation
            for name, relation in self.snapshot.relations.items()
            if name in declared
            or (relation.has_column and relation.kind in "rp" and name not in excepted)
        ]
        names = {relation.name for relation in wanted}
        children = {child for name in names for child in self.snapshot.descendants(name)}
        return [relation for relation in wanted if relation.name not in children - declared]

    @property
    def concerning(self) -> list[Relation]:
        """The guarded tables that the app reaches, or that were declared."""
        declared = set(self.inventory.guarded)
        return [one for one in self.guarded if one.privileges or one.name in declared]

    def children(self) -> list[Relation]:
        """Return the partitions and inheritance children of guarded tables."""
        parents = self.guarded
        names = {relation.name for relation in parents}
        found = dict.fromkeys(
            child for parent in parents for child in self.snapshot.descendants(parent.name)
        )
        return [self.snapshot.relations[name] for name in found if name not in names]

    def present(self, names: tuple[TableName, ...]) -> list[Relation]:
        """Return those of *names* that exist."""
        relations = self.snapshot.relations
        return [relations[name] for name in names if name in relations]

    def severity(self, relation: Relation) -> Literal["error", "warning"]:
        """Judge a flaw of *relation*: an error when the app could use it, or was told it holds."""
        declared = relation.name in self.inventory.guarded
        return "error" if declared or relation.privileges else "warning"

    def grantees(self, grantees: tuple[str, ...]) -> str:
        """Return who is named in a REVOKE: PUBLIC is the empty name in the catalog."""
        named = [identifier(who) if who else "PUBLIC" for who in sorted(set(grantees))]
        return ", ".join(named)
