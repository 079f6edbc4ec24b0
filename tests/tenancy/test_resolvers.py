"""Claim, header, custom and chained resolvers: a name is read, nothing is granted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from asgi_guard.errors import (
    ConfigError,
    RejectionError,
    RequestInvalidError,
    TenantAccessError,
    TenantInvalidError,
)
from asgi_guard.protocols import Principal, Scope
from asgi_guard.tenancy import (
    ChainResolver,
    ClaimResolver,
    HeaderResolver,
    PathResolver,
    SubdomainResolver,
    TenantResolver,
)
from asgi_guard.tenancy.resolvers.custom import as_resolver
from tests.support.exchange import http_scope
from tests.support.tenancy_world import ACME, GLOBEX

NOBODY_IN_PARTICULAR = Principal(user_id="alice")


def named(
    resolver: Any, headers: Any = (), *, path: str = "/", principal: Principal | None = None
) -> str | None:
    """Return what *resolver* reads from a request."""
    scope = http_scope(path=path, headers=headers)
    known = as_resolver(resolver)
    return asyncio.run(known.resolve(scope, principal or NOBODY_IN_PARTICULAR))


@pytest.mark.parametrize(
    ("claims", "bound_to", "expected"),
    [
        ({"org": ACME}, None, ACME),
        ({"org": 42}, None, "42"),
        ({}, ACME, ACME),
        ({"org": None}, ACME, ACME),
        ({"tenant_id": ACME}, None, None),
        ({}, None, None),
    ],
)
def test_the_claim_names_the_tenant_or_else_what_the_credential_is_bound_to(
    claims: Mapping[str, Any], bound_to: str | None, expected: str | None
) -> None:
    """An API key has a tenant and no claims."""
    principal = Principal(user_id="alice", tenant_id=bound_to, claims=claims)

    assert named(ClaimResolver("org"), principal=principal) == expected


@pytest.mark.parametrize("value", [True, 4.2, [ACME], {"id": ACME}])
def test_a_claim_of_another_type_is_refused(value: object) -> None:
    """str() of it would be a tenant that nobody meant."""
    principal = Principal(user_id="alice", claims={"tenant_id": value})

    with pytest.raises(TenantInvalidError):
        named(ClaimResolver(), principal=principal)


def test_a_claim_without_a_name_is_refused_when_built() -> None:
    """It would be in no token."""
    with pytest.raises(ConfigError, match="claim"):
        ClaimResolver("")


def test_a_header_names_the_tenant() -> None:
    """Whatever its case was when configured."""
    assert named(HeaderResolver("X-Org"), {"x-org": ACME}) == ACME
    assert named(HeaderResolver("X-Org"), {"x-tenant-id": ACME}) is None


@pytest.mark.parametrize("second", [ACME, GLOBEX])
def test_a_header_that_was_sent_twice_is_refused(second: str) -> None:
    """Even with one value: a proxy may have checked the other."""
    with pytest.raises(RequestInvalidError) as caught:
        named(HeaderResolver(), [("x-tenant-id", ACME), ("x-tenant-id", second)])
    assert caught.value.reason == "duplicate_x_tenant_id"


def test_a_header_beyond_ascii_is_refused() -> None:
    """Latin-1 and UTF-8 readers would see two tenants."""
    with pytest.raises(TenantInvalidError):
        named(HeaderResolver(), {"x-tenant-id": "acm\xe9"})


@pytest.mark.parametrize("name", ["", "x tenant", "x-tenant:", "x-t\xe9nant", "x-tenant\n"])
def test_a_header_name_that_cannot_be_sent_is_refused_when_built(name: str) -> None:
    """It would never match, and every request be refused."""
    with pytest.raises(ConfigError, match="name"):
        HeaderResolver(name)


def test_functions_are_resolvers_sync_and_async() -> None:
    """The way out for everything that is not built in."""

    def from_query(scope: Scope, _principal: Principal) -> str | None:
        return str(scope["path"]).removeprefix("/")

    async def from_user(_scope: Scope, principal: Principal) -> str | None:
        await asyncio.sleep(0)
        return f"tenant-of-{principal.user_id}"

    assert named(from_query, path="/acme") == "acme"
    assert named(from_user) == "tenant-of-alice"
    assert isinstance(as_resolver(from_user), TenantResolver)


@pytest.mark.parametrize("wrong", [ClaimResolver, None, "claim", 7])
def test_what_is_no_resolver_is_refused_when_built(wrong: object) -> None:
    """The class instead of an instance is the common slip."""
    with pytest.raises(ConfigError, match="resolver"):
        as_resolver(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="resolver"):
        ChainResolver(wrong)  # type: ignore[arg-type]


def test_an_empty_chain_is_refused() -> None:
    """It would name nobody, ever."""
    with pytest.raises(ConfigError):
        ChainResolver()


CHAIN = ChainResolver(
    PathResolver("/t/{tenant}"), SubdomainResolver("app.example"), HeaderResolver(), ClaimResolver()
)


@pytest.mark.parametrize("path", ["/", f"/t/{ACME}/notes", f"/t/{GLOBEX}/notes"])
@pytest.mark.parametrize("header", [None, ACME, GLOBEX])
@pytest.mark.parametrize("claim", [None, ACME, GLOBEX])
def test_a_chain_answers_when_all_that_is_named_is_one_tenant(
    path: str, header: str | None, claim: str | None
) -> None:
    """Two names in one request: the router would serve one and the policy check the other."""
    names = {name for name in (ACME, GLOBEX) if name in path or name in (header, claim)}
    headers = {} if header is None else {"x-tenant-id": header}
    principal = Principal(user_id="alice", tenant_id=claim)

    def ask() -> str | None:
        return named(CHAIN, headers, path=path, principal=principal)

    if len(names) > 1:
        with pytest.raises(TenantAccessError) as caught:
            ask()
        assert caught.value.reason == "resolvers_disagree"
    else:
        assert ask() == (names.pop() if names else None)


def test_a_refusal_of_one_link_refuses_the_request() -> None:
    """A host that cannot be read must not leave the header to decide."""
    chain = ChainResolver(SubdomainResolver("example.com"), HeaderResolver())

    with pytest.raises(RejectionError):
        named(chain, {"x-tenant-id": ACME})


def test_a_chain_in_a_chain_and_functions_in_it_work() -> None:
    """Composition has no special cases."""
    chain = ChainResolver(ChainResolver(lambda _scope, _principal: None), HeaderResolver())

    assert named(chain, {"x-tenant-id": ACME}) == ACME


def test_the_rewriting_of_a_path_survives_the_chain() -> None:
    """The app behind the chain must not see the prefix either."""
    scope = http_scope(path=f"/t/{ACME}/notes")

    assert ChainResolver(CHAIN).inner_root_path(scope) == f"/t/{ACME}"
    assert ChainResolver(CHAIN).inner_root_path(http_scope(path="/notes")) == ""
