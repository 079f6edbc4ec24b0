"""What a real browser lets a friend read, and keeps from a stranger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asgi_guard.cors import CORSAllowlistMiddleware, CORSPolicy
from asgi_guard.cross_origin import CrossOriginMiddleware
from asgi_guard.protocols import ASGIApp
from tests.browser.conftest import Sites
from tests.browser.places import page_of, sign_in, without_vary

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

READ = """([url, options]) => fetch(url, options).then(
    async answer => ({
        status: answer.status,
        type: answer.type,
        body: await answer.text(),
        headers: Object.fromEntries(answer.headers),
    }),
    () => 'unreadable',
)"""


class Ledger:
    """An app with something to read, and a memory of who asked for it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/entries", self._entries, methods=["GET", "PUT"]),
                Route("/broken", self._broken),
                Route("/kept", self._kept),
            ]
        )

    async def _entries(self, request: Request) -> Response:
        self.asked.append(request.method)
        who = request.cookies.get("session", "nobody")
        return JSONResponse({"for": who}, headers={"x-total": "7", "x-inner": "secret"})

    async def _broken(self, request: Request) -> Response:
        raise RuntimeError("a bug in the app")

    async def _kept(self, request: Request) -> Response:
        self.asked.append(request.method)
        return Response("kept", headers={"cache-control": "private, max-age=600"})


class Library:
    """A ledger, its friend, a stranger, and the visitor's tab."""

    def __init__(self, sites: Sites, page: Any) -> None:
        self.ledger = Ledger()
        self.friend = sites.add("app.friend.localhost", page_of("friend"))
        self.second_friend = sites.add("two.friend.localhost", page_of("friend"))
        self.stranger = sites.add("evil.localhost", page_of("stranger"))
        self._sites = sites
        self._page = page
        self.home = ""

    async def open(
        self, outside: Callable[[ASGIApp], ASGIApp] | None = None, **policy: Any
    ) -> None:
        rules = CORSPolicy(
            allow_origins=[self.friend, self.second_friend], environment="development", **policy
        )
        guarded: ASGIApp = CORSAllowlistMiddleware(self.ledger.app(), policy=rules)
        self.home = self._sites.add(
            "ledger.localhost", guarded if outside is None else outside(guarded)
        )
        await sign_in(self._page.context, "ledger.localhost")

    async def read(self, origin: str, path: str, **options: Any) -> Any:
        """Go to a page of *origin* and fetch *path* from there."""
        if not self._page.url.startswith(origin + "/"):
            await self._page.goto(origin)
        return await self._page.evaluate(READ, [self.home + path, options])


@pytest.fixture
def library(sites: Sites, page: Any) -> Library:
    return Library(sites, page)


async def test_a_friend_reads_with_the_visitors_cookie_and_a_stranger_does_not(
    library: Library,
) -> None:
    """The stranger's request may arrive; its answer stays closed."""
    await library.open(allow_credentials=True)

    friend = await library.read(library.friend, "/entries", credentials="include")
    stranger = await library.read(library.stranger, "/entries", credentials="include")

    assert friend["body"] == '{"for":"alice"}'
    assert stranger == "unreadable"


async def test_without_credentials_allowed_the_cookie_buys_nothing(library: Library) -> None:
    """A policy that does not mention cookies must not share what belongs to one visitor."""
    await library.open()

    anonymous = await library.read(library.friend, "/entries", credentials="omit")
    with_cookie = await library.read(library.friend, "/entries", credentials="include")

    assert anonymous["body"] == '{"for":"nobody"}'
    assert with_cookie == "unreadable"


async def test_a_friend_sees_the_headers_that_are_exposed_and_no_others(library: Library) -> None:
    """Headers carry totals, and internals."""
    await library.open(expose_headers=["x-total"])

    headers = (await library.read(library.friend, "/entries"))["headers"]

    assert headers["x-total"] == "7"
    assert "x-inner" not in headers


async def test_a_preflight_lets_the_listed_method_and_header_through_only(
    library: Library,
) -> None:
    """What was not granted is never sent."""
    await library.open(allow_methods=["GET", "PUT"], allow_headers=["x-token"])
    put = {"method": "PUT", "headers": {"x-token": "t"}}

    granted = await library.read(library.friend, "/entries", **put)
    other_method = await library.read(library.friend, "/entries", method="DELETE")
    other_header = await library.read(library.friend, "/entries", headers={"x-other": "t"})
    stranger = await library.read(library.stranger, "/entries", **put)

    assert granted["status"] == 200
    assert [other_method, other_header, stranger] == ["unreadable"] * 3
    assert library.ledger.asked == ["PUT"]


@pytest.mark.parametrize("outermost", [True, False], ids=["guarded", "control"])
async def test_a_friend_reads_the_status_of_a_500(library: Library, *, outermost: bool) -> None:
    """An error without grants looks like a network failure, and hides every bug from its users.

    The control puts the layer where ``add_middleware`` does: inside the layer that answers 500.
    """
    await library.open()
    if not outermost:
        rules = CORSPolicy(allow_origins=[library.friend], environment="development")
        app = library.ledger.app()
        app.add_middleware(CORSAllowlistMiddleware, policy=rules)
        library._sites.add("ledger.localhost", app)

    broken = await library.read(library.friend, "/broken")
    missing = await library.read(library.friend, "/missing")

    assert missing["status"] == 404
    assert (broken["status"] if outermost else broken) == (500 if outermost else "unreadable")
    assert await library.read(library.stranger, "/broken") == "unreadable"


async def test_a_friend_reads_the_status_of_our_own_refusal(library: Library, sites: Sites) -> None:
    """May read, may not write: the page must learn which, not "network error"."""
    await library.open()
    rules = CORSPolicy(allow_origins=[library.friend], environment="development")
    inner = CrossOriginMiddleware(library.ledger.app())
    sites.add("ledger.localhost", CORSAllowlistMiddleware(inner, policy=rules))
    text = {"method": "POST", "body": "x"}

    refused = await library.read(library.friend, "/entries", **text)

    assert refused["status"] == 403
    assert "cross_origin_refused" in refused["body"]
    assert await library.read(library.stranger, "/entries", **text) == "unreadable"
    assert library.ledger.asked == []


@pytest.mark.parametrize("vary", [True, False], ids=["guarded", "control"])
async def test_the_browsers_cache_does_not_hand_one_friends_grant_to_another(
    library: Library, *, vary: bool
) -> None:
    """Two friends of one site share a cache; without Vary the second meets the first's grant."""
    await library.open(None if vary else without_vary)

    first = await library.read(library.friend, "/kept")
    second = await library.read(library.second_friend, "/kept")

    assert first["body"] == "kept"
    assert (second["body"] if vary else second) == ("kept" if vary else "unreadable")
    assert len(library.ledger.asked) == (2 if vary else 1)


async def test_a_sandboxed_frame_is_nobodys_friend(library: Library, page: Any) -> None:
    """Its origin is ``null``, which any page can put on."""
    await library.open(allow_credentials=True)
    await page.goto(library.friend)
    await page.set_content("<iframe sandbox=allow-scripts srcdoc='<p>frame'></iframe>")

    read = await page.frames[1].evaluate(
        READ, [f"{library.home}/entries", {"credentials": "include"}]
    )

    assert read == "unreadable"
