"""An app with OIDC logins and real sessions, served on loopback beside a provider of others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route

from asgi_guard._internal.clock import SystemClock
from asgi_guard.auth.jose import SigningKey
from asgi_guard.auth.oidc import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretPost,
    LoginAccount,
    OIDCLogin,
    OIDCProvider,
    PrivateKeyJWT,
    PublicClient,
    SessionLogins,
    VerifiedLogin,
)
from asgi_guard.auth.sessions import SessionService
from asgi_guard.auth.sessions.cookie import SessionCookie
from asgi_guard.errors import AuthenticationError
from asgi_guard.protocols import Clock, KeyValueStore
from asgi_guard.secret import Secret
from tests.support.jose_tokens import signing_key
from tests.support.oidc_world import FETCH

__all__ = ["CLIENTS", "SECRET", "ShiftedClock", "client_metadata", "oidc_app"]

SECRET = "canary-secret-of-a-client-shared-with-panva"
CLIENTS = ("basic", "post", "key", "public")
PAGE = (
    "<form method=post action=/auth/logout><button id=out>Log out</button></form><p id=who>{}</p>"
)


class ShiftedClock(SystemClock):
    """The real time, moved ahead by a test."""

    __slots__ = ("ahead",)

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def client_key() -> SigningKey:
    return signing_key("ES256", 11)


def client_metadata(origin: str, names: Iterable[str] = CLIENTS) -> list[dict[str, Any]]:
    """Return what the provider is told of each client of the app at *origin*."""
    methods = {
        "basic": {"token_endpoint_auth_method": "client_secret_basic", "client_secret": SECRET},
        "post": {"token_endpoint_auth_method": "client_secret_post", "client_secret": SECRET},
        "key": {
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256",
            "jwks": {"keys": [client_key().jwk]},
        },
        "public": {"token_endpoint_auth_method": "none"},
    }
    return [
        {
            "client_id": f"notes-{name}",
            "redirect_uris": [f"{origin}/auth/callback/{name}"],
            "post_logout_redirect_uris": [f"{origin}/auth/logged-out"],
            "backchannel_logout_uri": f"{origin}/auth/backchannel-logout",
            "backchannel_logout_session_required": True,
            "grant_types": ["authorization_code", "refresh_token"],
            **methods[name],
        }
        for name in names
    ]


def oidc_app(
    origin: str,
    issuer: str,
    *,
    store: KeyValueStore,
    clock: Clock,
    names: Iterable[str] = CLIENTS,
    **options: Any,
) -> Starlette:
    """Make the app at *origin*, with one provider for each of *names*, all of *issuer*."""
    auth: dict[str, ClientAuthentication] = {
        "basic": ClientSecretBasic(Secret(SECRET)),
        "post": ClientSecretPost(Secret(SECRET)),
        "key": PrivateKeyJWT(client_key()),
        "public": PublicClient(),
    }
    providers = [
        OIDCProvider(
            name=name,
            issuer=issuer,
            client_id=f"notes-{name}",
            client_auth=auth[name],
            redirect_uri=f"{origin}/auth/callback/{name}",
            post_logout_redirect_uri=f"{origin}/auth/logged-out",
            scopes=("openid", "email"),
            userinfo=name == "basic",
            insecure_allow_http=True,
        )
        for name in names
    ]
    service = SessionService(store, clock=clock)
    sessions = SessionLogins(service, store=store, on_login=_account)
    login = OIDCLogin(
        providers, sessions=sessions, store=store, fetch=FETCH, clock=clock, **options
    )
    app = Starlette(
        routes=[
            Mount("/auth", login.app),
            Route("/whoami", _whoami(service, as_page=False)),
            Route("/page", _whoami(service, as_page=True)),
        ]
    )
    app.state.login = login
    return app


async def _account(login: VerifiedLogin) -> LoginAccount | None:
    return LoginAccount(user_id=login.subject)


def _whoami(service: SessionService, *, as_page: bool) -> Any:
    async def page(request: Request) -> Response:
        user = "nobody"
        try:
            sid = SessionCookie().read(request.scope)
            user = "nobody" if sid is None else (await service.judge(sid)).user_id
        except AuthenticationError:
            user = "nobody"
        return HTMLResponse(PAGE.format(user)) if as_page else JSONResponse(user)

    return page
