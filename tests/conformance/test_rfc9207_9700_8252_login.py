"""RFC 9207, RFC 9700 and RFC 8252, by section, for the client that logs users in."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from asgi_guard.auth.oidc import OIDCProvider, PublicClient
from asgi_guard.errors import ConfigError
from tests.support.oidc_provider import json_answer
from tests.support.oidc_world import World, parameters, world


async def callback(w: World, *, drop: str = "", **changes: str) -> str:
    """Come back with these changes; return ``in`` or the reason."""
    browser = w.browser()
    back = {**w.provider.authorize(await w.begin(browser)), **changes}
    back.pop(drop, None)
    answer = await browser.go("/auth/callback/small", **back)
    return "in" if answer.status == 303 else str(w.named("OIDC_LOGIN_REFUSED")[-1].reason)


async def test_rfc9207_section_2_4_the_issuer_is_compared_as_text() -> None:
    """Simple string comparison: no slash, case or default port makes it the same."""
    async with world() as w:
        for wrong in (w.provider.issuer + "/", w.provider.issuer.upper(), "", "null"):
            assert await callback(w, iss=wrong) == "iss_mismatch"
        assert await callback(w) == "in"


async def test_rfc9207_section_2_4_a_provider_that_names_itself_always_does() -> None:
    """Its metadata says so; an answer without the name is not its own."""
    async with world() as w:
        assert await callback(w, drop="iss") == "iss_missing"


async def test_rfc9207_section_2_4_a_provider_that_never_says_so_may_leave_it_out() -> None:
    """Then the callback of its own tells it apart (section 2.4, and RFC 9700 section 4.4.2.2)."""
    async with world() as w:
        w.provider.metadata["authorization_response_iss_parameter_supported"] = False

        assert await callback(w, drop="iss") == "in"
        assert await callback(w, iss="https://evil.example") == "iss_mismatch"


async def test_rfc9700_section_2_1_1_pkce_with_s256_for_every_client() -> None:
    """Also for one with a secret; the verifier is new for each request."""
    async with world() as w:
        one, two = [parameters(await w.begin(w.browser())) for _ in range(2)]

        assert one["code_challenge_method"] == two["code_challenge_method"] == "S256"
        assert one["code_challenge"] != two["code_challenge"]


async def test_rfc9700_section_2_1_1_a_provider_without_s256_is_not_used() -> None:
    """The client must make sure that the challenge is looked at."""
    async with world() as w:
        w.provider.metadata["code_challenge_methods_supported"] = ["plain"]

        assert (await w.browser().go("/auth/login/small")).status == 400
        assert w.refusal() == "discovery_pkce_unsupported"


async def test_rfc9700_section_2_1_2_no_tokens_in_addresses() -> None:
    """The response type is ``code``, and what comes in a query is no token."""
    async with world() as w:
        assert parameters(await w.begin(w.browser()))["response_type"] == "code"
        assert await callback(w, drop="code", id_token="a.b.c", access_token="a") == "code_missing"


@pytest.mark.parametrize(
    "redirect", ["https://*.example/cb", "https://app.example/cb?x", "app:/cb"]
)
def test_rfc9700_section_4_1_3_redirect_addresses_are_exact(redirect: str) -> None:
    """No patterns, nothing that could be added to."""
    with pytest.raises(ConfigError):
        OIDCProvider(
            name="p",
            issuer="https://id.example",
            client_id="c",
            client_auth=PublicClient(),
            redirect_uri=redirect,
        )


async def test_rfc9700_section_4_2_4_the_callback_page_leaks_nothing_onwards() -> None:
    """No page is shown at the callback; what comes next is told no referrer."""
    async with world() as w:
        answer = await w.log_in(w.browser())

        assert (answer.status, answer.body) == (303, b"")
        assert answer.header("referrer-policy") == "no-referrer"
        assert answer.header("cache-control") == "no-store"
        assert urlsplit(answer.header("location") or "").query == ""


async def test_rfc9700_section_4_4_2_the_code_goes_to_the_provider_that_was_asked() -> None:
    """Mix-up: not to one whose name came back."""
    async with world() as w:
        assert await callback(w, iss="https://evil.example") == "iss_mismatch"
        assert w.provider.forms == []


async def test_rfc9700_section_4_7_1_a_state_is_used_once() -> None:
    """And belongs to one browser: tests/attacks/test_oidc_login_csrf.py."""
    async with world() as w:
        browser = w.browser()
        back = w.provider.authorize(await w.begin(browser))
        cookies = dict(browser.cookies)
        assert (await browser.go("/auth/callback/small", **back)).status == 303
        browser.cookies |= cookies

        assert (await browser.go("/auth/callback/small", **back)).status == 400


async def test_rfc9700_section_4_12_redirects_are_303() -> None:
    """A 307 would send a form, and what is in it, on to the provider."""
    async with world() as w:
        browser = w.browser()
        answers = [await browser.go("/auth/login/small"), await w.log_in(browser)]
        answers.append(await browser.go("/auth/logout", method="POST"))

        assert {answer.status for answer in answers} == {303}


async def test_rfc9700_section_4_16_a_refusal_page_cannot_be_framed_into_a_login() -> None:
    """What is refused shows nothing that was sent."""
    async with world() as w:
        answer = await w.browser().go("/auth/callback/small", error="<script>", state="x")

        assert answer.header("content-type") == "application/problem+json"
        assert b"script" not in answer.body


@pytest.mark.parametrize("host", ["127.0.0.1:4711", "[::1]:4711"])
def test_rfc8252_section_7_3_loopback_addresses_may_be_plain_http(host: str) -> None:
    """For a program on its user's machine, which must say that it is one."""
    settings: dict[str, Any] = {
        "name": "p",
        "issuer": "https://id.example",
        "client_id": "c",
        "client_auth": PublicClient(),
        "redirect_uri": f"http://{host}/auth/callback/p",
    }

    with pytest.raises(ConfigError):
        OIDCProvider(**settings)
    assert OIDCProvider(**settings, insecure_allow_http=True).callback_path == "/auth/callback/p"


async def test_rfc8252_section_8_1_and_8_5_a_public_client_has_pkce_and_no_secret() -> None:
    """A secret in a program that everybody has is none."""
    async with world(settings={"client_auth": PublicClient()}) as w:
        assert (await w.log_in(w.browser())).status == 303

        [form] = w.provider.forms
        assert form["client_id"] == "notes-web"
        assert "client_secret" not in form
        assert len(form["code_verifier"]) == 43


async def test_rfc8252_section_8_10_another_server_s_answer_is_refused() -> None:
    """Several providers: one cannot finish what was begun at another."""
    async with world() as w:
        w.provider.answers["/token"] = lambda *_: json_answer(
            {"error": "invalid_grant"}, status="400 X"
        )

        assert await callback(w) == "token_code_refused"
