"""The login inside real apps: FastAPI, under Guard with tenants, and without any."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from asgi_guard import Guard, GuardSettings, current_context
from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.oidc import (
    LoginAccount,
    OIDCLogin,
    SessionLogins,
    StaticProviders,
    VerifiedLogin,
)
from asgi_guard.auth.sessions import SessionService
from asgi_guard.auth.sessions.authenticator import SessionAuthenticator
from asgi_guard.errors import GuardError
from asgi_guard.tenancy import SLUG, PathResolver, SubdomainResolver
from tests.support.oidc_world import FETCH, World, provider_settings, world
from tests.support.tenancy_world import Directory

HOST = "acme.app.example"
FORM = [("content-type", "application/x-www-form-urlencoded")]


async def on_login(login: VerifiedLogin) -> LoginAccount | None:
    return LoginAccount(user_id=login.subject)


async def whoami(_request: Request) -> Response:
    context = current_context()
    return JSONResponse(None if context is None else [context.tenant_id, context.user_id])


def guarded_by_path(w: World, kind: type[Starlette]) -> None:
    """Put the login into an app of *kind* under a guard whose tenants are in the path."""
    members = Directory(("alice", "acme"), ("alice", "globex"))
    service = SessionService(w.store, clock=w.clock)
    resolver = PathResolver("/t/{tenant}")
    own = {
        tenant: [
            provider_settings(
                w.provider,
                redirect_uri=f"https://app.example/t/{tenant}/auth/callback/small",
                post_logout_redirect_uri=f"https://app.example/t/{tenant}/auth/logged-out",
            )
        ]
        for tenant in ("acme", "globex")
    }
    login = OIDCLogin(
        StaticProviders(tenants=own),
        sessions=SessionLogins(service, store=w.store, on_login=on_login, memberships=members),
        store=w.store,
        fetch=FETCH,
        clock=w.clock,
        mount_path="/t/{tenant}/auth",
        resolver=resolver,
        tenant_shape=SLUG,
    )
    app = kind()
    app.router.routes += [Mount("/t/{tenant}/auth", login.app), Route("/whoami", whoami)]
    settings = GuardSettings(
        environment="test",
        authenticators=[SessionAuthenticator(service)],
        resolver=resolver,
        memberships=members,
        tenant_shape=SLUG,
        public_paths=login.public_paths,
        clock=w.clock,
    )
    w.app = Guard(settings).install(app)


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
async def test_a_login_under_guard_at_a_tenant_that_the_path_names(kind: type[Starlette]) -> None:
    """The tenant of the link is the tenant of the callback, of the session and of the logout."""
    async with world(now=SYSTEM_CLOCK.now()) as w:
        guarded_by_path(w, kind)
        browser = w.browser()
        assert (await browser.go("/t/acme/whoami")).status == 401
        away = await browser.go("/t/acme/auth/login/small", next="/t/acme/whoami")
        back: Any = w.provider.authorize(away.header("location") or "")

        astray = await browser.go("/t/globex/auth/callback/small", **back)
        assert (astray.status, w.refusal()) == (400, "tenant_mismatch")
        away = await browser.go("/t/acme/auth/login/small", next="/t/acme/whoami")
        back = w.provider.authorize(away.header("location") or "")
        done = await browser.go("/t/acme/auth/callback/small", **back)

        assert (done.status, done.header("location")) == (303, "/t/acme/whoami")
        assert (await browser.go("/t/acme/whoami")).body == b'["acme","alice"]'
        out = await browser.go("/t/acme/auth/logout", method="POST")
        assert "post_logout_redirect_uri=https%3A%2F%2Fapp.example%2Ft%2Facme" in (
            out.header("location") or ""
        )
        assert (await browser.go("/t/acme/whoami")).status == 401


async def test_the_login_s_paths_open_nothing_else_of_a_tenant() -> None:
    """Public is the login, for each tenant; not what another spelling reaches."""
    async with world(now=SYSTEM_CLOCK.now()) as w:
        guarded_by_path(w, Starlette)

        for path in ("/t/acme/auth/login/../../whoami", "/t/acme/auth/x", "/t/a/b/auth/logout"):
            assert (await w.browser().go(path)).status == 401, path


def guarded(w: World, kind: type[Starlette]) -> None:
    """Put the login into an app of *kind* under a guard whose tenants are subdomains."""
    members = Directory(("alice", "acme"))
    service = SessionService(w.store, clock=w.clock)
    resolver = SubdomainResolver("app.example")
    login = OIDCLogin(
        [provider_settings(w.provider)],
        sessions=SessionLogins(service, store=w.store, on_login=on_login, memberships=members),
        store=w.store,
        fetch=FETCH,
        clock=w.clock,
        resolver=resolver,
        tenant_shape=SLUG,
    )
    app = kind()
    app.router.routes += [Mount("/auth", login.app), Route("/whoami", whoami)]
    settings = GuardSettings(
        environment="test",
        authenticators=[SessionAuthenticator(service)],
        resolver=resolver,
        memberships=members,
        tenant_shape=SLUG,
        public_paths=login.public_paths,
        clock=w.clock,
    )
    w.app = Guard(settings).install(app)


@pytest.mark.parametrize("kind", [Starlette, FastAPI])
async def test_a_login_under_guard_opens_the_tenant_it_was_for(kind: type[Starlette]) -> None:
    """From the first link to a handler's context, and out again."""
    async with world(now=SYSTEM_CLOCK.now()) as w:
        guarded(w, kind)
        browser = w.browser(host=HOST)
        assert (await browser.go("/whoami")).status == 401

        answer = await w.log_in(browser, next="/whoami")

        assert (answer.status, answer.header("location")) == (303, "/whoami")
        assert (await browser.go("/whoami")).body == b'["acme","alice"]'
        assert answer.header("x-content-type-options") == "nosniff"


async def test_a_provider_can_reach_the_backchannel_under_guard() -> None:
    """It brings no cookie, no origin and no tenant's credential; its token is what counts."""
    async with world(now=SYSTEM_CLOCK.now()) as w:
        guarded(w, Starlette)
        browser = w.browser(host=HOST)
        await w.log_in(browser)

        told = await w.browser(host=HOST).go(
            "/auth/backchannel-logout",
            method="POST",
            headers=FORM,
            body=f"logout_token={w.provider.logout_token()}".encode(),
        )

        assert told.status == 200
        assert (await browser.go("/whoami")).status == 401


async def test_a_stranger_s_session_does_not_open_another_tenant() -> None:
    """A login is for one tenant; the host of another finds no membership."""
    async with world(now=SYSTEM_CLOCK.now()) as w:
        guarded(w, Starlette)
        browser = w.browser(host=HOST)
        await w.log_in(browser)
        browser.host = "globex.app.example"

        assert (await browser.go("/whoami")).status in {401, 404}


async def test_a_login_at_a_tenant_without_membership_is_refused() -> None:
    """Bob has an account at the provider, and none here."""
    async with world(now=SYSTEM_CLOCK.now()) as w:
        guarded(w, Starlette)
        browser = w.browser(host=HOST)

        answer = await w.log_in(browser, subject="bob")

        assert (answer.status, w.refusal()) == (400, "account_no_member")


async def test_an_app_may_show_a_page_of_its_own_for_a_refusal() -> None:
    """People are not helped by JSON; the page learns the code, and no more."""
    shown: list[Any] = []

    async def sorry(_request: Request, error: GuardError) -> Response:
        shown.append(error)
        return HTMLResponse("<p>Please try again.</p>", 400)

    async with world(on_refused=sorry) as w:
        answer = await w.browser().go("/auth/callback/small")

        assert answer.body == b"<p>Please try again.</p>"
        assert [error.code for error in shown] == ["login_refused"]
        assert w.refusal() == "state_missing"
