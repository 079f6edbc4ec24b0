"""An app with a login, a provider, and browsers: real HTTP between the first two."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth.oidc import (
    ClientSecretBasic,
    OIDCLogin,
    OIDCProvider,
    StartedSession,
    VerifiedLogin,
)
from asgi_guard.integrations.httpx import HTTPXFetch
from asgi_guard.observability import subscribe
from asgi_guard.protocols import Scope
from asgi_guard.secret import Secret
from tests.support.exchange import Answer, Events, ask, http_scope
from tests.support.oidc_provider import CLIENT, SECRET, SmallProvider
from tests.support.tenancy_world import MovedClock

__all__ = [
    "FETCH",
    "Browser",
    "Sessions",
    "World",
    "app_of",
    "parameters",
    "provider_at",
    "provider_settings",
    "sessions_app",
    "world",
]

FETCH = HTTPXFetch(allow_addresses=["127.0.0.0/8"], insecure_allow_http=True)
COOKIE = "__Host-sid"


@dataclass
class Sessions:
    """The smallest sessions that fit `LoginSessions`: hashed ids in a dict."""

    live: dict[str, VerifiedLogin] = field(default_factory=dict)
    refuses: Exception | None = None

    async def start(self, scope: Scope, login: VerifiedLogin) -> StartedSession:
        if self.refuses is not None:
            raise self.refuses
        sid = secrets.token_urlsafe(32)
        old = await self.current(scope)
        self.live.pop(old or "", None)
        self.live[_hashed(sid)] = login
        cookie = f"{COOKIE}={sid}; Path=/; Secure; HttpOnly; SameSite=Lax".encode()
        return StartedSession(
            reference=_hashed(sid), seconds=43_200, headers=[(b"set-cookie", cookie)]
        )

    async def current(self, scope: Scope) -> str | None:
        sid = Request(scope).cookies.get(COOKIE)
        return _hashed(sid) if sid and _hashed(sid) in self.live else None

    async def leave(self, scope: Scope) -> str | None:
        reference = await self.current(scope)
        self.live.pop(reference or "", None)
        return reference

    async def end(self, reference: str) -> None:
        self.live.pop(reference, None)

    def farewell(self) -> list[tuple[bytes, bytes]]:
        return [(b"set-cookie", f"{COOKIE}=; Max-Age=0; Path=/; Secure".encode())]


def _hashed(sid: str) -> str:
    return sha256(sid.encode()).hexdigest()


class Browser:
    """A cookie jar that visits one app."""

    def __init__(self, app: Any, *, host: str = "app.example") -> None:
        self.app = app
        self.host = host
        self.cookies: dict[str, str] = {}

    async def go(
        self, url: str, *, method: str = "GET", body: bytes = b"", headers: Any = (), **query: str
    ) -> Answer:
        """Visit *url*, a path or an address of the app, and keep the cookies it sets."""
        parts = urlsplit(url)
        sent = [*headers]
        if self.cookies:
            pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            sent.append(("cookie", pairs))
        scope = http_scope(method, parts.path, sent, host=self.host, scheme="https")
        asked = parts.query or urlencode(query)
        answer = await ask(self.app, {**scope, "query_string": asked.encode()}, body)
        for name, value in answer.headers:
            if name == "set-cookie":
                self._keep(value)
        return answer

    def _keep(self, header: str) -> None:
        pair, *attributes = [part.strip() for part in header.split(";")]
        name, _, value = pair.partition("=")
        if "max-age=0" in [each.lower() for each in attributes]:
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value

    @property
    def is_logged_in(self) -> bool:
        return COOKIE in self.cookies


@dataclass
class World:
    """One app, one provider, what is shared between them, and the events."""

    provider: SmallProvider
    clock: MovedClock
    store: MemoryStore
    sessions: Sessions
    login: OIDCLogin
    app: Starlette
    events: Events
    tokens: list[Any] = field(default_factory=list)

    def browser(self, **options: Any) -> Browser:
        return Browser(self.app, **options)

    async def begin(self, browser: Browser, name: str = "small", **query: str) -> str:
        """Begin a login, and return where the browser is sent."""
        answer = await browser.go(f"/auth/login/{name}", **query)
        assert answer.status == 303, answer.body
        return answer.header("location") or ""

    async def log_in(self, browser: Browser, *, subject: str = "alice", **query: str) -> Answer:
        """Log in from end to end."""
        location = await self.begin(browser, **query)
        back = self.provider.authorize(location, subject=subject)
        return await browser.go("/auth/callback/small", **back)

    def named(self, name: str) -> list[Any]:
        """Return the events of one name."""
        return [event for event in self.events.seen if event.name == name]

    def refusal(self) -> str:
        """Return the reason of the one refusal."""
        [event] = self.named("OIDC_LOGIN_REFUSED")
        return str(event.reason)


def provider_settings(provider: SmallProvider, **changes: Any) -> OIDCProvider:
    """Build what the app agrees with *provider*."""
    return provider_at(provider.issuer, **changes)


def provider_at(issuer: str, **changes: Any) -> OIDCProvider:
    """Build what the app agrees with the small provider at *issuer*."""
    settings: dict[str, Any] = {
        "name": "small",
        "issuer": issuer,
        "client_id": CLIENT,
        "client_auth": ClientSecretBasic(Secret(SECRET)),
        "redirect_uri": f"https://app.example/auth/callback/{changes.get('name', 'small')}",
        "post_logout_redirect_uri": "https://app.example/auth/logged-out",
        "algorithms": ("ES256",),
        "insecure_allow_http": True,
    }
    return OIDCProvider(**{**settings, **changes})


def sessions_app(providers: Any, sessions: Sessions, **options: Any) -> Starlette:
    """Make an app with a login for *providers*."""
    return app_of(OIDCLogin(providers, sessions=sessions, **options), sessions)


@asynccontextmanager
async def world(
    *,
    agreed: Callable[[SmallProvider], Any] | None = None,
    settings: dict[str, Any] | None = None,
    now: float = 1_700_000_000.0,
    **options: Any,
) -> AsyncIterator[World]:
    """Open a world at *now*; *settings* are the provider's, *options* those of `OIDCLogin`."""
    clock, sink, tokens = MovedClock(now), Events(), []
    store, sessions = MemoryStore(clock=clock), options.pop("sessions", Sessions())

    async def on_tokens(login: VerifiedLogin, found: Any) -> None:
        tokens.append((login, found))

    async with SmallProvider.serving(clock) as provider:
        known = (
            [provider_settings(provider, **(settings or {}))]
            if agreed is None
            else agreed(provider)
        )
        chosen = {
            "sessions": sessions,
            "store": store,
            "fetch": FETCH,
            "clock": clock,
            "on_tokens": on_tokens,
            **options,
        }
        login = OIDCLogin(known, **chosen)
        unsubscribe = subscribe(sink)
        try:
            made = World(
                provider, clock, store, sessions, login, app_of(login, sessions), sink, tokens
            )
            yield made
        finally:
            unsubscribe()


def app_of(login: OIDCLogin, sessions: Sessions) -> Starlette:
    """Make an app around *login*, with a page that says who is there."""

    async def whoami(request: Request) -> Response:
        reference = await sessions.current(request.scope)
        found = sessions.live.get(reference or "")
        return JSONResponse(None if found is None else found.subject)

    return Starlette(routes=[Mount("/auth", login.app), Route("/whoami", whoami)])


def parameters(url: str) -> dict[str, str]:
    """Return the query of *url*."""
    return dict(parse_qsl(urlsplit(url).query))
