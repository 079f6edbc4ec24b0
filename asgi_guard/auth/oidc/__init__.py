"""Login through OpenID Connect providers: authorization code with PKCE, nonce and bound state.

Protects against the login that somebody else began, the code that was meant for another, the
provider that answers in another's name, the token that does not hold, the redirect that leaves
the site, and the session that lives on after the provider has ended it.
"""

from __future__ import annotations

from asgi_guard.auth.oidc.checks import OIDCFinding
from asgi_guard.auth.oidc.client_auth import (
    ClientAuthentication,
    ClientSecretBasic,
    ClientSecretPost,
    PrivateKeyJWT,
    PublicClient,
)
from asgi_guard.auth.oidc.login import OIDCLogin
from asgi_guard.auth.oidc.provider import OIDCProvider
from asgi_guard.auth.oidc.providers import ProviderRegistry, StaticProviders
from asgi_guard.auth.oidc.session_logins import LoginAccount, SessionLogins
from asgi_guard.auth.oidc.sessions import LoginSessions, StartedSession
from asgi_guard.auth.oidc.verified_login import TokenSet, VerifiedLogin

__all__ = [
    "ClientAuthentication",
    "ClientSecretBasic",
    "ClientSecretPost",
    "LoginAccount",
    "LoginSessions",
    "OIDCFinding",
    "OIDCLogin",
    "OIDCProvider",
    "PrivateKeyJWT",
    "ProviderRegistry",
    "PublicClient",
    "SessionLogins",
    "StartedSession",
    "StaticProviders",
    "TokenSet",
    "VerifiedLogin",
]
