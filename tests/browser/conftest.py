"""A real Chromium and as many loopback origins as a test asks for.

One browser and one server for the session; a context (cookies, cache) and a set of sites for each
test. Names under ``.localhost`` are secure contexts, so the browser sends ``Sec-Fetch-*`` and
keeps ``Secure`` cookies; names under ``.example`` are plain http to it, like an old browser.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_asyncio
import uvicorn

from asgi_guard.observability import subscribe
from asgi_guard.protocols import ASGIApp
from tests.support.availability import unavailable
from tests.support.exchange import Events
from tests.support.tls import Certificate, make_certificate

FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--short-reporting-delay",  # else CSP reports wait a minute for company
    "--disable-features=SpareRendererForSitePerProcess,Translate,OptimizationHints",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1, MAP *.example 127.0.0.1",
]


class Sites:
    """A server that gives each host name its own app: each is an origin of its own."""

    def __init__(self, port: int, tls_port: int) -> None:
        self.port = port
        self.tls_port = tls_port
        self._apps: dict[str, ASGIApp] = {}

    def add(self, host: str, app: ASGIApp, *, scheme: str = "http") -> str:
        """Serve *app* as *host* until the test ends, and return its origin."""
        self._apps[host] = app
        return f"{scheme}://{host}:{self.tls_port if scheme == 'https' else self.port}"

    def clear(self) -> None:
        self._apps.clear()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        hosts = [value.decode() for name, value in scope["headers"] if name == b"host"]
        app = self._apps.get(hosts[0].rpartition(":")[0], _no_such_site)
        await app(scope, receive, send)


async def _no_such_site(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":  # e.g. a favicon of a test that has ended
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class _Server(uvicorn.Server):
    """A server that leaves the process's signal handlers to pytest."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Give the certificate that the session's browser accepts."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "*.localhost", "*.example")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def web_server(certificate: Certificate) -> AsyncIterator[Sites]:
    """Give the session's server, on two free loopback ports: plain, and with TLS."""
    tls = {"ssl_certfile": certificate.cert, "ssl_keyfile": certificate.key}
    with (
        socket.create_server(("127.0.0.1", 0)) as plain,
        socket.create_server(("127.0.0.1", 0)) as secure,
    ):
        sites = Sites(plain.getsockname()[1], secure.getsockname()[1])
        servers = [_server(sites), _server(sites, **tls)]
        serving = [
            asyncio.create_task(server.serve(sockets=[listener]))
            for server, listener in zip(servers, (plain, secure), strict=True)
        ]
        yield sites
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*serving)


def _server(app: ASGIApp, **tls: Any) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            ws="websockets-sansio",
            timeout_graceful_shutdown=2,
            **tls,
        )
    )


@pytest.fixture
def sites(web_server: Sites) -> Iterator[Sites]:
    """Give the test its own set of sites."""
    web_server.clear()
    yield web_server
    web_server.clear()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(
    chromium: str, certificate: Certificate, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Any]:
    """Give the session's browser, which sends cookies across sites as most visitors' do.

    Contexts are private windows, where Chromium would hold back third-party cookies and with
    them the attacks; they take that setting from the profile that the browser started with.
    """
    try:
        from playwright.async_api import async_playwright  # noqa: PLC0415 - a test group's own
    except ImportError as missing:
        unavailable("a browser driver", f"{missing} (pip install --group browser)")
    async with async_playwright() as driver:
        profile = tmp_path_factory.mktemp("chromium")
        (profile / "Default").mkdir()
        (profile / "Default" / "Preferences").write_text('{"profile": {"cookie_controls_mode": 0}}')
        first = await driver.chromium.launch_persistent_context(
            profile,
            executable_path=chromium,
            args=[*FLAGS, f"--ignore-certificate-errors-spki-list={certificate.spki}"],
        )
        yield first.browser
        await first.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(browser: Any) -> AsyncIterator[Any]:
    """Give a visitor: a browser context with cookies and a cache of its own."""
    context = await browser.new_context()
    context.set_default_timeout(10_000)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(visitor: Any) -> Any:
    """Give the visitor's one open tab."""
    return await visitor.new_page()


@pytest.fixture
def events() -> Iterator[Events]:
    """Give the security events of the test."""
    sink = Events()
    unsubscribe = subscribe(sink)
    yield sink
    unsubscribe()
