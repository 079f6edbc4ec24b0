"""Whatever a provider answers: a refusal with its reason, one event, no session, never a 500."""

from __future__ import annotations

import json

import pytest

from tests.support.exchange import Answer
from tests.support.oidc_hostile import Misbehaviour
from tests.support.oidc_hostile_cases import AT_BEGIN, AT_CALLBACK, AT_KEYS, AT_USERINFO
from tests.support.oidc_world import Browser, World, world

SILENCE = 0.1  # seconds until a silent provider is given up


def refused(w: World, browser: Browser, answer: Answer, case: Misbehaviour) -> None:
    """Check that *answer* is the one refusal of *case*, and tells a stranger nothing."""
    body = json.loads(answer.body)
    assert (answer.status, w.refusal()) == (case.status, case.reason)
    assert body["code"] == ("unavailable" if case.status == 503 else "login_refused")
    assert case.reason not in answer.body.decode()
    assert not browser.is_logged_in
    assert not w.sessions.live
    assert not w.tokens
    assert w.named("OIDC_LOGIN_SUCCEEDED") == []


@pytest.mark.parametrize("case", AT_BEGIN, ids=str)
async def test_metadata_that_cannot_be_trusted_sends_nobody_away(case: Misbehaviour) -> None:
    """A browser must not be sent to an address that somebody else wrote."""
    async with world(seconds=SILENCE if "silence" in case.name else 5.0) as w:
        case.change(w.provider)
        browser = w.browser()

        answer = await browser.go("/auth/login/small")

        refused(w, browser, answer, case)
        assert answer.header("location") is None
        assert browser.cookies == {}


@pytest.mark.parametrize("case", [*AT_CALLBACK, *AT_KEYS, *AT_USERINFO], ids=str)
async def test_answers_that_do_not_hold_make_no_session(case: Misbehaviour) -> None:
    """One unchecked claim is one account that is not its owner's (Core 1.0 section 3.1.3.7)."""
    settings = {**case.setup, "userinfo": case in AT_USERINFO}
    async with world(settings=settings, seconds=SILENCE if "silence" in case.name else 5.0) as w:
        case.change(w.provider)
        browser = w.browser()

        answer = await w.log_in(browser)

        refused(w, browser, answer, case)


def test_the_cases_have_names_of_their_own() -> None:
    """Two of one name would hide one of them in a report."""
    names = [str(case) for case in (*AT_BEGIN, *AT_CALLBACK, *AT_KEYS, *AT_USERINFO)]

    assert len(names) == len(set(names)) > 90
