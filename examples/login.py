"""Log in at two tenants through an OpenID provider, and out again: one file, one process.

Run: ``python examples/login.py https://id.example notes-web`` (needs the ``oidc`` extra and
uvicorn), then open http://localhost:8000/hello. At the provider, register a public client with

    redirect addresses   http://localhost:8000/t/acme/auth/callback/company
                         http://localhost:8000/t/globex/auth/callback/company
    after a logout       http://localhost:8000/t/acme/auth/logged-out
                         http://localhost:8000/t/globex/auth/logged-out

Whoever can log in there is a member of acme and of nothing else: globex answers as if it were
not there. In production, ``client_auth`` is `ClientSecretBasic` or `PrivateKeyJWT`, the store a
`RedisStore` or `SQLStore`, and every address https.
"""

from __future__ import annotations

import argparse

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route

from asgi_guard import Guard, GuardSettings, require_context
from asgi_guard.auth.oidc import (
    LoginAccount,
    OIDCLogin,
    OIDCProvider,
    PublicClient,
    SessionLogins,
    StaticProviders,
    VerifiedLogin,
)
from asgi_guard.auth.sessions import SessionAuthenticator, SessionService
from asgi_guard.integrations.httpx import HTTPXFetch
from asgi_guard.protocols import ASGIApp
from asgi_guard.security_headers import SecurityHeaders
from asgi_guard.stores import MemoryStore
from asgi_guard.tenancy import SLUG, Membership, PathResolver

TENANTS = ("acme", "globex")
LOOPBACK = ("127.0.0.0/8", "::1/128")  # where a provider for trying it out may be
PAGE = """<!doctype html><title>Notes</title>
<p id=who>{user} at {tenant}</p>
<form method=post action=/t/{tenant}/auth/logout><button>Log out</button></form>
"""


class AcmeAlone:
    """Memberships, from a table in a real app."""

    async def lookup(self, user_id: str, tenant_id: str) -> Membership | None:
        """Return what *user_id* is in *tenant_id*."""
        return Membership(roles={"member"}) if user_id and tenant_id == "acme" else None


async def on_login(login: VerifiedLogin) -> LoginAccount | None:
    """Find the user by issuer and subject, never by mail address; None refuses the login."""
    return LoginAccount(user_id=login.subject, label=f"login by {login.provider}")


async def home(_request: Request) -> Response:
    """Show who is there: with a context, for `Guard` lets nobody else in."""
    context = require_context()
    return HTMLResponse(PAGE.format(user=context.user_id, tenant=context.tenant_id))


async def front(_request: Request) -> Response:
    """Offer the logins; anybody may see it."""
    link = "<p><a href='/t/{0}/auth/login/company?next=/t/{0}/'>Log in at {0}</a>"
    return HTMLResponse("<!doctype html><title>Notes</title>" + "".join(map(link.format, TENANTS)))


def build(issuer: str, client_id: str, origin: str) -> ASGIApp:
    """Make the app at *origin*."""
    store, members = MemoryStore(), AcmeAlone()
    sessions = SessionService(store, memberships=members)
    tenants = PathResolver("/t/{tenant}")
    providers = {
        tenant: [
            OIDCProvider(
                name="company",
                issuer=issuer,
                client_id=client_id,
                client_auth=PublicClient(),
                redirect_uri=f"{origin}/t/{tenant}/auth/callback/company",
                post_logout_redirect_uri=f"{origin}/t/{tenant}/auth/logged-out",
                insecure_allow_http=True,  # on loopback alone; leave it out in production
            )
        ]
        for tenant in TENANTS
    }
    login = OIDCLogin(
        StaticProviders(tenants=providers),
        sessions=SessionLogins(sessions, store=store, on_login=on_login, memberships=members),
        store=store,
        fetch=HTTPXFetch(allow_addresses=LOOPBACK, insecure_allow_http=True),
        mount_path="/t/{tenant}/auth",
        after_logout="/hello",
        resolver=tenants,
        tenant_shape=SLUG,
    )
    app = Starlette(
        routes=[
            Route("/", home),  # what a member sees: Guard has taken /t/acme off the path
            Route("/hello", front),
            Mount("/t/{tenant}/auth", login.app),
        ]
    )
    settings = GuardSettings(
        environment="development",
        authenticators=[SessionAuthenticator(sessions)],
        resolver=tenants,
        memberships=members,
        tenant_shape=SLUG,
        public_paths=["/hello", *login.public_paths],
        # Browsers hold the redirects of the logout's form to form-action as well.
        security_headers=SecurityHeaders.html().allowing({"form-action": [issuer]}),
    )
    return Guard(settings).install(app)


def main() -> None:
    """Serve on loopback."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("issuer")
    parser.add_argument("client_id")
    parser.add_argument("--port", type=int, default=8000)
    asked = parser.parse_args()
    app = build(asked.issuer, asked.client_id, f"http://localhost:{asked.port}")
    uvicorn.run(app, host="127.0.0.1", port=asked.port, log_level="warning")


if __name__ == "__main__":
    main()
