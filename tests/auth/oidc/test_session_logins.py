"""Logins on the package's own sessions: members alone, a new id, and an end that is found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.oidc import LoginAccount, OIDCLogin, SessionLogins, VerifiedLogin
from asgi_guard.auth.sessions import SessionService
from asgi_guard.errors import AuthenticationError, ConfigError, UnavailableError
from asgi_guard.protocols import Principal, Scope
from asgi_guard.tenancy import SLUG
from tests.support.oidc_world import (
    FETCH,
    Browser,
    Sessions,
    World,
    app_of,
    provider_settings,
    world,
)
from tests.support.tenancy_world import Directory

FORM = [("content-type", "application/x-www-form-urlencoded")]


@dataclass
class Real:
    """A world whose sessions are the package's own."""

    w: World
    service: SessionService
    members: Directory
    failing: list[Exception]

    async def live(self, browser: Browser) -> Any:
        """Return the session that *browser* has, or None."""
        try:
            return await self.service.judge(browser.cookies.get("__Host-sid", ""))
        except AuthenticationError:
            return None

    async def told(self, **changes: Any) -> int:
        token = self.w.provider.logout_token(**changes)
        answer = await Browser(self.w.app, host="acme").go(
            "/auth/backchannel-logout",
            method="POST",
            headers=FORM,
            body=f"logout_token={token}".encode(),
        )
        return answer.status


def named_tenant(scope: Scope, _principal: Principal) -> str | None:
    return dict(scope["headers"])[b"host"].decode()


@asynccontextmanager
async def real(*, tenants: bool = False) -> AsyncIterator[Real]:
    async with world() as w:
        members = Directory(("u-alice", "acme"), ("u-alice", "globex"))
        service = SessionService(w.store, clock=w.clock, memberships=members)
        failing: list[Exception] = []

        async def on_login(login: VerifiedLogin) -> LoginAccount | None:
            if failing:
                raise failing[0]
            known = login.subject in {"alice", "bob"}
            return LoginAccount(user_id=f"u-{login.subject}", roles=("editor",)) if known else None

        options: dict[str, Any] = {"store": w.store, "on_login": on_login}
        more: dict[str, Any] = {"store": w.store, "fetch": FETCH, "clock": w.clock}
        if tenants:
            options["memberships"] = members
            more |= {"resolver": named_tenant, "tenant_shape": SLUG}
        sessions = SessionLogins(service, **options)
        login = OIDCLogin([provider_settings(w.provider)], sessions=sessions, **more)
        w.app = app_of(login, Sessions())
        yield Real(w, service, members, failing)


async def test_a_login_is_a_session_of_the_app_s_own_user() -> None:
    """The provider's name of the user is looked up, never taken."""
    async with real() as r:
        browser = r.w.browser()
        await r.w.log_in(browser)

        session = await r.live(browser)
        assert (session.user_id, session.roles) == ("u-alice", {"editor"})
        [made], [login] = r.w.named("SESSION_CREATED"), r.w.named("OIDC_LOGIN_SUCCEEDED")
        assert (login.user_id, login.session_id) == ("u-alice", made.session_id)


async def test_the_session_from_before_the_login_has_ended() -> None:
    """Session fixation (CWE-384): a planted or old id is worth nothing afterwards."""
    async with real() as r:
        browser = r.w.browser()
        await r.w.log_in(browser)
        before = dict(browser.cookies)
        await r.w.log_in(browser)

        planted = r.w.browser()
        planted.cookies = before
        assert await r.live(planted) is None
        assert await r.live(browser) is not None


async def test_nobody_of_ours_gets_no_session() -> None:
    """An account at the provider is none here."""
    async with real() as r:
        browser = r.w.browser()
        await r.w.log_in(browser, subject="mallory")

        assert r.w.refusal() == "account_unknown"
        assert await r.live(browser) is None


async def test_only_members_log_in_at_a_tenant() -> None:
    """What the request names is not proven by a login."""
    async with real(tenants=True) as r:
        alice, bob = r.w.browser(host="acme"), r.w.browser(host="acme")
        await r.w.log_in(alice)
        await r.w.log_in(bob, subject="bob")

        assert (await r.live(alice)).tenant_id == "acme"
        assert r.w.refusal() == "account_no_member"


async def test_logins_with_tenants_need_memberships() -> None:
    """A missing setting must not make everybody a member."""
    async with real(tenants=True) as r:
        sessions = SessionLogins(r.service, store=r.w.store, on_login=lambda _: _account())
        login = VerifiedLogin(tenant_id="acme", provider="p", issuer="i", subject="s")

        with pytest.raises(ConfigError, match="memberships"):
            await sessions.start({"headers": []}, login)


async def test_a_login_with_tenants_and_without_memberships_is_not_built() -> None:
    """Known at start-up, not at the first login."""
    async with world() as w:
        sessions = SessionLogins(
            SessionService(w.store), store=w.store, on_login=lambda _: _account()
        )
        with pytest.raises(ConfigError, match="memberships"):
            OIDCLogin(
                [provider_settings(w.provider)],
                sessions=sessions,
                store=w.store,
                fetch=FETCH,
                resolver=named_tenant,
            )


async def _account() -> LoginAccount:
    return LoginAccount(user_id="u")


@pytest.mark.parametrize("change", ["nothing", "renewed", "switched"])
async def test_a_provider_s_logout_finds_the_session_whatever_became_of_it(change: str) -> None:
    """A new id for new rights, or another tenant, is no way to outlive a logout."""
    async with real(tenants=True) as r:
        browser = r.w.browser(host="acme")
        await r.w.log_in(browser)
        sid = browser.cookies["__Host-sid"]
        for _ in range(3 if change != "nothing" else 0):
            if change == "renewed":
                issued = await r.service.renew(sid, roles=("admin",), claims={})
            else:
                issued = await r.service.switch_tenant(sid, tenant_id="globex")
            sid = issued.sid.reveal()
            r.w.clock.time += 800  # longer than old ids used to be remembered, in sum
        browser.cookies["__Host-sid"] = sid
        assert await r.live(browser) is not None
        r.w.provider.clock.time = r.w.clock.time

        assert await r.told() == 200

        assert await r.live(browser) is None


@pytest.mark.parametrize("change", ["renewed", "given other claims", "switched"])
async def test_a_logout_here_names_the_login_to_the_provider_after(change: str) -> None:
    """Or the provider's session stays open, and the next click logs the same person in again."""
    async with real(tenants=True) as r:
        browser = r.w.browser(host="acme")
        await r.w.log_in(browser)
        sid = browser.cookies["__Host-sid"]
        steps = {
            "renewed": lambda: r.service.renew(sid, roles=("admin",)),
            "given other claims": lambda: r.service.renew(sid, claims={"plan": "gold"}),
            "switched": lambda: r.service.switch_tenant(sid, tenant_id="globex"),
        }
        issued = await steps[change]()
        browser.cookies["__Host-sid"] = issued.sid.reveal()

        answer = await browser.go("/auth/logout", method="POST")

        assert "id_token_hint=" in (answer.header("location") or "")
        with pytest.raises(AuthenticationError):
            await r.service.judge(issued.sid)


async def test_no_change_of_claims_takes_over_another_login() -> None:
    """Claims come from the app; what the login left in a session is not theirs to name."""
    async with real(tenants=True) as r:
        browser = r.w.browser(host="acme")
        await r.w.log_in(browser)
        before = (await r.live(browser)).claims["oidc_login"]

        issued = await r.service.renew(
            browser.cookies["__Host-sid"], claims={"oidc_login": "another", "plan": "gold"}
        )

        assert dict(issued.session.claims) == {"oidc_login": before, "plan": "gold"}


@pytest.mark.parametrize("cookie", ["", "x", "A" * 43, "\u00e9"])
async def test_a_cookie_that_opens_nothing_is_no_error_at_login_or_logout(cookie: str) -> None:
    """Whoever has an old cookie must be able to log in anew."""
    async with real() as r:
        browser = r.w.browser()
        browser.cookies["__Host-sid"] = cookie

        assert (await browser.go("/auth/logout", method="POST")).status == 303
        browser.cookies["__Host-sid"] = cookie
        assert (await r.w.log_in(browser)).status == 303


async def test_a_hook_that_fails_leaves_an_event_and_no_session() -> None:
    """The app's own error goes on to its server; what it says goes nowhere else."""
    async with real() as r:
        browser = r.w.browser()
        r.failing.append(RuntimeError("db-7: no such column"))

        with pytest.raises(RuntimeError, match="db-7"):
            await r.w.log_in(browser)

        [event] = r.w.named("OIDC_LOGIN_REFUSED")
        assert (event.outcome, event.reason) == ("error", "hook_failed")
        assert event.details["error"] == "RuntimeError"
        assert "db-7" not in str(event)


async def test_a_store_that_fails_after_the_session_was_made_leaves_none() -> None:
    """A session that no logout could find must not live."""
    async with real() as r:
        honest, browser = r.w.store.put, r.w.browser()

        async def failing(key: str, value: bytes, *, ttl: float) -> None:
            if key.startswith("oidc:session:"):
                raise UnavailableError("store_unreachable")
            await honest(key, value, ttl=ttl)

        r.w.store.put = failing  # type: ignore[method-assign]
        answer = await r.w.log_in(browser)

        assert (answer.status, r.w.refusal()) == (503, "store_unreachable")
        assert await r.service.list_sessions(user_id="u-alice") == []


@pytest.mark.parametrize(
    ("service", "on_login"), [(None, _account), (SessionService, _account), (..., None)]
)
def test_wrong_settings_are_refused(service: Any, on_login: Any) -> None:
    """When built, not at the first login."""
    made = SessionService(MemoryStore()) if service is ... else service
    with pytest.raises(ConfigError):
        SessionLogins(made, store=MemoryStore(), on_login=on_login)
