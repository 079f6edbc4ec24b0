"""The two tenants and the users that may sign in, with ids that are the same at each start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

_NAMESPACE: Final = UUID("6f1c6d1e-54b5-4a3a-9c57-0d3a3f3b8a10")


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer of the service."""

    name: str

    @property
    def id(self) -> str:
        """The tenant's id, the same at each start."""
        return str(uuid5(_NAMESPACE, self.name))

    @property
    def known_note(self) -> str:
        """Id of the tenant's first note: known to the attackers, as ids in links are."""
        return str(uuid5(_NAMESPACE, f"{self.name}/first-note"))


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may sign in: a member of one tenant."""

    user: str
    tenant: Tenant
    role: str


NORTH, SOUTH = Tenant("north"), Tenant("south")
TENANTS = (NORTH, SOUTH)
PEOPLE = (
    Person("editor@north.example", NORTH, "editor"),
    Person("reader@north.example", NORTH, "reader"),
    Person("editor@south.example", SOUTH, "editor"),
    Person("reader@south.example", SOUTH, "reader"),
)
SCOPES = {"editor": ("notes:read", "notes:write"), "reader": ("notes:read",)}


def person_named(user: str) -> Person | None:
    """Return who signs in as *user*, or None."""
    return next((person for person in PEOPLE if person.user == user), None)


def other_tenant(tenant: Tenant) -> Tenant:
    """Return the tenant that attacks of *tenant*'s users aim at."""
    return SOUTH if tenant == NORTH else NORTH
