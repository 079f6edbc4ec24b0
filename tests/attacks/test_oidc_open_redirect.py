"""``next=`` cannot leave the site (CWE-601), however it is spelled."""

from __future__ import annotations

import re
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.auth.oidc.local_path import local_path
from tests.support.oidc_world import world

HOME = "https://app.example/auth/callback/small"
AWAY = [
    "https://evil.example",
    "HTTPS://evil.example/",
    "https:evil.example",
    "https:/evil.example",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "\\\\evil.example",
    "/\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "\x00//evil.example",
    "\x0b//evil.example",
    "/%09/evil.example",
    "/%0a/evil.example",
    "/%0d%0aset-cookie:a=b",
    "/%00/evil.example",
    "/%7f",
    "/%2f/evil.example",
    "/%2F%2Fevil.example",
    "/%5cevil.example",
    "/%5C%5Cevil.example",
    "/%252f/evil.example",
    "/%25%32%66/evil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/../evil.example",
    "/a/../../evil.example",
    "/%2e%2e/evil.example",
    "/.%2E//evil.example",
    "/./a",
    "/@evil.example",
    "/user@evil.example",
    "@evil.example",
    ".evil.example",
    "evil.example",
    "javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,x",
    "/\u2215evil.example",
    "/\uff0fevil.example",
    "\uff0f\uff0fevil.example",
    "/\u3002evil",
    "/\u200bevil",
    "/\ud800",
    "",
    "?a",
    "#a",
    "/a#b",
    "/a b",
    "/a|b",
    "/a\u00e9",
    "/%",
    "/%2",
    "/%zz",
    "/" + "a" * 1024,
]
HERE = ["/", "/notes", "/notes/7?page=2&sort=-date", "/a%20b", "/a?u=https://evil.example//x%2F"]
HERE += ["/a;b=c/d:e", "/.well-known/x", "/a..b/...", "/?next=//evil.example", "/~user/"]


@pytest.mark.parametrize("text", AWAY, ids=ascii)
def test_a_spelling_that_may_lead_away_is_no_path_of_ours(text: str) -> None:
    """One that some browser, proxy or router reads otherwise is enough for a convincing phish."""
    assert local_path(text) is None


@pytest.mark.parametrize("text", HERE, ids=ascii)
def test_a_plain_path_is_kept_as_it_is(text: str) -> None:
    """A protection that loses the visitor's page is switched off."""
    assert local_path(text) == text
    assert urlsplit(urljoin(HOME, text)).netloc == "app.example"


@given(st.text(st.sampled_from("/\\.%25fFcC@:?#\t\n a\u2215e"), max_size=12))
def test_what_is_taken_stays_here_however_often_it_is_decoded(text: str) -> None:
    """The promise itself, for spellings that nobody listed."""
    taken = local_path("/" + text)
    for _ in range(3):
        if taken is None:
            return
        # As browsers read it (WHATWG URL): tabs and newlines vanish, a backslash is a slash.
        path = taken.partition("?")[0]
        seen = re.sub(r"[\t\n\r]", "", path).replace("\\", "/")
        assert urlsplit(urljoin(HOME, seen)).netloc == "app.example"
        assert not seen.startswith("//")
        taken = unquote(path)


@pytest.mark.parametrize("text", ["//evil.example", "/\\evil.example", "https://evil.example"])
async def test_a_login_that_would_lead_away_does_not_begin(text: str) -> None:
    """Refused at the first step, so that no state remembers it."""
    async with world() as w:
        answer = await w.browser().go("/auth/login/small", next=text)

        assert (answer.status, w.refusal()) == (400, "next_not_local")
        assert w.provider.calls == []


async def test_a_next_sent_twice_is_refused() -> None:
    """One of them would be checked, and the other used."""
    async with world() as w:
        await w.browser().go("/auth/login/small?next=/a&next=//evil.example")

        assert w.refusal() == "parameter_repeated"


def test_a_check_of_the_first_character_alone_would_be_caught() -> None:
    """Negative control: what many apps do lets a dozen of the table through."""
    naive = [text for text in AWAY if text.startswith("/") and not text.startswith("//")]

    assert len(naive) > 12
