"""The cookie that carries a sid, read strictly and written with every protection there is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from asgi_guard.auth.sessions.identifiers import session_id_of
from asgi_guard.auth.sessions.session import IssuedSession
from asgi_guard.errors import AuthenticationError, ConfigError
from asgi_guard.protocols import Scope
from asgi_guard.secret import Secret

__all__ = ["Response", "SessionCookie"]

# RFC 6265bis section 4.1.3.2: the browser itself sees to Secure, Path=/ and no Domain.
_NAME: Final = re.compile(r"__Host-[A-Za-z0-9_-]{1,64}")


class Response(Protocol):
    """What `SessionCookie` needs of a response: Starlette's, FastAPI's and kin."""

    @property
    def headers(self) -> Any:
        """Its header fields, with ``append`` and item assignment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCookie:
    """``__Host-sid``: Secure, HttpOnly, SameSite, for this host and every path.

    Args:
        name: Begins with ``__Host-``, which browsers accept only from the host itself, over
            https and for all paths, so that a sibling domain cannot set it.
        same_site: ``"Lax"``: links from elsewhere arrive signed in; ``"Strict"``: they do not.

    Raises:
        ConfigError: The name has not the prefix, or *same_site* is another word.

    It has no ``Max-Age``: it goes with the browser's own session, and what it opens ends earlier.
    """

    name: str = "__Host-sid"
    same_site: Literal["Lax", "Strict"] = "Lax"

    def __post_init__(self) -> None:
        """Refuse a cookie that other hosts or scripts could set."""
        if not _NAME.fullmatch(self.name):
            raise ConfigError("SessionCookie.name", f"{self.name!r} lacks __Host-", "Prefix it.")
        if self.same_site not in {"Lax", "Strict"}:
            raise ConfigError("SessionCookie.same_site", f"is {self.same_site!r}", "Pass 'Lax'.")

    def read(self, scope: Scope) -> Secret | None:
        """Return the sid that *scope* carries; None if it carries none.

        Cookie pairs are separated by ``;`` and read as bytes (RFC 6265 section 5.4): nothing is
        percent-decoded, unquoted or trimmed but spaces and tabs, because what two parsers read
        differently lets one through that the browser's prefix rule would have stopped.

        Raises:
            AuthenticationError: There are two (a neighbour's is tossed in beside ours), or it is
                no sid.
        """
        found = _values(scope, self.name.encode())
        if not found:
            return None
        sid = Secret(found[0].decode("latin-1"))
        count = len(found)
        del found  # error trackers record locals
        if count > 1:
            raise AuthenticationError("session_cookie_doubled", headers=(self.clearing,))
        if session_id_of(sid) is None:
            raise AuthenticationError("session_malformed", headers=(self.clearing,))
        return sid

    def header(self, issued: IssuedSession) -> tuple[bytes, bytes]:
        """Return the ``set-cookie`` line that hands *issued* to the browser."""
        value = f"{self.name}={issued.sid.reveal()}; {self._attributes}"
        return b"set-cookie", value.encode()

    @property
    def clearing(self) -> tuple[bytes, bytes]:
        """The ``set-cookie`` line that takes it away again."""
        return b"set-cookie", f"{self.name}=; Max-Age=0; {self._attributes}".encode()

    def set(self, response: Response, issued: IssuedSession) -> None:
        """Hand *issued* to the browser with *response*, which no cache may keep."""
        response.headers.append("set-cookie", self.header(issued)[1].decode())
        response.headers["cache-control"] = "no-store"

    def clear(self, response: Response) -> None:
        """Take the cookie away with *response*; end the session as well, or it goes on."""
        response.headers.append("set-cookie", self.clearing[1].decode())
        response.headers["cache-control"] = "no-store"

    @property
    def _attributes(self) -> str:
        return f"Path=/; Secure; HttpOnly; SameSite={self.same_site}"


def _values(scope: Scope, name: bytes) -> list[bytes]:
    lines = [value for key, value in scope["headers"] if key == b"cookie"]
    pairs = [part.partition(b"=") for line in lines for part in line.split(b";")]
    return [value.strip(b" \t") for key, eq, value in pairs if eq and key.strip(b" \t") == name]
