"""Membership: active means both the tenant and the user's place in it."""

from __future__ import annotations

import itertools

import pytest

from asgi_guard.errors import ConfigError
from asgi_guard.tenancy import Membership, Memberships, Status
from tests.support.tenancy_world import Directory


@pytest.mark.parametrize(("member", "tenant"), list(itertools.product(Status, Status)))
def test_only_an_active_member_of_an_active_tenant_is_active(
    member: Status, tenant: Status
) -> None:
    """Suspending a tenant must not have to touch each of its members."""
    membership = Membership(member_status=member, tenant_status=tenant)

    assert membership.active is (member is tenant is Status.ACTIVE)


@pytest.mark.parametrize("word", ["invited", "ACTIVE", "active ", "", None])
def test_a_word_that_is_not_known_counts_as_suspended(word: str | None) -> None:
    """A new status in the table must not open a door in an older release."""
    assert Status.parse(word) is Status.SUSPENDED


@pytest.mark.parametrize("status", Status)
def test_known_words_are_read(status: Status) -> None:
    """As they stand in most tables."""
    assert Status.parse(status.value) is status


@pytest.mark.parametrize("field", ["member_status", "tenant_status"])
def test_a_membership_with_an_unknown_status_is_not_made(field: str) -> None:
    """A comparison with ACTIVE would be false for the right word in the wrong type."""
    assert Membership(**{field: "active"}).active  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"Status\.parse"):
        Membership(**{field: "invited"})  # type: ignore[arg-type]


def test_roles_are_frozen_and_one_string_is_no_set() -> None:
    """A membership may come from a cache that many requests share."""
    assert Membership(roles=["admin"]).roles == frozenset({"admin"})
    with pytest.raises(ConfigError, match="roles"):
        Membership(roles="admin")


def test_anything_with_a_lookup_is_memberships() -> None:
    """Users bring their own directory."""
    assert isinstance(Directory(), Memberships)
