"""A login from end to end, against a small provider over real HTTP."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.oidc import TokenSet, VerifiedLogin
from asgi_guard.errors import UnavailableError
from tests.support.oidc_provider import ACCESS_TOKEN, CLIENT
from tests.support.oidc_world import parameters, provider_settings, world


async def test_a_login_ends_in_a_session_at_the_page_that_was_asked_for() -> None:
    """What all else is for."""
    async with world() as w:
        browser = w.browser()

        answer = await w.log_in(browser, next="/notes?page=2")

        assert (answer.status, answer.header("location")) == (303, "/notes?page=2")
        assert json.loads((await browser.go("/whoami")).body) == "alice"
        [(login, tokens)] = w.tokens
        assert (login.subject, login.issuer, login.sid) == ("alice", w.provider.issuer, "sid-1")
        assert tokens.access_token.reveal() == ACCESS_TOKEN
        [event] = w.named("OIDC_LOGIN_SUCCEEDED")
        assert (event.outcome, event.user_id) == ("allowed", "alice")


async def test_the_request_asks_for_a_code_with_everything_that_binds_it() -> None:
    """PKCE S256, state and nonce, each new and long (Core 1.0 section 3.1.2.1, RFC 7636)."""
    async with world(settings={"parameters": {"prompt": "login"}}) as w:
        first, second = [parameters(await w.begin(w.browser())) for _ in range(2)]

        assert first["response_type"] == "code"
        assert first["client_id"] == CLIENT
        assert first["code_challenge_method"] == "S256"
        assert first["prompt"] == "login"
        for name in ("state", "nonce", "code_challenge"):
            assert len(first[name]) == 43
            assert first[name] != second[name]


@pytest.mark.parametrize(
    "failure", [RuntimeError("x"), UnavailableError("vault_unreachable")], ids=["bug", "down"]
)
async def test_tokens_that_cannot_be_kept_leave_no_session(failure: Exception) -> None:
    """An app that needs them would fail later, at a worse place."""

    async def on_tokens(_login: VerifiedLogin, _tokens: TokenSet) -> None:
        raise failure

    async with world(on_tokens=on_tokens) as w:
        browser = w.browser()
        with suppress(RuntimeError):
            await w.log_in(browser)

        assert w.sessions.live == {}
        assert not browser.is_logged_in
        assert w.refusal() == getattr(failure, "reason", "hook_failed")


async def test_a_store_that_is_full_begins_no_login() -> None:
    """Nothing of somebody else's is dropped to make room (and 503 is no 500)."""
    async with world(store=MemoryStore(max_entries=1)) as w:
        await w.begin(w.browser())

        answer = await w.browser().go("/auth/login/small")

        assert (answer.status, w.refusal()) == (503, "memory_store_full")


async def test_an_app_with_two_providers_logs_in_at_each() -> None:
    """Each has its own callback, and its own name in what was proven."""
    async with world(
        agreed=lambda p: [provider_settings(p), provider_settings(p, name="other")]
    ) as w:
        for name in ("small", "other"):
            browser = w.browser()
            back = w.provider.authorize(await w.begin(browser, name))
            assert (await browser.go(f"/auth/callback/{name}", **back)).status == 303

        assert [login.provider for login, _ in w.tokens] == ["small", "other"]
