"""HTTPXFetch: answers of real servers over TLS, bounded in size and time."""

from __future__ import annotations

import asyncio
import gc
import gzip
import ssl
import subprocess
import sys

import pytest

from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.integrations.httpx import HTTPXFetch
from tests.support.fetch_servers import Authority, lead_names, raw_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Kind: a\r\nX-Kind: b\r\n\r\n{}"
HERE = ["127.0.0.0/8"]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def fetcher(authority: Authority, **options: object) -> HTTPXFetch:
    """Build one that trusts the test's authority and may reach loopback."""
    given: dict[str, object] = {"allow_addresses": HERE, "ssl_context": authority.trusting()}
    return HTTPXFetch(**{**given, **options})  # type: ignore[arg-type]


async def refused(fetch: HTTPXFetch, url: str, *, max_bytes: int = 100) -> UnavailableError:
    """Fetch *url*; return why there was no answer."""
    with pytest.raises(UnavailableError) as caught:
        await fetch("GET", url, max_bytes=max_bytes)
    return caught.value


async def test_an_answer_comes_with_its_status_fields_and_body(authority: Authority) -> None:
    """What RemoteKeys and OpenID discovery are built on."""
    async with raw_server(OK, authority.serving("localhost")) as server:
        answer = await fetcher(authority)(
            "GET", f"https://localhost:{server.port}/jwks?a=b", max_bytes=2
        )

    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["x-kind"] == "a, b"
    head = server.heads[0].lower()
    assert head.startswith("get /jwks?a=b http/1.1\r\n")
    assert f"\r\nhost: localhost:{server.port}\r\n" in head
    assert "\r\naccept-encoding: identity\r\n" in head


async def test_a_form_is_posted_with_its_fields(authority: Authority) -> None:
    """The token endpoint of OpenID Connect takes a form and a client's credential."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await reader.readexactly(8)
        writer.write(b"HTTP/1.1 400 Bad\r\nContent-Length: 8\r\n\r\n" + body)
        await writer.drain()

    async with raw_server(echo, authority.serving("localhost")) as server:
        answer = await fetcher(authority)(
            "POST",
            f"https://localhost:{server.port}/token",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=b"code=abc",
            max_bytes=100,
        )

    assert (answer.status, answer.body) == (400, b"code=abc")
    assert "\r\ncontent-type: application/x-www-form-urlencoded\r\n" in server.heads[0].lower()
    assert "\r\ncontent-length: 8\r\n" in server.heads[0].lower()


async def test_a_redirect_is_an_answer_and_not_followed(authority: Authority) -> None:
    """A redirect is a URL that somebody else chose, after all was judged."""
    moved = b"HTTP/1.1 302 Found\r\nLocation: https://localhost/\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(moved, authority.serving("localhost")) as server:
        answer = await fetcher(authority)("GET", f"https://localhost:{server.port}/", max_bytes=9)

    assert answer.status == 302
    assert server.connections == 1


async def test_nothing_is_kept_between_requests(authority: Authority) -> None:
    """A cookie or connection of one tenant's provider must not serve another's."""
    cookie = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(cookie, authority.serving("localhost")) as server:
        fetch = fetcher(authority)
        for _ in range(2):
            await fetch("GET", f"https://localhost:{server.port}/", max_bytes=9)

    assert server.connections == 2
    assert "cookie" not in server.heads[1].lower()


@pytest.mark.parametrize(
    "length",
    [b"Content-Length: 64000000\r\n", b"", b"chunked"],
    ids=["announced", "until_closed", "chunked"],
)
async def test_a_long_answer_is_not_read_to_its_end(authority: Authority, length: bytes) -> None:
    """A provider that answers gigabytes takes the memory of every tenant."""
    sent = 0

    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        field = b"Transfer-Encoding: chunked\r\n" if length == b"chunked" else length
        writer.write(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n")
        for _ in range(1000):
            piece = b"x" * 64_000
            writer.write(b"fa00\r\n" + piece + b"\r\n" if length == b"chunked" else piece)
            sent += len(piece)
            await writer.drain()

    async with raw_server(pour, authority.serving("localhost")) as server:
        url = f"https://localhost:{server.port}/"
        error = await refused(fetcher(authority), url, max_bytes=1000)

    assert error.reason == "fetch_too_large"
    assert sent < 64_000_000


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip", "GZIP"])
async def test_a_compressed_answer_is_refused(authority: Authority, encoding: str) -> None:
    """One megabyte of gzip unpacks to a gigabyte, and a bound on the wire does not see it."""
    bomb = gzip.compress(b"\0" * 1_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(bomb)}\r\n\r\n"
    async with raw_server(head.encode() + bomb, authority.serving("localhost")) as server:
        url = f"https://localhost:{server.port}/"
        error = await refused(fetcher(authority), url, max_bytes=100_000)

    assert error.reason == "fetch_encoded"


async def test_a_server_that_never_ends_is_left(authority: Authority) -> None:
    """A byte a second passes every timeout that is counted from the last byte."""
    hung_up = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx")
        await writer.drain()
        await reader.read()
        hung_up.set()

    async with raw_server(drip, authority.serving("localhost")) as server:
        url = f"https://localhost:{server.port}/"
        error = await refused(fetcher(authority, seconds=0.2), url)
        async with asyncio.timeout(10):
            await hung_up.wait()

    assert error.reason == "fetch_timed_out"


async def test_a_server_that_accepts_and_says_nothing_is_left(authority: Authority) -> None:
    """Between TCP and TLS a cancelled HTTPX keeps its socket open, to the last descriptor."""
    async with raw_server(b"") as server:
        url = f"https://localhost:{server.port}/"
        error = await refused(fetcher(authority, seconds=0.1), url)

    assert error.reason == "fetch_timed_out"
    gc.collect()  # an open socket warns when it is collected, and warnings are errors here


async def test_a_caller_that_cancels_is_obeyed(authority: Authority) -> None:
    """The caller bounds the time, too; its cancellation must not look like an answer."""
    arrived = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await reader.read()

    async with raw_server(silent, authority.serving("localhost")) as server:
        fetch = fetcher(authority)
        task = asyncio.ensure_future(fetch("GET", f"https://localhost:{server.port}/", max_bytes=1))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("fault", ["another name", "another authority"])
async def test_a_certificate_of_another_name_or_authority_is_refused(
    authority: Authority, fault: str
) -> None:
    """Whoever stands on the way could otherwise publish keys of its own."""
    others = {
        "another name": lambda: authority.serving("other.example"),
        "another authority": lambda: Authority().serving("localhost"),
    }
    async with raw_server(OK, others[fault]()) as server:
        error = await refused(fetcher(authority), f"https://localhost:{server.port}/")

    assert error.reason == "fetch_certificate_refused"
    assert server.heads == []


async def test_the_certificate_must_be_the_names_and_not_the_addresss(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to a pinned address; verifying that instead would trust any neighbour."""
    lead_names(monkeypatch, id_example=[["127.0.0.1"]])
    async with raw_server(OK, authority.serving("127.0.0.1")) as wrong:
        error = await refused(fetcher(authority), f"https://id.example:{wrong.port}/")
    async with raw_server(OK, authority.serving("id.example")) as right:
        url = f"https://id.example:{right.port}/"
        answer = await fetcher(authority)("GET", url, max_bytes=100)

    assert error.reason == "fetch_certificate_refused"
    assert answer.status == 200
    assert f"host: id.example:{right.port}\r\n" in right.heads[0].lower()


async def test_the_next_address_is_tried_when_one_is_dead(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider with two addresses is there as long as one of them is."""
    lead_names(monkeypatch, id_example=[["127.0.0.2", "127.0.0.1"]])
    async with raw_server(OK, authority.serving("id.example")) as server:
        url = f"https://id.example:{server.port}/"
        answer = await fetcher(authority)("GET", url, max_bytes=100)

    assert answer.status == 200


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://localhost/", "fetch_url_refused"),
        ("file:///etc/passwd", "fetch_url_refused"),
        ("https://user:secret@localhost/", "fetch_url_refused"),
        ("https:///path", "fetch_url_refused"),
        ("//localhost/", "fetch_url_refused"),
        ("https://local host/", "fetch_name_unresolved"),
        ("https://localhost:99999/", "fetch_url_refused"),
        ("https://localhost:0/", "fetch_url_refused"),
        ("https://nowhere.invalid/", "fetch_name_unresolved"),
        ("https://localhost:1/", "fetch_unreachable"),
    ],
)
async def test_what_cannot_be_asked_says_why(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, url: str, reason: str
) -> None:
    """An operator must tell a typing error from a dead provider without reading a trace."""
    lead_names(monkeypatch, nowhere_invalid=[[]])
    error = await refused(fetcher(authority), url)

    assert error.reason == reason
    assert "secret" not in str(error) + "".join(getattr(error, "__notes__", ()))


async def test_a_server_that_speaks_no_http_or_no_tls_is_told_apart(authority: Authority) -> None:
    """Each error names what the operator has to look at."""
    async with raw_server(b"SSH-2.0-OpenSSH\r\n\r\n", authority.serving("localhost")) as server:
        no_http = await refused(fetcher(authority), f"https://localhost:{server.port}/")
    async with raw_server(b"", greeting=b"220 mail.example ESMTP\r\n") as server:
        no_tls = await refused(fetcher(authority), f"https://localhost:{server.port}/")

    assert no_http.reason == "fetch_protocol_error"
    assert no_tls.reason == "fetch_tls_failed"
    assert any("localhost" in note for note in no_http.__notes__)


async def test_a_proxy_of_the_environment_is_not_used_unless_asked(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that a CGI gateway or a build script left must not see the requests."""
    async with raw_server(OK) as proxy, raw_server(OK, authority.serving("localhost")) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        url = f"https://localhost:{server.port}/"
        answer = await fetcher(authority)("GET", url, max_bytes=100)
        untouched = proxy.connections
        await refused(fetcher(authority, insecure_trust_env=True), url)

    assert answer.status == 200
    assert untouched == 0
    assert proxy.heads[0].startswith(f"CONNECT localhost:{server.port} ")


async def test_plain_http_is_asked_for_by_name(authority: Authority) -> None:
    """Local development has no certificates; production must not fall into it."""
    async with raw_server(OK) as server:
        fetch = fetcher(authority, insecure_allow_http=True)
        answer = await fetch("GET", f"http://127.0.0.1:{server.port}/", max_bytes=100)

    assert answer.status == 200


def test_settings_that_open_a_door_are_refused() -> None:
    """A context that verifies nothing is the most common way to lose all of this."""
    blind = ssl.create_default_context()
    blind.check_hostname = False
    with pytest.raises(ConfigError, match="ssl_context"):
        HTTPXFetch(ssl_context=blind)
    blind.verify_mode = ssl.CERT_NONE
    with pytest.raises(ConfigError, match="ssl_context"):
        HTTPXFetch(ssl_context=blind)
    with pytest.raises(ConfigError, match="seconds"):
        HTTPXFetch(seconds=0)
    for networks in ("10.0.0.0/8", ["10.0.0.1/8"], ["all"]):
        with pytest.raises(ConfigError, match="allow_addresses"):
            HTTPXFetch(allow_addresses=networks)


def test_without_httpx_the_extra_is_named() -> None:
    """``No module named 'httpx2'`` does not say that there is an extra for it."""
    without = "import sys; sys.modules['httpx2'] = None; import asgi_guard.integrations.httpx"
    run = subprocess.run(
        [sys.executable, "-c", without], capture_output=True, text=True, check=False
    )

    assert 'pip install "asgi-guard[oidc]"' in run.stderr


def test_what_a_request_needs_is_imported_before_the_first() -> None:
    """HTTPX imports its parts when first used: a hundred milliseconds on the event loop."""
    program = (
        "import asyncio, sys, asgi_guard.integrations.httpx as made\n"
        "before = set(sys.modules)\n"
        "fetch = made.HTTPXFetch(allow_addresses=['127.0.0.0/8'], insecure_allow_http=True)\n"
        "try: asyncio.run(fetch('GET', 'http://127.0.0.1:1/', max_bytes=1))\n"
        "except Exception as error: print(error)\n"
        "late = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(late & {'anyio', 'h11', 'h2', 'hpack', 'httpcore2', 'httpx2', 'ssl'}))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert run.stdout == "unavailable: fetch_unreachable\n[]\n"
