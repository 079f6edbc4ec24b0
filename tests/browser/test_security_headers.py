"""What a real browser refuses to do because the headers say so.

Each test visits the app twice, with and without the middleware, so that it also shows the browser
doing the thing when nobody asks it not to.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from asgi_guard.cross_origin import CrossOriginMiddleware
from asgi_guard.protocols import ASGIApp
from asgi_guard.security_headers import (
    NONCE,
    ContentSecurityPolicy,
    CSPReportCollector,
    SecurityHeaders,
    SecurityHeadersMiddleware,
    clear_site_data,
    csp_nonce,
)
from asgi_guard.security_headers.nonce import SCOPE_KEY
from tests.browser.conftest import Sites
from tests.browser.places import page_of
from tests.support.exchange import Events

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

REPORTS = "/csp-reports"
DISPOSITION = {"html": "enforce", "report_only": "report"}
PAGE = """<!doctype html><title>shop</title>
<script nonce="{nonce}">
  window.own = 'ran';
  try {{ window.evaluated = eval("'ran'") }} catch {{ window.evaluated = 'blocked' }}
</script>
<p>A comment by a customer: <script>window.injected = 'ran'</script>
<img src=x onerror="window.handler = 'ran'">
<script nonce="AAAAAAAAAAAAAAAAAAAAAAAA">window.guessed = 'ran'</script>
"""
RAN = """() => ['own', 'evaluated', 'injected', 'handler', 'guessed']
    .filter(name => window[name] === 'ran')"""
LOADS = """([tag, url]) => new Promise(done => {
    const element = document.createElement(tag);
    element.onload = () => done('loaded');
    element.onerror = () => done('blocked');
    element.src = url;
    document.body.append(element);
})"""
PIXEL = b"<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'></svg>"


async def show(request: Request) -> Response:
    """A page that someone has written a comment into, and that escapes nothing."""
    nonce = csp_nonce(request) if SCOPE_KEY in request.scope else "none"
    return HTMLResponse(PAGE.format(nonce=nonce))


async def image(request: Request) -> Response:
    return Response(PIXEL, media_type="image/svg+xml")


async def upload(request: Request) -> Response:
    """A customer's upload that is a script in all but its declared type."""
    return PlainTextResponse("window.uploaded = 'ran'")


async def login(request: Request) -> Response:
    response = HTMLResponse("<!doctype html>in")
    response.set_cookie("session", "alice", max_age=600)
    return response


async def logout(request: Request) -> Response:
    response = HTMLResponse("<!doctype html>out")
    if SCOPE_KEY in request.scope:
        clear_site_data(response, "cookies", "storage")
    return response


def shop() -> ASGIApp:
    return Starlette(
        routes=[
            Route("/", show),
            Route("/image", image),
            Route("/upload", upload),
            Route("/login", login),
            Route("/logout", logout),
            Mount(REPORTS, CSPReportCollector()),
        ]
    )


class Shops:
    """The same shop twice: with the headers, and without."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self.guarded = self.add("shop.localhost", SecurityHeaders.html(report_to=REPORTS))
        self.control = sites.add("naked.localhost", shop())
        self.both = (self.guarded, self.control)
        self.stranger = sites.add("evil.localhost", page_of("<p>stranger"))

    def add(self, host: str, policy: SecurityHeaders, **how: str) -> str:
        """Serve a shop with *policy*, and with the cross-origin check inside, as `Guard` does."""
        app = SecurityHeadersMiddleware(CrossOriginMiddleware(shop()), policy=policy)
        return self._sites.add(host, app, **how)


@pytest.fixture
def shops(sites: Sites) -> Shops:
    return Shops(sites)


async def test_only_the_script_with_the_responses_own_nonce_runs(shops: Shops, page: Any) -> None:
    """An injected script cannot know 144 bits that were made after it was written."""
    ran = []
    for origin in shops.both:
        await page.goto(origin)
        ran.append(await page.evaluate(RAN))

    assert ran == [["own"], ["own", "evaluated", "injected", "handler", "guessed"]]


async def test_a_foreign_page_cannot_frame_the_shop(shops: Shops, page: Any, sites: Sites) -> None:
    """Clickjacking: the visitor clicks on what lies invisibly on top."""
    dressed = SecurityHeadersMiddleware(shop(), policy=SecurityHeaders.html())
    shown = []

    for origin in (sites.add("framed.localhost", dressed), shops.control):
        await page.goto(shops.stranger)
        loading = page.expect_event(
            "framenavigated", lambda frame: frame.parent_frame and frame.url != "about:blank"
        )
        async with loading as framed:
            await page.evaluate(LOADS, ["iframe", f"{origin}/"])
        shown.append((await framed.value).url)

    assert shown == ["chrome-error://chromewebdata/", f"{shops.control}/"]


async def test_a_foreign_page_cannot_take_in_the_shops_image(
    shops: Shops, page: Any, sites: Sites
) -> None:
    """Cross-Origin-Resource-Policy keeps private pictures out of other sites' processes."""
    dressed = SecurityHeadersMiddleware(shop(), policy=SecurityHeaders.api())
    found = []

    for origin in (sites.add("pictures.localhost", dressed), shops.control):
        await page.goto(shops.stranger)
        found.append(await page.evaluate(LOADS, ["img", f"{origin}/image"]))

    assert found == ["blocked", "loaded"]


async def test_an_upload_is_not_run_as_a_script(shops: Shops, page: Any, sites: Sites) -> None:
    """Without nosniff, what is declared as text runs when a script tag asks for it."""
    sniffless = SecurityHeaders(x_content_type_options="nosniff")
    dressed = SecurityHeadersMiddleware(shop(), policy=sniffless)
    found = []

    for origin in (sites.add("uploads.localhost", dressed), shops.control):
        await page.goto(shops.stranger)
        found.append(await page.evaluate(LOADS, ["script", f"{origin}/upload"]))

    assert found == ["blocked", "loaded"]


async def test_logout_makes_the_browser_forget(shops: Shops, page: Any, visitor: Any) -> None:
    """The next person at this computer finds no cookie and no stored token."""
    left = []

    for origin in shops.both:
        await page.goto(f"{origin}/login")
        await page.evaluate("localStorage.setItem('token', 't')")
        await page.goto(f"{origin}/logout")
        stored = await page.evaluate("localStorage.getItem('token')")
        left.append((stored, len(await visitor.cookies(origin))))

    assert left == [(None, 0), ("t", 1)]


@pytest.mark.parametrize("mode", ["html", "report_only"])
async def test_reports_of_the_browser_arrive_at_the_collector(
    shops: Shops, page: Any, events: Events, mode: str
) -> None:
    """Through the cross-origin check, which must know the browser's reports for the app's own."""
    policy = getattr(SecurityHeaders, mode)(report_to=REPORTS)

    await page.goto(shops.add("reporting.localhost", policy, scheme="https"))
    async with asyncio.timeout(20):
        await events.arrived.wait()

    assert {event.name for event in events.seen} == {"CSP_VIOLATION"}
    assert events.seen[0].reason.startswith("script-src")
    assert events.seen[0].details["disposition"] == DISPOSITION[mode]
    blocked = "injected" not in await page.evaluate(RAN)
    assert blocked is (mode == "html")


async def test_reports_in_the_older_format_arrive_as_well(
    shops: Shops, page: Any, events: Events
) -> None:
    """Firefox and Safari know ``report-uri``; so does Chromium where nothing newer is named."""
    policy = ContentSecurityPolicy({"script-src": [NONCE], "report-uri": [REPORTS + "/"]})

    await page.goto(shops.add("older.localhost", SecurityHeaders(content_security_policy=policy)))
    async with asyncio.timeout(20):
        await events.arrived.wait()

    assert {event.name for event in events.seen} == {"CSP_VIOLATION"}


async def test_a_visitor_who_came_over_https_is_not_brought_back_to_http(
    shops: Shops, page: Any, sites: Sites
) -> None:
    """The network may write any http page; after HSTS the browser no longer asks for one."""
    downgraded = []

    for host, policy in (
        ("lost.example", SecurityHeaders.html().replace(strict_transport_security=None)),
        ("kept.example", SecurityHeaders.html()),
    ):
        await page.goto(shops.add(host, policy, scheme="https"))
        try:
            await page.goto(f"http://{host}:{sites.port}/")
            downgraded.append(page.url)
        except Exception as refused:
            downgraded.append("ERR_SSL" in str(refused))

    assert downgraded == [f"http://lost.example:{sites.port}/", True]
