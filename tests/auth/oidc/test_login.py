"""A login from end to end, against a small provider over real HTTP."""

from __future__ import annotations

import json

from tests.support.oidc_provider import ACCESS_TOKEN, CLIENT
from tests.support.oidc_world import parameters, world


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
