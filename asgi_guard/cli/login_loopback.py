"""Login in the person's browser (RFC 8252 section 7.3), with PKCE, back to a port on loopback."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from hashlib import sha256

from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.auth.oidc.authorization import with_query
from asgi_guard.cli.login_listener import Listener
from asgi_guard.cli.login_server import AuthorizationServer, Tokens, error_of
from asgi_guard.errors import AuthenticationError

__all__ = ["loopback_login"]


async def loopback_login(
    server: AuthorizationServer,
    *,
    client_id: str,
    scope: str,
    show: Callable[[str], Awaitable[None]],
    port: int = 0,
    seconds: float = 300.0,
) -> Tokens:
    """Send the browser to the server, and take the code that comes back.

    Args:
        server: Whom to ask.
        client_id: For which client.
        scope: Separated by spaces.
        show: Opens an address in the browser, once: a link to loopback that leads to the server.
        port: On loopback; 0 for a free one, which servers must accept (section 7.3).
        seconds: How long to wait for the person.

    Raises:
        AuthenticationError: ``login_timed_out``; ``login_address_used_twice``: somebody else had
            the link as well; ``login_issuer_mismatch`` (RFC 9207); ``login_`` and the error that
            the server answered with.
        ConfigError: The server does not offer it, or not with PKCE (RFC 9700 section 2.1.1).
        OSError: The port is taken.
        UnavailableError: The server does not answer.
    """
    server.require("code_challenge_methods_supported", "S256")
    verifier, listener = secrets.token_urlsafe(32), Listener()
    async with await listener.listen(port):
        challenge = b64url_encode(sha256(verifier.encode()).digest()).decode()
        question = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": listener.redirect_uri,
            "scope": scope,
            "state": listener.state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        address = with_query(server.endpoint("authorization_endpoint"), question)
        await show(listener.link_to(address))
        try:
            async with asyncio.timeout(seconds):
                answer = await listener.answer
        except TimeoutError:
            raise AuthenticationError("login_timed_out") from None
    form = {
        "grant_type": "authorization_code",
        "code": _code(server, answer),
        "redirect_uri": listener.redirect_uri,
        "client_id": client_id,
        "code_verifier": verifier,
    }
    return await server.tokens(form, scope=scope)


def _code(server: AuthorizationServer, answer: dict[str, str]) -> str:
    # RFC 9207 section 2.4: before anything else of the answer is believed, errors included.
    issuer = answer.get("iss")
    promised = server.has("authorization_response_iss_parameter_supported")
    if issuer != server.issuer and (promised or issuer is not None):
        raise AuthenticationError("login_issuer_mismatch")
    if "error" in answer:
        raise AuthenticationError(f"login_{error_of(answer)}")
    if not answer.get("code"):
        raise AuthenticationError("login_code_missing")
    return answer["code"]
