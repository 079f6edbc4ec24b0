"""What an attacker keeps is worth nothing after a logout, from whichever side it came (CWE-613)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from asgi_guard.auth.oidc import LoginAccount, OIDCLogin, SessionLogins, VerifiedLogin
from asgi_guard.auth.sessions import SessionService
from asgi_guard.errors import AuthenticationError
from asgi_guard.protocols import Scope
from tests.support.exchange import Answer
from tests.support.oidc_world import (
    FETCH,
    Browser,
    Sessions,
    World,
    app_of,
    provider_settings,
    world,
)

FORM = [("content-type", "application/x-www-form-urlencoded")]


async def on_login(login: VerifiedLogin) -> LoginAccount:
    return LoginAccount(user_id=login.subject)


class CookieOnly(SessionLogins):
    """Broken on purpose: takes the cookie away, and leaves the session where it is."""

    async def leave(self, scope: Scope) -> str | None:
        return None


@asynccontextmanager
async def real(kind: type[SessionLogins]) -> AsyncIterator[tuple[World, SessionService]]:
    """Open a world with the package's own sessions."""
    async with world() as w:
        service = SessionService(w.store, clock=w.clock)
        login = OIDCLogin(
            [provider_settings(w.provider)],
            sessions=kind(service, store=w.store, on_login=on_login),
            store=w.store,
            fetch=FETCH,
            clock=w.clock,
        )
        w.app = app_of(login, Sessions())
        yield w, service


async def is_open(service: SessionService, sid: str) -> bool:
    try:
        await service.judge(sid)
    except AuthenticationError:
        return False
    return True


async def tell(w: World, token: str) -> Answer:
    return await Browser(w.app).go(
        "/auth/backchannel-logout",
        method="POST",
        headers=FORM,
        body=f"logout_token={token}".encode(),
    )


@pytest.mark.parametrize(("kind", "survives"), [(SessionLogins, False), (CookieOnly, True)])
async def test_a_cookie_that_was_copied_before_the_logout_is_dead_after_it(
    kind: type[SessionLogins], *, survives: bool
) -> None:
    """The second kind is the negative control: a logout that only clears the cookie is seen."""
    async with real(kind) as (w, service):
        browser = w.browser()
        await w.log_in(browser)
        copied = browser.cookies["__Host-sid"]

        await browser.go("/auth/logout", method="POST")

        assert "__Host-sid" not in browser.cookies
        assert await is_open(service, copied) is survives


async def test_a_cookie_that_was_copied_is_dead_after_the_provider_s_logout() -> None:
    """An administrator who locks an account out must be able to rely on it."""
    async with real(SessionLogins) as (w, service):
        browser = w.browser()
        await w.log_in(browser)

        assert (await tell(w, w.provider.logout_token())).status == 200

        assert not await is_open(service, browser.cookies["__Host-sid"])


async def test_a_callback_that_was_copied_does_not_bring_the_session_back() -> None:
    """The address is in the browser's history; the code, the state and the cookie are used."""
    async with real(SessionLogins) as (w, _):
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))
        cookies = dict(browser.cookies)
        await browser.go("/auth/callback/small", **back)
        await browser.go("/auth/logout", method="POST")
        browser.cookies = cookies

        assert (await browser.go("/auth/callback/small", **back)).status == 400


async def test_logins_that_race_with_a_logout_all_end() -> None:
    """Twelve at once, and the provider's word in the middle: none is left that it named."""
    async with real(SessionLogins) as (w, service):
        browsers = [w.browser() for _ in range(12)]

        await asyncio.gather(
            *(w.log_in(browser) for browser in browsers[:6]),
            tell(w, w.provider.logout_token(sid=None)),
            *(w.log_in(browser) for browser in browsers[6:]),
        )

        kept = [each.cookies["__Host-sid"] for each in browsers if each.is_logged_in]
        assert [sid for sid in kept if await is_open(service, sid)] == []


async def test_a_captured_logout_token_ends_no_later_session() -> None:
    """Denial of service by replay: it works once (section 2.6, step 7)."""
    async with real(SessionLogins) as (w, service):
        token = w.provider.logout_token()
        await tell(w, token)
        w.clock.time += 1
        browser = w.browser()
        await w.log_in(browser)

        assert (await tell(w, token)).status == 400
        assert await is_open(service, browser.cookies["__Host-sid"])
