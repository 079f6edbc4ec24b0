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
from asgi_guard.auth.oidc import LoginAccount, OIDCLogin, SessionLogins, VerifiedLogin
from asgi_guard.auth.sessions import SessionService
from asgi_guard.auth.sessions.authenticator import SessionAuthenticator
from asgi_guard.errors import GuardError
from asgi_guard.tenancy import SLUG, SubdomainResolver
from tests.support.oidc_world import FETCH, World, provider_settings, world
from tests.support.tenancy_world import Directory

HOST = "acme.app.example"
FORM = [("content-type", "application/x-www-form-urlencoded")]


async def on_login(login: VerifiedLogin) -> LoginAccount | None:
    return LoginAccount(user_id=login.subject)


async def whoami(_request: Request) -> Response:
    context = current_context()
    return JSONResponse(None if context is None else [context.tenant_id, context.user_id])


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
