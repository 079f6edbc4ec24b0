"""Login in the person's browser (RFC 8252 section 7.3), with PKCE, back to a port on loopback."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final

from asgi_guard._internal.constant_time import equal
from asgi_guard.auth.jose.base64url import b64url_encode
from asgi_guard.auth.oidc.authorization import read_parameters, with_query
from asgi_guard.cli.login_server import AuthorizationServer, Tokens, error_of
from asgi_guard.errors import AuthenticationError, LoginRefusedError

__all__ = ["loopback_login"]

_HOST: Final = "127.0.0.1"  # section 8.3: the address, not the name, which may lead elsewhere
_PATH: Final = "/callback"
_LONGEST_HEAD: Final = 16 * 1024
_SECONDS_FOR_A_HEAD: Final = 10.0
_PAGE: Final = (
    b"HTTP/1.1 %s\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: %d\r\n"
    b"cache-control: no-store\r\nreferrer-policy: no-referrer\r\n"
    b"content-security-policy: default-src 'none'\r\nx-content-type-options: nosniff\r\n"
    b"connection: close\r\n\r\n%s"
)
_TAKEN: Final = b"<!doctype html><title>Back to the terminal</title><p>You may close this window."
_NOTHING: Final = b"<!doctype html><title>Nothing here</title>"


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
        show: Opens an address in the browser.
        port: On loopback; 0 for a free one, which servers must accept (section 7.3).
        seconds: How long to wait for the person.

    Raises:
        AuthenticationError: ``login_timed_out``; ``login_issuer_mismatch`` (RFC 9207); ``login_``
            and the error that the server answered with.
        ConfigError: The server does not offer it, or not with PKCE (RFC 9700 section 2.1.1).
        OSError: The port is taken.
        UnavailableError: The server does not answer.
    """
    server.require("code_challenge_methods_supported", "S256")
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    answers: asyncio.Queue[dict[str, str]] = asyncio.Queue(maxsize=1)
    waiting = _Waiting(state, answers)
    listener = await asyncio.start_server(waiting.serve, _HOST, port, limit=_LONGEST_HEAD)
    async with listener:
        redirect_uri = f"http://{_HOST}:{listener.sockets[0].getsockname()[1]}{_PATH}"
        waiting.host = redirect_uri.split("/")[2]
        challenge = b64url_encode(sha256(verifier.encode()).digest()).decode()
        question = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "scope": scope,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        await show(with_query(server.endpoint("authorization_endpoint"), question))
        try:
            async with asyncio.timeout(seconds):
                answer = await answers.get()
        except TimeoutError:
            raise AuthenticationError("login_timed_out") from None
    form = {
        "grant_type": "authorization_code",
        "code": _code(server, answer),
        "redirect_uri": redirect_uri,
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


class _Waiting:
    """Takes one answer with the right state; whoever else knocks is turned away, unheard.

    A page of any site can make the browser ask this port, and any program of the machine can: a
    wrong question must neither end the login nor answer in the person's place.
    """

    def __init__(self, state: str, answers: asyncio.Queue[dict[str, str]]) -> None:
        self.host = ""
        self._state = state
        self._answers = answers

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS_FOR_A_HEAD):
                head = await reader.readuntil(b"\r\n\r\n")
                status, page = self._answer(head)
                writer.write(_PAGE % (status, len(page), page))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            writer.close()

    def _answer(self, head: bytes) -> tuple[bytes, bytes]:
        found = self._parameters(head)
        if found is None or self._answers.full():
            return b"404 Not Found", _NOTHING
        self._answers.put_nowait(found)
        return b"200 OK", _TAKEN

    def _parameters(self, head: bytes) -> dict[str, str] | None:
        line, *fields = head.split(b"\r\n")
        words = line.split(b" ")
        hosts = [each[5:].strip() for each in fields if each[:5].lower() == b"host:"]
        if len(words) != 3 or words[0] != b"GET" or hosts != [self.host.encode()]:  # noqa: PLR2004 - RFC 9112 section 3
            return None
        path, _, query = words[1].partition(b"?")
        try:
            found = read_parameters(query) if path == _PATH.encode() else {}
        except LoginRefusedError:
            return None
        state = found.get("state", "").encode("utf-8", "surrogatepass")
        return found if equal(state, self._state.encode()) else None
