"""A real browser attacks two banks from foreign pages, with a visitor's cookies in its pocket.

One bank is guarded, the other is not: each test makes the same attack on both, so that it shows
what the middleware stops and that the attack is real.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from asgi_guard.cross_origin import CrossOriginMiddleware
from asgi_guard.origins import OriginPolicy
from asgi_guard.protocols import ASGIApp
from tests.browser.conftest import Sites
from tests.browser.places import Bank, page_of, sign_in, without_vary
from tests.support.exchange import Events

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

FORM = "<form method=post action={target}><input name=to value=mallory></form>"
POST = """url => fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include', body: 'x'})
          .then(() => 'sent', () => 'failed')"""
SOCKET = """url => new Promise(done => {
    const socket = new WebSocket(url);
    socket.onmessage = message => done(message.data);
    socket.onerror = () => done('refused');
})"""
SCRIPT = """url => new Promise(done => {
    window.balance = undefined;
    const script = document.createElement('script');
    script.src = url;
    script.onload = () => done(window.balance ?? 'nothing');
    script.onerror = () => done('blocked');
    document.body.append(script);
})"""


class Scene:
    """Two banks, foreign pages, and a visitor signed in at the ones and lured to the others."""

    def __init__(self, sites: Sites, page: Any) -> None:
        self.sites = sites
        self.page = page
        self.guarded = Bank()
        self.control = Bank()
        self.banks = (self.guarded, self.control)

    async def open(
        self,
        domain: str = "localhost",
        *,
        wrap: Callable[[ASGIApp], ASGIApp] = CrossOriginMiddleware,
        scheme: str = "http",
    ) -> None:
        """Open both banks under *domain* and sign the visitor in at each."""
        add = self.sites.add
        self.guarded.origin = add(f"bank.{domain}", wrap(self.guarded.app()), scheme=scheme)
        self.control.origin = add(f"naked.{domain}", self.control.app(), scheme=scheme)
        await sign_in(self.page.context, f"bank.{domain}", f"naked.{domain}")

    async def lure(self, html: str = "", host: str = "evil.localhost") -> Any:
        """Bring the visitor to a page of somebody else's."""
        await self.page.goto(self.sites.add(host, page_of(html)))
        return self.page

    async def submit(self, frame: Any = None) -> None:
        """Send the page's form, without the visitor's doing."""
        arrived = self.page.expect_event(
            "framenavigated", lambda shown: shown.url.endswith("/transfer")
        )
        async with arrived:
            await (frame or self.page).evaluate("document.forms[0].submit()")

    @property
    def moved(self) -> tuple[list[str], list[str]]:
        """In whose name money was moved: at the guarded bank, at the control."""
        return self.guarded.transfers, self.control.transfers


@pytest.fixture
def scene(sites: Sites, page: Any) -> Scene:
    return Scene(sites, page)


async def test_a_form_on_a_foreign_page_moves_no_money(scene: Scene, events: Events) -> None:
    """CSRF, as it was in 2001: the browser adds the cookie, nobody asked the visitor."""
    await scene.open()

    for bank in scene.banks:
        await scene.lure(FORM.format(target=f"{bank.origin}/transfer"))
        await scene.submit()

    assert scene.moved == ([], ["alice"])
    assert events.reasons == ["cross_site_write"]


async def test_a_fetch_from_a_foreign_page_moves_no_money(scene: Scene, events: Events) -> None:
    """A simple request needs no preflight; CORS hides the answer, not the deed."""
    await scene.open()
    page = await scene.lure()

    for bank in scene.banks:
        await page.evaluate(POST, f"{bank.origin}/transfer")

    assert scene.moved == ([], ["alice"])
    assert events.reasons == ["cross_site_write"]


async def test_a_sandboxed_frame_moves_no_money(scene: Scene, events: Events) -> None:
    """Its origin is ``null``, which no list of friends may hold."""
    await scene.open()

    for bank in scene.banks:
        form = FORM.format(target=f"{bank.origin}/transfer")
        page = await scene.lure(
            f'<iframe sandbox="allow-forms allow-scripts" srcdoc="{form}"></iframe>'
        )
        await scene.submit(page.frames[1])

    assert scene.moved == ([], ["alice"])
    assert [event.details["origin"] for event in events.seen] == ["null"]


async def test_a_redirect_does_not_launder_a_foreign_post(scene: Scene) -> None:
    """A 307 keeps method and body; the browser still remembers who began."""
    await scene.open()
    page = await scene.lure()

    for bank in scene.banks:
        detour = scene.sites.add("detour.localhost", redirecting_to(f"{bank.origin}/transfer"))
        await page.evaluate(POST, detour)

    assert scene.moved == ([], ["alice"])


async def test_a_sibling_subdomain_moves_no_money(scene: Scene, events: Events) -> None:
    """Another tenant's page is same-site, so even SameSite=Strict cookies would come along."""
    await scene.open("saas.localhost")
    page = await scene.lure(host="mallory.saas.localhost")

    for bank in scene.banks:
        await page.evaluate(POST, f"{bank.origin}/transfer")

    assert scene.moved == ([], ["alice"])
    assert events.reasons == ["same_site_write"]


async def test_a_browser_without_fetch_metadata_is_judged_by_its_origin(
    scene: Scene, events: Events
) -> None:
    """Over plain http no browser sends Sec-Fetch-Site; that must not be a way in."""
    await scene.open("example")

    for bank in scene.banks:
        await scene.lure(FORM.format(target=f"{bank.origin}/transfer"), host="evil.example")
        await scene.submit()

    assert scene.moved == ([], ["nobody"])
    assert events.reasons == ["origin_foreign"]
    assert events.seen[0].details["fetch_site"] is None


@pytest.mark.parametrize(
    ("domain", "path"),
    [("localhost", "/form?referrer=no-referrer"), ("example", "/form?referrer=origin")],
)
async def test_the_banks_own_form_still_works(
    scene: Scene, events: Events, domain: str, path: str
) -> None:
    """Also under ``no-referrer``, where a browser calls its own origin ``null``."""
    await scene.open(domain)
    await scene.page.goto(scene.guarded.origin + path)

    await scene.submit()

    assert len(scene.guarded.transfers) == 1
    assert events.seen == []


async def test_a_foreign_page_cannot_load_private_data_as_a_script(
    scene: Scene, events: Events
) -> None:
    """Cross-site script inclusion: a script tag reads what fetch may not."""
    await scene.open()
    page = await scene.lure()

    found = [await page.evaluate(SCRIPT, f"{bank.origin}/balance.js") for bank in scene.banks]

    assert found == ["blocked", 1000]
    assert (scene.guarded.reads, scene.control.reads) == (0, 1)
    assert events.reasons == ["cross_site_read"]


async def test_the_cache_does_not_serve_a_stranger_what_the_bank_gave_itself(
    scene: Scene,
) -> None:
    """Without Vary, a script in the cache answers a sibling's page and the bank is never asked."""
    await scene.open("saas.localhost")
    forgetful = without_vary(CrossOriginMiddleware(scene.control.app()))
    scene.sites.add("naked.saas.localhost", forgetful)
    for bank in scene.banks:
        await scene.page.goto(bank.origin)
        assert await scene.page.evaluate(SCRIPT, f"{bank.origin}/balance.js") == 1000

    page = await scene.lure(host="mallory.saas.localhost")
    stolen = [await page.evaluate(SCRIPT, f"{bank.origin}/balance.js") for bank in scene.banks]

    assert stolen == ["blocked", 1000]


async def test_a_link_from_a_foreign_page_still_opens_the_bank(
    scene: Scene, events: Events
) -> None:
    """Search results and mails must keep working; a link is not an attack."""
    await scene.open()
    page = await scene.lure(f"<a id=link href={scene.guarded.origin}/>bank</a>")

    await page.click("#link")
    await page.wait_for_url(f"{scene.guarded.origin}/")

    assert await page.title() == "bank"
    assert events.seen == []


async def test_a_foreign_page_cannot_embed_the_bank(scene: Scene, events: Events) -> None:
    """The request itself is refused, so nothing can be learnt from how the frame loads."""
    await scene.open()
    page = await scene.lure()
    statuses = []

    for tag in ("iframe src", "object data", "embed src"):
        for bank in scene.banks:
            async with page.expect_response(f"{bank.origin}/") as loading:
                await page.evaluate(
                    "html => { document.body.innerHTML = html }", f"<{tag}={bank.origin}/>"
                )
            statuses.append((await loading.value).status)

    assert statuses == [403, 200] * 3
    assert events.reasons == ["cross_site_read"] * 3


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_foreign_page_cannot_open_a_socket_as_the_visitor(
    scene: Scene, events: Events, scheme: str
) -> None:
    """Cross-site WebSocket hijacking: no preflight, no same-origin policy, cookies included."""
    await scene.open(scheme=scheme)
    page = await scene.lure()

    heard = [await page.evaluate(SOCKET, bank.socket) for bank in scene.banks]

    assert heard == ["refused", "hello alice"]
    assert events.reasons == ["origin_foreign"]
    # The reason why handshakes are judged by Origin alone, here and in the policy's docstring.
    assert events.seen[0].details["fetch_site"] is None


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_banks_own_page_opens_its_socket_unlisted(scene: Scene, scheme: str) -> None:
    """Nobody should have to list an app's own address, nor tell it of the proxy that ends TLS."""
    await scene.open(scheme=scheme, wrap=lambda app: behind_proxy(CrossOriginMiddleware(app)))
    await scene.page.goto(scene.guarded.origin)

    assert await scene.page.evaluate(SOCKET, scene.guarded.socket) == "hello alice"


async def test_a_friend_may_post_and_connect(scene: Scene, events: Events) -> None:
    """The same origin policy as CORS: one list, three gates."""
    friend = f"http://friend.localhost:{scene.sites.port}"
    friends = OriginPolicy([friend], environment="development")
    await scene.open(wrap=lambda app: CrossOriginMiddleware(app, origins=friends))
    page = await scene.lure(host="friend.localhost")

    await page.evaluate(POST, f"{scene.guarded.origin}/transfer")

    assert await page.evaluate(SOCKET, scene.guarded.socket) == "hello alice"
    assert scene.guarded.transfers == ["alice"]
    assert events.seen == []


def redirecting_to(target: str) -> ASGIApp:
    async def redirect(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"location", target.encode())]
        await send({"type": "http.response.start", "status": 307, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return redirect


def behind_proxy(app: ASGIApp) -> ASGIApp:
    """Show *app* what it sees when somebody else has ended TLS."""

    async def forwarded(scope: Any, receive: Any, send: Any) -> None:
        plain = {"https": "http", "wss": "ws"}.get(scope["scheme"], scope["scheme"])
        await app({**scope, "scheme": plain}, receive, send)

    return forwarded
