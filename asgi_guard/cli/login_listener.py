"""The port on loopback to which a login's browser comes back, and who is heard there.

Pages of any site can make the browser ask this port, programs of every user of the machine can ask
it themselves, and command lines are no secret: ``ps`` shows the address that a browser is opened
with. Whoever reads the authorization request there could answer it with a code of their own, and
the person would work in a stranger's account. So the browser is opened at a link to this port that
works once; it brings a cookie and leads on to the server, and only an answer with that cookie is
heard.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from asgi_guard._internal.constant_time import equal
from asgi_guard.auth.oidc.authorization import read_parameters
from asgi_guard.errors import AuthenticationError, LoginRefusedError

__all__ = ["CALLBACK", "HOST", "Listener"]

HOST: Final = (
    "127.0.0.1"  # RFC 8252 section 8.3: the address, not the name, which may lead elsewhere
)
CALLBACK: Final = "/callback"
_LONGEST_HEAD: Final = 16 * 1024
_SECONDS_FOR_A_HEAD: Final = 10.0
_COOKIE_SECONDS: Final = 600
_ANSWER: Final = (
    b"HTTP/1.1 %s\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: %d\r\n"
    b"cache-control: no-store\r\nreferrer-policy: no-referrer\r\n"
    b"content-security-policy: default-src 'none'\r\nx-content-type-options: nosniff\r\n"
    b"connection: close\r\n%s\r\n%s"
)
_TAKEN: Final = b"<!doctype html><title>Back to the terminal</title><p>You may close this window."
_NOTHING: Final = b"<!doctype html><title>Nothing here</title>"
_NOT_FOUND: Final = _ANSWER % (b"404 Not Found", len(_NOTHING), b"", _NOTHING)


class Listener:
    """Sends one browser away, and takes one answer with the right state from the same one.

    Whoever else knocks is turned away, unheard: a wrong question must neither end the login nor
    answer in the person's place.

    Attributes:
        state: Of the authorization request.
        answer: The parameters that came back; or ``login_address_used_twice``: somebody else
            opened the link as well, so who answers cannot be known.
    """

    def __init__(self) -> None:
        self.state = secrets.token_urlsafe(32)
        self.answer: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self._start = f"/start/{secrets.token_urlsafe(32)}"
        self._secret = secrets.token_urlsafe(32)
        self._host = ""
        self._question = ""

    async def listen(self, port: int) -> asyncio.Server:
        """Open *port*; 0 for a free one.

        Raises:
            OSError: It is taken.
        """
        server = await asyncio.start_server(self._serve, HOST, port, limit=_LONGEST_HEAD)
        self._host = f"{HOST}:{server.sockets[0].getsockname()[1]}"
        return server

    @property
    def redirect_uri(self) -> str:
        """Where the server sends the browser."""
        return f"http://{self._host}{CALLBACK}"

    def link_to(self, question: str) -> str:
        """Return the link that leads one browser to *question*, the authorization request."""
        self._question = question
        return f"http://{self._host}{self._start}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS_FOR_A_HEAD):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(self._reply(head))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        finally:
            writer.close()

    def _reply(self, head: bytes) -> bytes:
        line, *fields = head.split(b"\r\n")
        words = line.split(b" ")
        if len(words) != 3 or words[0] != b"GET":  # noqa: PLR2004 - RFC 9112 section 3
            return _NOT_FOUND
        if self.answer.done() or _values(fields, b"host") != [self._host.encode()]:
            return _NOT_FOUND
        path, _, query = words[1].partition(b"?")
        if equal(path, self._start.encode()):
            return self._begin()
        if path == CALLBACK.encode() and self._is_browser(fields):
            return self._end(query)
        return _NOT_FOUND

    def _begin(self) -> bytes:
        question, self._question = self._question, ""
        if not question:
            self.answer.set_exception(AuthenticationError("login_address_used_twice"))
            return _NOT_FOUND
        cookie = (
            f"{self._cookie}={self._secret}; Path={CALLBACK}; Max-Age={_COOKIE_SECONDS}; "
            "HttpOnly; SameSite=Lax"
        )
        more = f"location: {question}\r\nset-cookie: {cookie}\r\n".encode()
        return _ANSWER % (b"303 See Other", 0, more, b"")

    def _end(self, query: bytes) -> bytes:
        try:
            found = read_parameters(query)
        except LoginRefusedError:
            return _NOT_FOUND
        state = found.get("state", "").encode("utf-8", "surrogatepass")
        if not equal(state, self.state.encode()):
            return _NOT_FOUND
        self.answer.set_result(found)
        return _ANSWER % (b"200 OK", len(_TAKEN), b"", _TAKEN)

    @property
    def _cookie(self) -> str:
        # Browsers share cookies between the ports of a host.
        return f"asgi-guard-login-{self._host.rpartition(':')[2]}"

    def _is_browser(self, fields: list[bytes]) -> bool:
        pairs = [
            pair.strip().partition(b"=")
            for field in _values(fields, b"cookie")
            for pair in field.split(b";")
        ]
        sent = [value for name, _, value in pairs if name == self._cookie.encode()]
        return len(sent) == 1 and equal(sent[0], self._secret.encode())


def _values(fields: list[bytes], name: bytes) -> list[bytes]:
    pairs = (field.partition(b":") for field in fields)
    return [value.strip() for key, _, value in pairs if key.lower() == name]
