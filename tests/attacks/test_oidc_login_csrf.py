"""Login CSRF, state replay and what else is done with a callback (RFC 9700 section 4.7, CWE-352).

The class of CVE-2019-3778, CVE-2021-31524 kin and of every client whose state is in the URL alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from asgi_guard.auth.oidc.once import OneTimeState
from tests.support.oidc_world import Browser, World, parameters, world


async def come_back(w: World, browser: Browser, back: dict[str, str]) -> int:
    return (await browser.go("/auth/callback/small", **back)).status


async def test_a_victim_s_browser_cannot_finish_an_attacker_s_login() -> None:
    """Else the victim works, and types secrets, in the attacker's account."""
    async with world() as w:
        attacker, victim = w.browser(), w.browser()
        back = w.provider.authorize(await w.begin(attacker), subject="mallory")

        assert await come_back(w, victim, back) == 400

        assert w.refusal() == "browser_cookie_missing"
        assert not victim.is_logged_in
        assert w.provider.forms == []  # the code was not even used


async def test_a_victim_who_has_begun_a_login_cannot_finish_another_s() -> None:
    """A cookie of some attempt is not the cookie of this one."""
    async with world() as w:
        attacker, victim = w.browser(), w.browser()
        back = w.provider.authorize(await w.begin(attacker), subject="mallory")
        await w.begin(victim)

        assert await come_back(w, victim, back) == 400
        assert w.refusal() == "browser_cookie_missing"


async def test_another_secret_under_the_right_name_is_another_browser() -> None:
    """The name of the cookie follows from the state, which an attacker knows; its value not."""
    async with world() as w:
        attacker, victim = w.browser(), w.browser()
        back = w.provider.authorize(await w.begin(attacker), subject="mallory")
        [name] = attacker.cookies
        victim.cookies[name] = "A" * 43

        assert await come_back(w, victim, back) == 400
        assert w.refusal() == "browser_mismatch"


async def test_a_tossed_cookie_beside_the_browser_s_own_is_refused() -> None:
    """An old browser may let a sibling domain add a cookie; which one is ours is not guessed."""
    async with world() as w:
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))
        [name] = browser.cookies

        answer = await browser.go(
            "/auth/callback/small", headers=[("cookie", f"{name}={'A' * 43}")], **back
        )

        assert answer.status == 400
        assert w.refusal() == "browser_cookie_repeated"


async def test_another_browser_s_attempt_does_not_spoil_the_login() -> None:
    """Whoever sees a state must not be able to lock its owner out."""
    async with world() as w:
        owner, stranger = w.browser(), w.browser()
        back = w.provider.authorize(await w.begin(owner))

        assert await come_back(w, stranger, back) == 400
        assert await come_back(w, owner, back) == 303


async def test_a_callback_works_once() -> None:
    """A second one is a replay, also from the right browser."""
    async with world() as w:
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))
        cookies = dict(browser.cookies)
        assert await come_back(w, browser, back) == 303
        browser.cookies |= cookies

        assert await come_back(w, browser, back) == 400
        assert w.refusal() == "state_replayed"
        assert len(w.provider.forms) == 1


async def test_of_two_callbacks_at_the_same_moment_one_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both have seen the state there; it is taken once, and one code is sent once."""
    async with world() as w:
        browser, both = w.browser(), asyncio.Barrier(2)
        back = w.provider.authorize(await w.begin(browser))
        honest = w.store.get_many

        async def together(keys: Sequence[str]) -> list[bytes | None]:
            found = await honest(keys)
            if ":login:" in keys[0]:
                await both.wait()
            return found

        monkeypatch.setattr(w.store, "get_many", together)
        twin = w.browser()
        twin.cookies = dict(browser.cookies)
        statuses = await asyncio.gather(come_back(w, browser, back), come_back(w, twin, back))

        assert sorted(statuses) == [303, 400]
        assert w.refusal() == "state_replayed"
        assert len(w.provider.forms) == 1


async def test_a_login_that_failed_cannot_be_tried_again_with_the_same_state() -> None:
    """Each state is one try at one code, or codes could be tried until one fits."""
    async with world() as w:
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))

        assert await come_back(w, browser, {**back, "code": "guessed"}) == 400
        assert await come_back(w, browser, back) == 400
        assert [each.reason for each in w.named("OIDC_LOGIN_REFUSED")] == [
            "token_code_refused",
            "state_replayed",
        ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"state": None}, "state_missing"),
        ({"state": ""}, "state_malformed"),
        ({"state": "A" * 43}, "state_unknown"),
        ({"state": "A" * 42}, "state_malformed"),
        ({"state": "\u0430" * 43}, "state_malformed"),
        ({"state": "../../" + "A" * 37}, "state_malformed"),
        ({"code": None}, "code_missing"),
        ({"code": ""}, "code_malformed"),
        ({"code": "a\r\nb"}, "code_malformed"),
        ({"code": "x" * 5000}, "code_malformed"),
        ({"error": "access_denied"}, "provider_error"),
        ({"error": "<script>"}, "provider_error"),
    ],
)
async def test_a_changed_callback_is_refused(change: dict[str, str | None], reason: str) -> None:
    """What a stranger may write into an address."""
    async with world() as w:
        browser = w.browser()
        back = {**w.provider.authorize(await w.begin(browser)), **change}

        answer = await browser.go(
            "/auth/callback/small", **{k: v for k, v in back.items() if v is not None}
        )

        assert (answer.status, w.refusal()) == (400, reason)
        assert not browser.is_logged_in
        assert b"script" not in answer.body


@pytest.mark.parametrize("name", ["state", "code", "iss", "error", "scope"])
async def test_a_parameter_sent_twice_is_refused(name: str) -> None:
    """Two parsers may each believe another one (RFC 6749 section 3.1)."""
    async with world() as w:
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))
        query = "&".join(f"{key}={value}" for key, value in back.items())

        await browser.go(f"/auth/callback/small?{query}&{name}=a&{name}=b")

        assert w.refusal() == "parameter_repeated"


@pytest.mark.parametrize(
    "query",
    ["state=%ff", "%", "&".join(f"a{n}=1" for n in range(40)), "a=" + "x" * 9000],
    ids=["no-utf-8", "percent", "many", "long"],
)
async def test_a_query_that_cannot_be_read_is_refused(query: str) -> None:
    """Never a 500, whatever the bytes."""
    async with world() as w:
        answer = await w.browser().go(f"/auth/callback/small?{query}")

        assert answer.status == 400


async def test_a_late_callback_is_refused() -> None:
    """After 300 seconds nobody is waiting for it."""
    async with world() as w:
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))
        w.clock.time += 301

        assert await come_back(w, browser, back) == 400
        assert w.refusal() == "state_unknown"


async def test_a_state_of_a_logout_is_no_state_of_a_login() -> None:
    """Each purpose has its own."""
    async with world() as w:
        browser = w.browser()
        await w.log_in(browser)
        away = parameters(
            (await browser.go("/auth/logout", method="POST")).header("location") or ""
        )

        answer = await browser.go("/auth/callback/small", state=away["state"], code="c")

        assert answer.status == 400
        assert w.refusal() == "state_unknown"


async def test_a_session_that_was_fixed_beforehand_is_not_the_one_that_is_logged_in() -> None:
    """Session fixation (CWE-384): the id before the login is worth nothing after it."""
    async with world() as w:
        attacker, victim = w.browser(), w.browser()
        await w.log_in(attacker, subject="mallory")
        victim.cookies |= attacker.cookies  # planted

        await w.log_in(victim, subject="alice")

        assert json.loads((await victim.go("/whoami")).body) == "alice"
        assert json.loads((await attacker.go("/whoami")).body) is None
        assert victim.cookies["__Host-sid"] != attacker.cookies["__Host-sid"]


async def test_two_tabs_do_not_spoil_each_other() -> None:
    """A protection that breaks honest use is switched off."""
    async with world() as w:
        browser = w.browser()
        first = w.provider.authorize(await w.begin(browser))
        second = w.provider.authorize(await w.begin(browser))

        assert await come_back(w, browser, first) == 303
        assert await come_back(w, browser, second) == 303
        assert list(browser.cookies) == ["__Host-sid"]


async def test_abandoned_attempts_do_not_outgrow_the_header() -> None:
    """A page that begins a thousand logins must not lock its visitor out of the site."""
    async with world() as w:
        browser = w.browser()
        for _ in range(12):
            await w.begin(browser)

        assert len(browser.cookies) == 8
        assert (await w.log_in(browser)).status == 303


async def test_the_cookie_of_an_attempt_is_for_this_host_alone() -> None:
    """``__Host-`` and its attributes (RFC 6265bis section 4.1.3.2), or a sibling could set it."""
    async with world() as w:
        answer = await w.browser().go("/auth/login/small")

        cookie = answer.header("set-cookie") or ""
        assert cookie.startswith("__Host-oidc-")
        for attribute in ("Path=/", "Secure", "HttpOnly", "SameSite=Lax", "Max-Age=300"):
            assert attribute in cookie
        assert "domain" not in cookie.lower()
        assert answer.header("cache-control") == "no-store"


async def test_a_head_request_uses_nothing_up() -> None:
    """Mail scanners and previews look at links before people follow them."""
    async with world() as w:
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))

        assert (await browser.go("/auth/callback/small", method="HEAD", **back)).status == 405
        assert await come_back(w, browser, back) == 303


async def test_a_login_without_the_browser_s_cookie_check_would_be_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: with the binding taken out, the victim ends in the attacker's account."""
    monkeypatch.setattr(OneTimeState, "_check_browser", lambda *_: None)
    async with world() as w:
        attacker, victim = w.browser(), w.browser()
        back = w.provider.authorize(await w.begin(attacker), subject="mallory")

        assert await come_back(w, victim, back) == 303
        assert json.loads((await victim.go("/whoami")).body) == "mallory"


async def test_a_state_that_is_read_and_not_taken_would_be_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control: the replay gets as far as the provider."""
    async with world() as w:
        monkeypatch.setattr(w.store, "take", w.store.get)
        monkeypatch.setattr(w.store, "put", _put_but_used(w.store.put))
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))
        cookies = dict(browser.cookies)
        await come_back(w, browser, back)
        browser.cookies |= cookies

        await come_back(w, browser, back)

        assert len(w.provider.forms) == 2


def _put_but_used(put: object) -> object:
    async def filtered(key: str, value: bytes, *, ttl: float) -> None:
        if "-used:" not in key:
            await put(key, value, ttl=ttl)  # type: ignore[operator]

    return filtered
