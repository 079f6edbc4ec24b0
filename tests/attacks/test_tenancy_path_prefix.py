"""The path prefix under attack: no spelling turns one tenant into another."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from asgi_guard.errors import ConfigError, RejectionError, TenantInvalidError
from asgi_guard.protocols import Principal, Scope
from asgi_guard.tenancy import SLUG, PathResolver, TenantContextMiddleware
from tests.support.tenancy_calls import echo_path, get, sent
from tests.support.tenancy_world import ACME, GLOBEX, Directory, SignedIn


def tenant_in(resolver: PathResolver, scope: Scope) -> str | None:
    """Resolve."""
    return asyncio.run(resolver.resolve(scope, Principal(user_id="alice")))


@pytest.mark.parametrize(
    ("prefix", "raw", "tenant", "root"),
    [
        ("/t/{tenant}", "/t/acme/notes", "acme", "/t/acme"),
        ("/t/{tenant}", "/t/acme/", "acme", "/t/acme"),
        ("/t/{tenant}", "/t/acme", "acme", "/t/acme"),
        ("/t/{tenant}", "/t/acme?q=1", "acme", "/t/acme"),
        ("/t/{tenant}", "/t/acme/a%20b%2fc", "acme", "/t/acme"),
        ("/{tenant}", "/acme/notes", "acme", "/acme"),
        ("/orgs/{tenant}/app", "/orgs/acme/app/notes", "acme", "/orgs/acme/app"),
    ],
)
@pytest.mark.parametrize("mount", ["", "/api"])
def test_the_prefix_names_the_tenant_and_becomes_root_path(
    prefix: str, raw: str, tenant: str, root: str, mount: str
) -> None:
    """In ASGI the path includes the root path, so nothing else has to change."""
    resolver, scope = PathResolver(prefix), sent(raw, root=mount)

    assert tenant_in(resolver, scope) == tenant

    assert resolver.inner_root_path(scope) == mount + root


def test_a_server_that_keeps_no_raw_path_is_served_by_the_decoded_one() -> None:
    """It is an optional key of ASGI; then there is only one reading."""
    assert tenant_in(PathResolver(), sent("/t/acme/notes", keep_raw=False)) == "acme"
    with pytest.raises(TenantInvalidError):
        tenant_in(PathResolver(), sent("/t/acme/%2e%2e/globex", keep_raw=False))


@pytest.mark.parametrize(
    "raw",
    [
        "/t/acme%2fnotes",
        "/t/%61cme/notes",
        "/%74/acme/notes",
        "/t%2facme/notes",
        "/t//acme",
        "//t/acme",
        "/t/acme//notes",
        "/t/acme/../globex/notes",
        "/t/acme/%2e%2e/globex/notes",
        "/t/./acme/notes",
        "/t/acme/.",
        "/t/acme/..",
        "/t/..",
        "/x/../t/acme/notes",
        "/t/acme/a/%2E./b",
    ],
)
def test_a_path_that_can_be_read_in_two_ways_is_refused(raw: str) -> None:
    """A proxy that normalises it would check another tenant than the one served."""
    with pytest.raises(TenantInvalidError):
        tenant_in(PathResolver(), sent(raw))


@pytest.mark.parametrize(
    "raw", ["/", "/T/acme/notes", "/tacme/notes", "/other", "/notes/t/acme", "/t"]
)
def test_another_path_names_nobody(raw: str) -> None:
    """And is left as it is."""
    scope = sent(raw)

    assert tenant_in(PathResolver(), scope) is None
    assert PathResolver().inner_root_path(scope) == ""


@given(st.text("/.%2f2e2Ftacme0gl\\", max_size=40))
def test_a_tenant_that_is_read_is_the_second_segment_of_the_raw_path(tail: str) -> None:
    """Whatever was sent: the raw bytes, which a proxy routed by, name the same one."""
    scope = sent("/t/" + tail)
    try:
        tenant = tenant_in(PathResolver(), scope)
        SLUG.parse(tenant or "x")
    except RejectionError:
        return
    if tenant is not None:
        assert scope["raw_path"].split(b"?")[0].split(b"/")[2] == tenant.encode()


@pytest.mark.parametrize(
    "prefix",
    ["", "/t", "/t/{tenant}/", "t/{tenant}", "/t/x{tenant}", "/{tenant}/{tenant}", "/a b/{tenant}"],
)
def test_a_prefix_of_another_form_is_refused_when_built(prefix: str) -> None:
    """It would never match, or match halves of segments."""
    with pytest.raises(ConfigError, match="prefix"):
        PathResolver(prefix)


def linking_app() -> Starlette:
    """Build an app that knows nothing of tenants in paths, and links to itself."""

    def notes(request: Request) -> Response:
        return PlainTextResponse(str(request.url_for("notes")))

    def inner(request: Request) -> Response:
        return PlainTextResponse(str(request.url_for("sub:inner")))

    sub = Mount("/sub", routes=[Route("/inner", inner, name="inner")], name="sub")
    return Starlette(routes=[Route("/notes", notes, name="notes"), sub])


@pytest.mark.parametrize(
    ("path", "link"), [("/notes", "/notes"), ("/sub/inner", "/sub/inner")], ids=["route", "mount"]
)
async def test_starlette_routes_below_the_tenant_and_links_back_to_it(path: str, link: str) -> None:
    """A link that loses the tenant sends the user to a 404; one with another's, elsewhere."""
    app = SignedIn(
        TenantContextMiddleware(
            linking_app(), resolver=PathResolver(), memberships=Directory(("alice", ACME))
        )
    )

    answer = await get(app, f"/t/{ACME}{path}", {"x-user": "alice"})

    assert answer.body.decode() == f"http://app.example/t/{ACME}{link}"


def test_another_tenants_name_behind_an_encoded_slash_is_not_reached() -> None:
    """The whole chain of the attack: member of acme, wanting globex."""
    app = SignedIn(
        TenantContextMiddleware(
            echo_path, resolver=PathResolver(), memberships=Directory(("alice", ACME))
        )
    )

    for raw in (f"/t/{ACME}%2f..%2f{GLOBEX}/notes", f"/t/{ACME}/..%2f{GLOBEX}/notes"):
        scope = sent(raw)
        answer = asyncio.run(
            get(app, scope["path"], {"x-user": "alice"}, raw_path=scope["raw_path"])
        )
        assert answer.status == 400
