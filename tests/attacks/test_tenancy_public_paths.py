"""Public paths under attack: no spelling turns a protected path into a public one."""

from __future__ import annotations

import asyncio
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.errors import ConfigError
from asgi_guard.tenancy import PathResolver, TenantContextMiddleware
from asgi_guard.tenancy.paths import PublicPaths
from tests.support.tenancy_calls import echo_path, get, sent
from tests.support.tenancy_world import Directory

PUBLIC = PublicPaths(["/health", "/static/*", "/docs/"])


@pytest.mark.parametrize(
    "raw", ["/health", "/static/app.css", "/static/", "/static/a/b-c_d~e.js", "/docs/", "/health?x"]
)
@pytest.mark.parametrize("root", ["", "/api"])
@pytest.mark.parametrize("keep_raw", [True, False])
def test_public_paths_are_public(raw: str, root: str, keep_raw: bool) -> None:  # noqa: FBT001 - a table
    """Below a root path, and with servers that do not keep the raw one."""
    assert PUBLIC.cover(sent(raw, root=root, keep_raw=keep_raw))


@pytest.mark.parametrize(
    "raw",
    [
        "/",
        "",
        "/health/",
        "/healthz",
        "/HEALTH",
        "/Static/app.css",
        "/static",
        "/staticx/app.css",
        "//health",
        "/./health",
        "/x/../health",
        "/health/../admin",
        "/health/.",
        "/static/../admin",
        "/static/..",
        "/static/./../admin",
        "/static//../admin",
        "/static//app.css",
        "/static/..%2fadmin",
        "/static/%2e%2e/admin",
        "/static/%2E%2E/admin",
        "/static/.%2e/admin",
        "/static/%252e%252e/admin",
        "/static/..\\admin",
        "/static/..%5cadmin",
        "/static/..;/admin",
        "/static/%00",
        "/static/a%0ab",
        "/static/a\n",
        "/health%20",
        "/health%2f",
        "/health%3fx",
        "/health#x",
        "/static/\uff0e\uff0e/admin",
        "/static/\u2025/admin",
        "/x/static/app.css",
        "http://app.example/health",
        "*",
    ],
)
@pytest.mark.parametrize("keep_raw", [True, False])
def test_no_other_spelling_is_public(raw: str, keep_raw: bool) -> None:  # noqa: FBT001 - a table
    """Each of these is what some router, proxy or file system folds into another path."""
    assert not PUBLIC.cover(sent(raw, keep_raw=keep_raw))


def test_an_encoded_spelling_of_a_public_path_is_not_public_where_it_can_be_told() -> None:
    """Without raw_path it is the public path itself, for us and for whoever routes it."""
    assert not PUBLIC.cover(sent("/%68ealth"))
    assert PUBLIC.cover(sent("/%68ealth", keep_raw=False))


def test_the_root_path_cannot_be_used_to_shift_what_is_matched() -> None:
    """Only a whole prefix of the path is a root path."""
    assert not PUBLIC.cover({**sent("/admin/health"), "root_path": "/adm"})
    assert not PUBLIC.cover({**sent("/health"), "root_path": "/health"})
    assert PUBLIC.cover({**sent("/admin/health"), "root_path": "/admin"})


@given(st.text("/.%2eEfF5cC\\;abhlt", max_size=40))
def test_what_is_public_is_where_every_reader_agrees(tail: str) -> None:
    """Decoding again and folding dots and slashes must lead to the same path."""
    scope = sent("/static/" + tail)
    if not PUBLIC.cover(scope):
        return

    again = unquote_to_bytes(scope["path"]).decode()
    folded = "/" + "/".join(part for part in again.split("/") if part not in {"", "."})
    assert again == scope["path"]
    assert ".." not in folded.split("/")
    assert folded.rstrip("/") == scope["path"].rstrip("/")


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "health",
        "/*",
        "*",
        "/a*",
        "/*/b",
        "/a/*/b",
        "/a//b",
        "/../a",
        "/a/.",
        "/%61",
        "/a?b",
        "/\xe9",
        "/{tenant}",
        "/{tenant}/*",
        "/t/{tenant}x/login",
        "/{tenant}/{tenant}/login",
        "/t/{name}/login",
    ],
)
def test_a_pattern_that_means_less_or_more_than_it_says_is_refused(pattern: str) -> None:
    """``/*`` would make everything public; the others would never match."""
    with pytest.raises(ConfigError, match="public_paths"):
        PublicPaths([pattern])


OF_TENANTS = PublicPaths(["/t/{tenant}/login/*", "/t/{tenant}/logout"])


@pytest.mark.parametrize("raw", ["/t/acme/login/x", "/t/a-b_c.d~1/logout", "/t/acme/login/a/b"])
def test_a_path_that_is_public_for_each_tenant_is(raw: str) -> None:
    """A login comes before the proof of a tenant; its path may name one all the same."""
    assert OF_TENANTS.cover(sent(raw))


@pytest.mark.parametrize(
    "raw",
    [
        "/t//login/x",
        "/t/login/x",
        "/t/acme/x/login/y",
        "/t/acme/notes/login/x",
        "/t/../login/x",
        "/t/./login/x",
        "/t/acme/login/../../notes",
        "/t/acme/login/..",
        "/t/acme/login//x",
        "/t/acme%2fnotes/login/x",
        "/t/acme%2fnotes/logout",
        "/t/acme/logout/",
        "/t/acme/logout/x",
        "/t/a;b/logout",
        "/t/a@b/logout",
        "/t/acme/login/x%0ay",
        "/x/t/acme/logout",
        "/t/acme/LOGOUT",
    ],
)
@pytest.mark.parametrize("keep_raw", [True, False])
def test_a_tenant_s_segment_is_one_plain_segment(raw: str, keep_raw: bool) -> None:  # noqa: FBT001 - a table
    """Or a tenant's name would reach from the public path into the rest of the app."""
    assert not OF_TENANTS.cover(sent(raw, keep_raw=keep_raw))


def test_one_string_is_not_taken_for_a_list_of_letters() -> None:
    """public_paths="/health" would otherwise make "/" public."""
    with pytest.raises(ConfigError, match="one string"):
        PublicPaths("/health")


@given(st.text("/.%2fe\\;ahdlt*", max_size=30))
def test_no_path_opens_anything_to_nobody(tail: str) -> None:
    """End to end: without a credential the app is reached on canonical public paths only."""
    app = TenantContextMiddleware(
        echo_path,
        resolver=PathResolver(),
        memberships=Directory(),
        public_paths=["/health", "/static/*"],
    )
    scope = sent("/" + tail)

    answer = asyncio.run(get(app, scope["path"], raw_path=scope["raw_path"]))

    if answer.status == 200:
        assert tail == "health" or tail.startswith("static/")
        assert not {"..", "%", "\\", ";", "//"} & {
            part for part in ("..", "%", "\\", ";", "//") if part in tail
        }
    else:
        assert answer.status == 401
