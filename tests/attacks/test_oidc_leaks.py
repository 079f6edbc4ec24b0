"""Planted secrets, codes and tokens show themselves nowhere: events, logs, reprs, errors."""

from __future__ import annotations

import logging
import traceback
from typing import Any

import pytest

from asgi_guard.auth.oidc.token_endpoint import exchange_code
from asgi_guard.errors import GuardError
from tests.support.oidc_hostile import TOKEN
from tests.support.oidc_provider import ACCESS_TOKEN, REFRESH_TOKEN, SECRET, json_answer
from tests.support.oidc_world import World, parameters, world
from tests.support.vault_leaks import found_in, rendered


def secrets_of(w: World, *locations: str) -> list[str]:
    """Give everything that must not be seen."""
    known = [SECRET, ACCESS_TOKEN, REFRESH_TOKEN]
    known += [tokens.id_token.reveal() for _, tokens in w.tokens]
    known += [form["code"] for form in w.provider.forms]
    known += [form["code_verifier"] for form in w.provider.forms]
    known += [parameters(each)[name] for each in locations for name in ("state", "nonce")]
    return known


async def live_through(w: World) -> list[str]:
    """Do everything that can go well or wrong, and give where browsers were sent."""
    browser, stranger = w.browser(), w.browser()
    sent = [await w.begin(browser)]
    back = w.provider.authorize(sent[0])
    await stranger.go("/auth/callback/small", **back)
    await browser.go("/auth/callback/small", **back)
    await browser.go("/auth/callback/small", **back)
    for change in ({"nonce": "other"}, {"sub": None}, {"aud": "other"}):
        w.provider.claims = change
        await w.log_in(browser)
    w.provider.claims = {}
    w.provider.answers[TOKEN] = lambda _, form: json_answer(
        {"error": "invalid_grant", "error_description": f"{form} {SECRET}"}, status="400 Bad"
    )
    await w.log_in(browser)
    w.provider.answers[TOKEN] = lambda *_: None
    await w.log_in(browser)
    w.provider.answers.clear()
    await w.log_in(browser)
    await browser.go("/auth/logout", method="POST")
    return sent


async def test_nothing_planted_shows_itself(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """One look at everything that a login writes down."""
    caplog.set_level(logging.DEBUG)
    async with world() as w:
        sent = await live_through(w)

        told = "\n".join([repr(w.events.seen), caplog.text, *capsys.readouterr()])
        shown = repr([w.login, vars(w.login), w.tokens])
        known = secrets_of(w, *sent)
        assert len(w.named("OIDC_LOGIN_REFUSED")) == 7
        assert found_in(told, known) == []
        assert found_in(shown, known) == []
        assert len(known) > 10


async def test_the_store_holds_neither_states_nor_browsers_secrets() -> None:
    """Whoever reads the table can neither finish a login nor pose as the browser."""
    async with world() as w:
        browser = w.browser()
        location = await w.begin(browser)

        kept = repr(w.store._entries)

        assert "oidc:login:" in kept
        assert found_in(kept, [parameters(location)["state"], *browser.cookies.values()]) == []


async def test_an_error_of_the_exchange_holds_no_code_in_its_frames() -> None:
    """Error reporters show the locals of each frame, and send them elsewhere."""
    async with world() as w:
        w.provider.answers[TOKEN] = lambda *_: None
        await w.begin(w.browser())
        [(_, provider)] = w.login._directory.configured
        known = await w.login._discovery.learn(provider)

        with pytest.raises(GuardError) as caught:
            await exchange_code(
                w.login._client,
                provider,
                known.metadata,
                code="canary-code",
                verifier="canary-verifier",
                now=0.0,
            )

        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert found_in(rendered(caught.value), [SECRET]) == []


async def test_a_refusal_says_nothing_of_what_was_sent() -> None:
    """An answer that repeats its input is a page of the attacker's."""
    async with world() as w:
        answer = await w.browser().go(
            "/auth/callback/small", state="<b>x</b>", code="canary", error="<i>y</i>"
        )
        shown: Any = answer.body + repr(answer.headers).encode()

        for word in (b"<b>", b"canary", b"<i>", b"state"):
            assert word not in shown


async def test_a_client_that_logs_its_callback_would_be_caught(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Negative control of the looking."""
    async with world() as w:
        sent = await live_through(w)
        logging.getLogger("careless").warning("callback with %s", w.provider.forms)

        assert found_in(caplog.text, secrets_of(w, *sent)) != []
