"""The decision on the wire: refusals, events, caches, friends and proxies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.cross_origin import CrossOriginMiddleware, CrossOriginPolicy
from asgi_guard.errors import ConfigError
from asgi_guard.origins import OriginDecision, OriginPolicy
from asgi_guard.protocols import ASGIApp
from tests.support.exchange import Events, ask, http_scope

FOREIGN = "https://evil.example"
FRIEND = "https://friend.example"
CROSS_SITE_FORM = {
    "sec-fetch-site": "cross-site",
    "sec-fetch-mode": "navigate",
    "sec-fetch-dest": "document",
    "origin": FOREIGN,
    "cookie": "session=1",
}
VARY = "Origin, Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest"


class Bank:
    """An app whose only state is how often somebody moved money."""

    def __init__(self) -> None:
        self.transfers = 0

    async def transfer(self, request: Request) -> Response:
        self.transfers += 1
        return PlainTextResponse("moved")

    async def page(self, request: Request) -> Response:
        return PlainTextResponse("page", headers={"vary": "Accept-Encoding, origin"})

    def app(self) -> ASGIApp:
        return Starlette(
            routes=[
                Route("/transfer", self.transfer, methods=["POST", "GET"]),
                Route("/hooks/pay", self.transfer, methods=["POST"]),
                Route("/page", self.page),
            ]
        )


class SlowGate:
    """An origin gate that must be awaited, as one that asks a database is."""

    uniform = False

    def decide_nowait(self, origin: bytes | None, scope: Any) -> OriginDecision | None:
        return None

    async def decide(self, origin: bytes | None, scope: Any) -> OriginDecision:
        return OriginDecision(origin == FRIEND.encode(), "provider")

    def require_credential_safe(self, setting: str) -> None: ...

    def lint(self) -> tuple[()]:
        return ()


async def test_a_form_on_a_foreign_page_does_not_reach_the_app(events: Events) -> None:
    """CSRF: the visitor's cookie is there, the visitor's will is not."""
    bank = Bank()
    guarded = CrossOriginMiddleware(bank.app())

    answer = await ask(guarded, http_scope("POST", "/transfer", CROSS_SITE_FORM))

    assert answer.status == 403
    assert json.loads(answer.body)["code"] == "cross_origin_refused"
    assert bank.transfers == 0
    assert events.reasons == ["cross_site_write"]


async def test_the_same_form_succeeds_without_the_middleware() -> None:
    """Control: it is the middleware that stops the attack."""
    bank = Bank()

    await ask(bank.app(), http_scope("POST", "/transfer", CROSS_SITE_FORM))

    assert bank.transfers == 1


async def test_the_event_names_the_reason_and_nothing_private(events: Events) -> None:
    """The operator learns which page attacked; cookies, paths and queries stay out of the log."""
    scope = http_scope("POST", "/transfer", {**CROSS_SITE_FORM, "authorization": "Basic c2VjcmV0"})

    answer = await ask(CrossOriginMiddleware(Bank().app()), scope)

    [event] = events.seen
    assert (event.name, event.outcome) == ("CROSS_ORIGIN_REFUSED", "denied")
    assert event.client == "203.0.113.9"
    assert event.request_id == json.loads(answer.body)["request_id"]
    assert dict(event.details) == {
        "connection": "http",
        "method": "POST",
        "origin": FOREIGN,
        "fetch_site": "cross-site",
        "fetch_mode": "navigate",
        "fetch_dest": "document",
    }


async def test_a_hostile_header_enters_the_event_bounded_and_printable(events: Events) -> None:
    """A log line must not be written by whoever sends an Origin."""
    hostile = {"origin": "https://evil\x1b[2J\u0080" + "x" * 9000}

    await ask(CrossOriginMiddleware(Bank().app()), http_scope("POST", "/transfer", hostile))

    shown = events.seen[0].details["origin"]
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) < 900


@pytest.mark.parametrize("gate", [OriginPolicy([FRIEND]), SlowGate()])
async def test_the_origin_gate_names_the_friends(gate: Any, events: Events) -> None:
    """CORS and this check ask one object, so a friend at one is a friend at the other."""
    bank = Bank()
    guarded = CrossOriginMiddleware(bank.app(), origins=gate)

    friend = await ask(
        guarded, http_scope("POST", "/transfer", {**CROSS_SITE_FORM, "origin": FRIEND})
    )
    stranger = await ask(guarded, http_scope("POST", "/transfer", CROSS_SITE_FORM))

    assert (friend.status, stranger.status, bank.transfers) == (200, 403, 1)
    assert events.reasons == ["cross_site_write"]


@pytest.mark.parametrize("everyone", [OriginPolicy(["*"]), OriginPolicy([FRIEND], allow_null=True)])
def test_origins_that_anybody_can_have_are_refused_when_built(everyone: OriginPolicy) -> None:
    """A public CORS policy says who may read without cookies, not who may act with them."""
    with pytest.raises(ConfigError, match=r"cross_origin\.origins"):
        CrossOriginMiddleware(Bank().app(), origins=everyone)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer t", "origin": FOREIGN, "sec-fetch-site": "cross-site"},
        {"authorization": "DPoP t", "origin": FOREIGN},
        {"authorization": "Bearer t"},
        {"cookie": "session=1"},
        {"cookie": "session=1", "sec-fetch-site": "same-origin", "origin": "https://app.example"},
        {"cookie": "session=1", "origin": "https://app.example"},
        {"cookie": "session=1", "origin": "http://app.example"},
    ],
)
async def test_calls_that_no_foreign_page_can_make_are_not_harmed(headers: dict[str, str]) -> None:
    """API clients with tokens, scripts, and the app's own pages behind a TLS proxy, unlisted."""
    bank = Bank()

    answer = await ask(CrossOriginMiddleware(bank.app()), http_scope("POST", "/transfer", headers))

    assert (answer.status, bank.transfers) == (200, 1)


async def test_a_token_beside_a_cookie_is_no_excuse() -> None:
    """Which of the two the app believes is not ours to guess."""
    headers = {**CROSS_SITE_FORM, "authorization": "Bearer attacker-chosen"}

    answer = await ask(
        CrossOriginMiddleware(Bank().app()), http_scope("POST", "/transfer", headers)
    )

    assert answer.status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/hooks/pay",
        "/hooks/pay/",
    ],
)
async def test_a_webhook_path_is_exempt(path: str) -> None:
    """Payment providers post from anywhere; they prove themselves by signature."""
    reached = Bank()
    policy = CrossOriginPolicy(exempt=["/hooks/pay"])
    guarded = CrossOriginMiddleware(reached.app(), policy=policy)

    answer = await ask(guarded, http_scope("POST", path, CROSS_SITE_FORM))

    assert answer.status in {200, 307}
    assert answer.header("vary") is None


@pytest.mark.parametrize(
    "path",
    [
        "/hooks/pay/../../transfer",
        "//hooks/pay",
        "/Hooks/Pay",
        "/hooks/pay;/../../transfer",
        "/hooks/payout",
        "/hooks/pay+",
        "/hooks/pay/x",
        "/hooks",
        "/x/hooks/pay",
    ],
)
async def test_no_spelling_of_a_path_borrows_the_exemption(path: str) -> None:
    """An exempt path is a door; only its own name opens it."""
    policy = CrossOriginPolicy(exempt=["/hooks/pay"])
    guarded = CrossOriginMiddleware(Bank().app(), policy=policy)

    answer = await ask(guarded, http_scope("POST", path, CROSS_SITE_FORM))

    assert answer.status == 403


@pytest.mark.parametrize(
    ("path", "headers", "vary"),
    [
        ("/transfer", {}, VARY),
        (
            "/page",
            {},
            "Accept-Encoding, origin, Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest",
        ),
        ("/missing", {}, VARY),
        ("/transfer", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, VARY),
    ],
)
async def test_every_checked_answer_varies_and_merges(
    path: str, headers: dict[str, str], vary: str
) -> None:
    """A cache must not give a foreign page what it kept for the app's own."""
    answer = await ask(CrossOriginMiddleware(Bank().app()), http_scope("GET", path, headers))

    assert answer.header("vary") == vary


async def test_two_origins_are_one_too_many(events: Events) -> None:
    """A duplicated header is how one layer is shown a friend and the next a stranger."""
    headers = [("origin", "https://app.example"), ("origin", FOREIGN)]

    answer = await ask(
        CrossOriginMiddleware(Bank().app()), http_scope("POST", "/transfer", headers)
    )

    assert answer.status == 403
    assert events.reasons == ["origin_doubled"]


@pytest.mark.parametrize(
    ("forwarded", "client", "origin", "status"),
    [
        # A listed proxy says https: the https page is the app's own, the http page is not.
        ({"x-forwarded-proto": "https"}, "10.0.0.1", "https://app.example", 200),
        ({"x-forwarded-proto": "https"}, "10.0.0.1", "http://app.example", 403),
        ({"x-forwarded-proto": "https,http"}, "10.0.0.1", "https://app.example", 403),
        # A stranger's claim is not believed, neither for the scheme nor for the host.
        ({"x-forwarded-host": "evil.example"}, "203.0.113.9", FOREIGN, 403),
        ({"x-forwarded-host": "shop.example"}, "10.0.0.1", "https://shop.example", 200),
        ({"x-forwarded-host": "shop.example"}, "203.0.113.9", "https://shop.example", 403),
    ],
)
async def test_only_a_listed_proxy_says_what_the_apps_own_origin_is(
    forwarded: dict[str, str], client: str, origin: str, status: int
) -> None:
    """If any caller's X-Forwarded-Host were compared, an old proxy would forward the forgery."""
    guarded = CrossOriginMiddleware(
        Bank().app(), proxies=TrustedProxies(["10.0.0.0/8"], trust_host=True)
    )
    headers = {**forwarded, "origin": origin, "cookie": "session=1"}

    answer = await ask(guarded, http_scope("POST", "/transfer", headers, client=(client, 1)))

    assert answer.status == status


@pytest.mark.parametrize("host", [None, "app.example, evil.example", "evil example"])
async def test_without_a_clear_host_nothing_is_same_origin(host: str | None) -> None:
    """Half an address equals nothing."""
    scope = http_scope("POST", "/transfer", {"origin": "https://app.example"}, host=host)

    answer = await ask(CrossOriginMiddleware(Bank().app()), scope)

    assert answer.status == 403


async def test_a_preflight_reaches_the_cors_layer_behind() -> None:
    """A route's own CORS policy may sit further in; a preflight carries no cookie and acts not."""
    headers = {
        "origin": FRIEND,
        "access-control-request-method": "POST",
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "cors",
    }

    answer = await ask(
        CrossOriginMiddleware(Bank().app()), http_scope("OPTIONS", "/transfer", headers)
    )

    assert answer.status == 405
