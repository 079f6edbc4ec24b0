"""Membership: what a user is in a tenant, and the protocol that looks it up.

Naming a tenant proves nothing. An active membership does: the tenant is active, and the user is
an active member of it. Everything else gets one and the same refusal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from asgi_guard.errors import ConfigError

__all__ = ["Membership", "Memberships", "Status"]


class Status(StrEnum):
    """Where a tenant, or a user's place in it, stands."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETED = "deleted"

    @classmethod
    def parse(cls, word: str | None) -> Status:
        """Return the status called *word*; one that is not known here counts as suspended.

        A word that an older release does not know ("invited", "frozen") must not open a door.
        """
        return next((known for known in cls if known == word), cls.SUSPENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """A user's place in a tenant.

    Args:
        roles: Roles of the user in this tenant.
        member_status: Status of the user's membership.
        tenant_status: Status of the tenant itself.

    Raises:
        ConfigError: *roles* is one string, or a status is not a `Status`.
    """

    roles: Iterable[str] = frozenset()
    member_status: Status = Status.ACTIVE
    tenant_status: Status = Status.ACTIVE

    def __post_init__(self) -> None:
        """Freeze the roles and refuse a status that comparison would silently get wrong."""
        if isinstance(self.roles, str):
            raise ConfigError("roles", "is one string", f"Pass a set, e.g. {{{self.roles!r}}}.")
        object.__setattr__(self, "roles", frozenset(self.roles))
        for field in ("member_status", "tenant_status"):
            try:
                object.__setattr__(self, field, Status(getattr(self, field)))
            except ValueError:
                raise ConfigError(
                    field,
                    "is not active, suspended or deleted",
                    "Map the words of your own table with Status.parse.",
                ) from None

    @property
    def active(self) -> bool:
        """Whether both the tenant and the user's place in it are active."""
        return self.member_status is Status.ACTIVE and self.tenant_status is Status.ACTIVE


@runtime_checkable
class Memberships(Protocol):
    """Where memberships are looked up; every request asks, so put a `CachedMemberships` before."""

    async def lookup(self, user_id: str, tenant_id: str) -> Membership | None:
        """Return what *user_id* is in *tenant_id*, or None if nothing.

        Args:
            user_id: The proven user.
            tenant_id: A tenant that was named, of the configured shape, proven by nothing yet.

        Raises:
            UnavailableError: The answer cannot be had now. The request then fails closed; any
                other exception has the same effect.
        """
