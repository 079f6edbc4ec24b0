"""Logout both ways: the user leaves here, or the provider says that it is over."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.auth.oidc import links
from asgi_guard.auth.oidc.links import SessionLinks
from asgi_guard.errors import UnavailableError
from tests.support.exchange import Answer
from tests.support.oidc_provider import CLIENT
from tests.support.oidc_world import Browser, World, parameters, world

FORM = [("content-type", "application/x-www-form-urlencoded")]


async def tell(w: World, token: str | None = None, **changes: Any) -> Answer:
    """Send a logout token as the provider would."""
    sent = w.provider.logout_token(**changes) if token is None else token
    return await Browser(w.app).go(
        "/auth/backchannel-logout",
        method="POST",
        headers=FORM,
        body=f"logout_token={sent}".encode(),
    )


def reason(w: World) -> str:
    [event] = w.named("OIDC_BACKCHANNEL_LOGOUT")
    assert event.outcome == "denied"
    return str(event.reason)


async def test_a_logout_ends_the_session_here_and_asks_the_provider_to_end_its_own() -> None:
    """RP-Initiated Logout 1.0 section 2: hint, client, return address, state."""
    async with world() as w:
        browser = w.browser()
        await w.log_in(browser)

        answer = await browser.go("/auth/logout", method="POST")

        asked = parameters(answer.header("location") or "")
        assert (answer.header("location") or "").startswith(f"{w.provider.issuer}/end?")
        assert asked["id_token_hint"] == w.tokens[0][1].id_token.reveal()
        assert asked["client_id"] == CLIENT
        assert asked["post_logout_redirect_uri"] == "https://app.example/auth/logged-out"
        assert w.sessions.live == {}
        assert not browser.is_logged_in
        [event] = w.named("OIDC_LOGOUT")
        assert (event.outcome, event.user_id, event.details["at_provider"]) == (
            "allowed",
            "alice",
            True,
        )

        back = await browser.go("/auth/logged-out", state=asked["state"])
        assert (back.status, back.header("location")) == (303, "/")
        assert browser.cookies == {}


async def test_a_long_id_token_does_not_become_an_address_that_proxies_refuse() -> None:
    """A user in hundreds of groups: a 502 in place of the logout would leave the cookie behind."""
    async with world() as w:
        w.provider.claims["groups"] = [f"group-{number}" for number in range(400)]
        browser = w.browser()
        await w.log_in(browser)

        answer = await browser.go("/auth/logout", method="POST")

        asked = parameters(answer.header("location") or "")
        assert "id_token_hint" not in asked, "section 2 recommends it; client_id stands in"
        assert asked["client_id"] == CLIENT
        assert sum(len(name) + len(value) + 4 for name, value in answer.headers) < 4096
        assert (await browser.go("/auth/logged-out", state=asked["state"])).status == 303


@pytest.mark.parametrize("name", ["jti", "sub", "sid", "aud", "iss", "else"])
async def test_half_a_surrogate_pair_in_a_logout_token_is_a_refusal(name: str) -> None:
    """RFC 7493 section 2.1: no text. It cannot be hashed, stored or logged; and never is a 500."""
    async with world() as w:
        answer = await tell(w, **{name: "\ud800"})

        assert answer.status == 400
        assert reason(w)


@pytest.mark.parametrize("state", [None, "", "x", "A" * 43])
async def test_a_return_without_the_right_state_is_refused(state: str | None) -> None:
    """RP-Initiated Logout 1.0 section 3: nobody else's logout ends here."""
    async with world() as w:
        answer = await w.browser().go(
            "/auth/logged-out", **({} if state is None else {"state": state})
        )

        assert answer.status == 400
        assert [event.outcome for event in w.named("OIDC_LOGOUT")] == ["denied"]


async def test_a_link_does_not_log_anybody_out() -> None:
    """An image on another page would; a form of another site brings no Lax cookie."""
    async with world() as w:
        browser = w.browser()
        await w.log_in(browser)

        assert (await browser.go("/auth/logout")).status == 405
        assert len(w.sessions.live) == 1


@pytest.mark.parametrize("site", ["cross-site", "same-site", "x"])
async def test_a_page_of_another_origin_does_not_log_anybody_out(site: str) -> None:
    """A sibling domain's form brings a Lax cookie along; the browser says where it is from."""
    async with world() as w:
        browser = w.browser()
        await w.log_in(browser)

        answer = await browser.go("/auth/logout", method="POST", headers=[("sec-fetch-site", site)])

        assert answer.status == 400
        assert len(w.sessions.live) == 1


async def test_a_logout_without_a_session_goes_home() -> None:
    """Two clicks are no error."""
    async with world() as w:
        answer = await w.browser().go("/auth/logout", method="POST")

        assert (answer.status, answer.header("location")) == (303, "/")


@pytest.mark.parametrize(
    "metadata", [{"end_session_endpoint": None}, {"end_session_endpoint": "http://evil.example"}]
)
async def test_a_provider_without_a_usable_logout_does_not_keep_the_session(
    metadata: dict[str, Any],
) -> None:
    """What the provider does is its own business; here it is over."""
    async with world() as w:
        browser = w.browser()
        await w.log_in(browser)
        w.provider.metadata |= metadata
        w.clock.time += 3700

        answer = await browser.go("/auth/logout", method="POST")

        assert w.sessions.live == {}
        assert answer.status == 303


async def test_a_logout_token_ends_the_sessions_of_its_sid() -> None:
    """Back-Channel Logout 1.0 section 2.7, also when the user has others."""
    async with world() as w:
        laptop, phone = w.browser(), w.browser()
        await w.log_in(laptop)
        w.provider.claims["sid"] = "sid-2"
        await w.log_in(phone)

        answer = await tell(w)

        assert (answer.status, answer.header("cache-control")) == (200, "no-store")
        assert [login.sid for login in w.sessions.live.values()] == ["sid-2"]
        [event] = w.named("OIDC_BACKCHANNEL_LOGOUT")
        assert (event.outcome, event.details["sessions"]) == ("allowed", 1)


async def test_a_logout_token_with_a_subject_alone_ends_all_of_the_user_s_sessions() -> None:
    """Section 2.4: without a ``sid`` it means every session of the ``sub``."""
    async with world() as w:
        await w.log_in(w.browser())
        w.provider.claims["sid"] = "sid-2"
        await w.log_in(w.browser())
        await w.log_in(w.browser(), subject="bob")

        assert (await tell(w, sid=None)).status == 200

        assert [login.subject for login in w.sessions.live.values()] == ["bob"]


async def test_a_session_of_a_provider_that_named_no_sid_ends_by_its_subject() -> None:
    """A token with both must not miss a login that had only one."""
    async with world() as w:
        w.provider.claims["sid"] = None
        await w.log_in(w.browser())

        await tell(w)

        assert w.sessions.live == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"events": None}, "logout_token_events_missing"),
        ({"events": {}}, "logout_token_events_malformed"),
        ({"events": []}, "logout_token_events_malformed"),
        ({"nonce": "n"}, "logout_token_nonce_in_logout_token"),
        ({"sub": None, "sid": None}, "logout_token_sub_missing"),
        ({"jti": None}, "logout_token_jti_missing"),
        ({"jti": 7}, "logout_token_jti_malformed"),
        ({"iat": None}, "logout_token_iat_missing"),
        ({"exp": None}, "logout_token_exp_missing"),
        ({"exp": 1_600_000_000}, "logout_token_expired"),
        ({"exp": 1_700_009_000}, "logout_token_lifetime_too_long"),
        ({"iat": 1_700_001_000, "exp": 1_700_001_060}, "logout_token_not_yet_valid"),
        ({"iss": "https://evil.example"}, "provider_unknown"),
        ({"aud": "another"}, "provider_unknown"),
        ({"aud": None}, "provider_unknown"),
        ({"sub": 7}, "logout_token_sub_malformed"),
        ({"sid": ["sid-1"]}, "logout_token_sid_malformed"),
    ],
    ids=str,
)
async def test_a_logout_token_that_does_not_hold_ends_nothing(
    changes: dict[str, Any], expected: str
) -> None:
    """Section 2.6, step by step; 400 as section 2.8 asks."""
    async with world() as w:
        await w.log_in(w.browser())

        answer = await tell(w, **changes)

        assert (answer.status, answer.body) == (400, b'{"error":"invalid_request"}')
        assert reason(w) == expected
        assert len(w.sessions.live) == 1


async def test_an_id_token_is_no_logout_token() -> None:
    """Section 2.6: or whoever holds one could log its owner out (and section 4, cross-JWT)."""
    async with world() as w:
        await w.log_in(w.browser())

        assert (await tell(w, w.tokens[0][1].id_token.reveal())).status == 400
        assert reason(w) == "logout_token_events_missing"


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ([], b"logout_token=a", "form_media_type"),
        ([("content-type", "application/json")], b"{}", "form_media_type"),
        (FORM, b"", "logout_token_missing"),
        (FORM, b"logout_token=", "logout_token_missing"),
        (FORM, b"logout_token=a&logout_token=b", "parameter_repeated"),
        (FORM, b"logout_token=\xff", "parameters_malformed"),
        (FORM, b"logout_token=abc", "logout_token_malformed"),
        (FORM, b"logout_token=" + b"a" * 40_000, "parameters_too_long"),
    ],
    ids=["untyped", "json", "empty", "blank", "twice", "latin", "junk", "long"],
)
async def test_a_form_that_is_none_is_refused(
    headers: list[tuple[str, str]], body: bytes, expected: str
) -> None:
    """Anybody can reach this address."""
    async with world() as w:
        answer = await Browser(w.app).go(
            "/auth/backchannel-logout", method="POST", headers=headers, body=body
        )

        assert (answer.status, reason(w)) == (400, expected)


async def test_a_logout_token_works_once() -> None:
    """Section 2.6, step 7: a captured one must not end the user's next sessions."""
    async with world() as w:
        await w.log_in(w.browser())
        token = w.provider.logout_token()
        assert (await tell(w, token)).status == 200
        w.provider.claims["sid"] = "sid-9"
        await w.log_in(w.browser())

        assert (await tell(w, token)).status == 400

        assert [event.reason for event in w.named("OIDC_BACKCHANNEL_LOGOUT")] == [
            "",
            "logout_token_replayed",
        ]
        assert len(w.sessions.live) == 1


async def test_a_logout_that_failed_half_way_may_come_again() -> None:
    """Else the provider's second try is told that all is well, and the session lives on."""
    async with world() as w:
        await w.log_in(w.browser())
        token, honest = w.provider.logout_token(), w.sessions.end

        async def failing(_reference: str) -> None:
            raise UnavailableError("store_unreachable")

        w.sessions.end = failing  # type: ignore[method-assign]
        assert (await tell(w, token)).status == 503
        w.sessions.end = honest  # type: ignore[method-assign]

        assert (await tell(w, token)).status == 200
        assert w.sessions.live == {}


@pytest.mark.parametrize("named", ["sid-1", None], ids=["login-with-sid", "login-without"])
@pytest.mark.parametrize("changes", [{}, {"sid": None}], ids=["sid", "sub"])
async def test_a_login_under_way_does_not_survive_its_logout(
    named: str | None, changes: dict[str, Any]
) -> None:
    """The token arrives after the code was exchanged and before the session is there."""
    async with world() as w:
        w.provider.claims["sid"] = named
        honest = w.sessions.start

        async def slowly(scope: Any, login: Any) -> Any:
            assert (await tell(w, **changes)).status == 200
            return await honest(scope, login)

        w.sessions.start = slowly  # type: ignore[method-assign]
        browser = w.browser()

        assert (await w.log_in(browser)).status == 400

        assert w.refusal() == "logged_out_meanwhile"
        assert w.sessions.live == {}
        assert not browser.is_logged_in


@pytest.mark.parametrize("changes", [{}, {"sid": None}], ids=["sid", "sub"])
async def test_a_new_login_after_a_logout_holds(changes: dict[str, Any]) -> None:
    """A logout is no ban, also where the provider keeps the name of its session."""
    async with world() as w:
        await tell(w, **changes)
        w.clock.time += 2

        assert (await w.log_in(w.browser())).status == 303


async def test_too_many_sessions_end_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that no logout could find must not live, and the list must end somewhere."""
    monkeypatch.setattr(links, "_MOST", 5)
    async with world() as w:
        for _ in range(7):
            await w.log_in(w.browser())

        assert len(w.sessions.live) == 5
        await tell(w)
        assert w.sessions.live == {}


async def test_links_that_are_not_kept_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: without them a logout token ends nothing."""

    async def forgetful(*_: Any) -> list[str]:
        return []

    monkeypatch.setattr(SessionLinks, "add", forgetful)
    async with world() as w:
        await w.log_in(w.browser())

        assert (await tell(w)).status == 200
        assert len(w.sessions.live) == 1
