"""RFC 8252, OAuth 2.0 for Native Apps, with RFC 7636 (PKCE) and RFC 9207 (issuer in the answer)."""

from __future__ import annotations

import asyncio
import http.client
import ssl
from collections.abc import Awaitable, Callable, Iterator
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest

from asgi_guard.cli.login_loopback import loopback_login
from asgi_guard.cli.login_server import AuthorizationServer, Tokens, discover
from asgi_guard.errors import AuthenticationError, ConfigError, UnavailableError
from asgi_guard.integrations.httpx import HTTPXFetch
from tests.support.login_server import Provider, running_provider

FETCH = HTTPXFetch(allow_addresses=["127.0.0.0/8"], insecure_allow_http=True)
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # no authorities to load: all is http here
Show = Callable[[str], Awaitable[None]]


@pytest.fixture(scope="module")
def server() -> Iterator[Provider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture
def provider(server: Provider) -> Provider:
    server.__init__(int(server.issuer.rpartition(":")[2]))  # type: ignore[misc] # as new
    return server


async def asked(provider: Provider) -> AuthorizationServer:
    return await discover(provider.issuer, fetch=FETCH, allow_http=True)


class Browser:
    """Opens the link, does *before* with the request behind it, and goes on to the server."""

    def __init__(self, before: Callable[[str], None] | None = None) -> None:
        self.before = before
        self.pages: list[str] = []
        self.link = ""

    async def __call__(self, link: str) -> None:
        self.link = link
        self.task = asyncio.create_task(asyncio.to_thread(self.visit, link))

    def visit(self, link: str) -> None:
        with httpx2.Client(trust_env=False, verify=PLAIN) as client:
            address = client.get(link).headers["location"]
            if self.before is not None:
                self.before(address)
            self.pages.append(client.get(address, follow_redirects=True).text)


async def login(provider: Provider, show: Show, *, seconds: float = 30) -> Tokens:
    return await loopback_login(
        await asked(provider), client_id="cli", scope="notes:read", show=show, seconds=seconds
    )


async def test_section_4_1_and_7_3_a_person_logs_in_through_the_browser(
    provider: Provider,
) -> None:
    """An external browser, a loopback redirect on a free port, a code, tokens."""
    browser = Browser()
    tokens = await login(provider, browser)
    await browser.task

    assert tokens.access_token.startswith("access-")
    assert tokens.scopes == {"notes:read"}
    assert "access-" not in repr(tokens)
    assert "You may close" in browser.pages[0]
    (_, question), (_, form) = provider.asked
    assert urlsplit(question["redirect_uri"]).hostname == "127.0.0.1", "section 8.3: no name"
    assert form["redirect_uri"] == question["redirect_uri"]
    assert "client_secret" not in form, "section 8.5"


async def test_section_6_and_rfc_7636_the_code_is_bound_to_this_program(
    provider: Provider,
) -> None:
    """Whoever catches the code lacks the verifier; two logins share nothing."""
    seen = []
    for _ in range(2):
        await login(provider, Browser())
    for (_, question), (_, form) in zip(provider.asked[::2], provider.asked[1::2], strict=True):
        assert question["code_challenge_method"] == "S256"
        assert len(form["code_verifier"]) == 43
        assert form["code_verifier"] not in str(question)
        seen += [question["state"], form["code_verifier"]]
    assert len(set(seen)) == 4


async def test_section_8_9_an_answer_with_another_state_is_not_heard(provider: Provider) -> None:
    """A page that sends a code of the attacker's neither logs in nor ends the login."""
    provider.hostile = "wrong state"
    browser = Browser()
    with pytest.raises(AuthenticationError) as refused:
        await login(provider, browser, seconds=1)
    await browser.task

    assert refused.value.reason == "login_timed_out"
    assert "Nothing here" in browser.pages[0]
    assert [what for what, _ in provider.asked] == ["authorize"]


def knock(address: str, *heads: str) -> None:
    """Send each head to the program's port; none may be answered as the person is."""
    target = urlsplit(parse_qs(urlsplit(address).query)["redirect_uri"][0])
    for head in heads:
        connection = http.client.HTTPConnection(str(target.netloc), timeout=10)
        connection.connect()
        connection.sock.sendall(head.replace("HOST", target.netloc).encode("latin-1"))
        answer = connection.sock.recv(4096)
        assert not answer.startswith(b"HTTP/1.1 200"), head
        connection.close()


async def test_section_8_3_whoever_else_knocks_does_not_end_the_login(provider: Provider) -> None:
    """Pages of other sites and programs of the machine reach the port too."""

    def before(address: str) -> None:
        state = parse_qs(urlsplit(address).query)["state"][0]
        good = urlencode({"code": "evil", "state": state})
        knock(
            address,
            "GET / HTTP/1.1\r\nhost: HOST\r\n\r\n",
            f"POST /callback?{good} HTTP/1.1\r\nhost: HOST\r\n\r\n",
            f"GET /callback?{good} HTTP/1.1\r\nhost: evil.example\r\n\r\n",
            f"GET /callback?{good} HTTP/1.1\r\nhost: HOST\r\nhost: evil.example\r\n\r\n",
            f"GET /callback?{good} HTTP/1.1\r\n\r\n",
            f"GET /callback?{good}&state={state} HTTP/1.1\r\nhost: HOST\r\n\r\n",
            f"GET /other?{good} HTTP/1.1\r\nhost: HOST\r\n\r\n",
            "GET /callback?code=evil&state=guess HTTP/1.1\r\nhost: HOST\r\n\r\n",
            "GET /callback?code=evil&state=%ff%fe HTTP/1.1\r\nhost: HOST\r\n\r\n",
            "\r\n\r\n",
            "\x00\xff garbage\r\n\r\n",
            "GET /callback?" + "x" * 20_000 + " HTTP/1.1\r\nhost: HOST\r\n\r\n",
        )

    tokens = await login(provider, Browser(before))

    assert tokens.access_token.startswith("access-")


async def test_section_8_3_whoever_read_the_request_cannot_answer_it(provider: Provider) -> None:
    """State and challenge are in a command line or a log; a stranger's code must not come in.

    The stranger has their own code for the very challenge: without the browser's cookie the
    person would work, and keep secrets, in the stranger's account.
    """

    def before(address: str) -> None:
        state = parse_qs(urlsplit(address).query)["state"][0]
        good = urlencode({"code": "evil", "state": state, "iss": provider.issuer})
        port = urlsplit(browser.link).port
        knock(
            address,
            f"GET /callback?{good} HTTP/1.1\r\nhost: HOST\r\n\r\n",
            f"GET /callback?{good} HTTP/1.1\r\nhost: HOST\r\n"
            f"cookie: asgi-guard-login-{port}={'A' * 43}\r\n\r\n",
        )

    browser = Browser(before)
    tokens = await login(provider, browser)

    assert tokens.access_token.startswith("access-")
    await browser.task
    assert "You may close" in browser.pages[0]


async def test_a_link_that_somebody_else_opened_too_ends_the_login(provider: Provider) -> None:
    """Whoever was first has the cookie; if that was a stranger, the person must not go on."""
    answers: list[httpx2.Response] = []

    async def show(link: str) -> None:
        answers.append(await asyncio.to_thread(httpx2.get, link))
        answers.append(await asyncio.to_thread(httpx2.get, link))

    with pytest.raises(AuthenticationError) as refused:
        await login(provider, show)

    assert refused.value.reason == "login_address_used_twice"
    assert [each.status_code for each in answers] == [303, 404]
    assert provider.asked == []


async def test_the_link_says_nothing_of_the_request_and_binds_one_browser(
    provider: Provider,
) -> None:
    """What ``ps`` and the terminal show opens nothing once the browser has been there."""
    answers: list[httpx2.Response] = []

    async def show(link: str) -> None:
        assert "state" not in link
        assert "code_challenge" not in link
        wrong = await asyncio.to_thread(httpx2.get, link[:-1] + "_")
        assert wrong.status_code == 404
        other = {"host": "rebound.example"}
        assert (await asyncio.to_thread(httpx2.get, link, headers=other)).status_code == 404
        answers.append(await asyncio.to_thread(httpx2.get, link))

    with pytest.raises(AuthenticationError):
        await login(provider, show, seconds=0.2)

    [answer] = answers
    assert answer.headers["location"].startswith(f"{provider.issuer}/authorize?")
    cookie = answer.headers["set-cookie"]
    for part in ("; HttpOnly", "; SameSite=Lax", "; Path=/callback"):
        assert part in cookie


@pytest.mark.parametrize(
    ("hostile", "reason"),
    [
        ("wrong issuer", "login_issuer_mismatch"),
        ("no issuer", "login_issuer_mismatch"),
        ("denied", "login_access_denied"),
        ("no code", "login_code_missing"),
        ("escape in error", "login_refused"),
    ],
)
async def test_rfc_9207_section_2_4_and_rfc_6749_section_4_1_2_1_answers_that_end_the_login(
    provider: Provider, hostile: str, reason: str
) -> None:
    """Mixed-up servers, a person who says no, an error that would steer the terminal."""
    provider.hostile = hostile
    with pytest.raises(AuthenticationError) as refused:
        await login(provider, Browser())

    assert refused.value.reason == reason
    assert [what for what, _ in provider.asked] == ["authorize"], "no code was sent anywhere"


async def test_rfc_9207_section_2_4_a_server_that_promises_no_issuer_may_leave_it_out(
    provider: Provider,
) -> None:
    """But not name another."""
    provider.metadata = {"authorization_response_iss_parameter_supported": None}
    provider.hostile = "no issuer"
    await login(provider, Browser())
    provider.hostile = "wrong issuer"
    with pytest.raises(AuthenticationError, match="unauthenticated"):
        await login(provider, Browser())


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"issuer": "http://127.0.0.1:1"}, AuthenticationError),
        ({"issuer": None}, AuthenticationError),
        ({"token_endpoint": "http://evil.example/token"}, AuthenticationError),
        ({"token_endpoint": "file:///etc/passwd"}, AuthenticationError),
        ({"revocation_endpoint": 7}, AuthenticationError),
        ({"authorization_endpoint": "javascript:alert(1)"}, AuthenticationError),
        ({"authorization_endpoint": None}, ConfigError),
        ({"code_challenge_methods_supported": ["plain"]}, ConfigError),
        ({"code_challenge_methods_supported": "S256"}, ConfigError),
    ],
    ids=str.split("other none plain file number script lacking downgraded text"),
)
async def test_rfc_8414_section_3_3_metadata_of_another_or_with_bad_addresses(
    provider: Provider, metadata: dict[str, object], error: type[Exception]
) -> None:
    """Before the browser is opened."""
    provider.metadata = metadata
    with pytest.raises(error):
        await login(provider, Browser())
    assert provider.asked == []


@pytest.mark.parametrize(
    "token",
    [
        {"token_type": "mac"},
        {"token_type": None},
        {"access_token": None},
        {"access_token": ""},
        {"access_token": "a\r\nx-evil: 1"},
        {"access_token": "a b"},
        {"access_token": "é"},
        {"access_token": "x" * 20_000},
        {"refresh_token": ["x"]},
        {"expires_in": -1},
        {"expires_in": True},
        {"expires_in": "600"},
        {"expires_in": 10**12},
        {"scope": 7},
    ],
    ids=str.split(
        "mac no-type none empty crlf space accent long list minus true text endless scope"
    ),
)
async def test_rfc_6749_section_5_1_a_token_answer_that_is_none_is_refused(
    provider: Provider, token: dict[str, object]
) -> None:
    """What would break out of a header, or never end, is not stored."""
    provider.token = token
    with pytest.raises(AuthenticationError, match="unauthenticated"):
        await login(provider, Browser())


async def test_a_server_that_is_busy_or_gone_is_said_to_be(provider: Provider) -> None:
    """Not taken for a refusal: the person's session may be good."""
    provider.hostile = "busy"
    with pytest.raises(UnavailableError):
        await login(provider, Browser())
    with pytest.raises(UnavailableError):
        await discover("http://127.0.0.1:9", fetch=FETCH, allow_http=True)
    with pytest.raises(ConfigError, match="https"):
        await discover(provider.issuer, fetch=FETCH)
