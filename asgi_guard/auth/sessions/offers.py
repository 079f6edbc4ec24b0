"""Credentials that a browser can send with a WebSocket: next to a subprotocol's name.

A page's ``new WebSocket(url, protocols)`` sets no header of its own. So the credential is offered
as one more subprotocol, right after a name that says what it is: ``["bearer", token]``. It is
taken out of the scope, so that no app logs it or selects it, and the name is what the server
selects unless the app selects another (RFC 6455 section 4.2.2: one of those offered, or none; and
browsers fail a connection for which none was).
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, urlencode

from asgi_guard.errors import AuthenticationError
from asgi_guard.protocols import Scope
from asgi_guard.secret import Secret

__all__ = ["take_from_query", "take_offered"]

_HEADER: Final = b"sec-websocket-protocol"
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,16384}")  # RFC 9110 section 5.6.2


def take_offered(scope: Scope, name: str) -> Secret | None:
    """Remove *name* and the credential after it from the subprotocols that *scope* offers.

    Returns:
        The credential; None if *name* is not offered.

    Raises:
        AuthenticationError: *name* is offered twice or nothing follows it.
    """
    offered: list[str] = list(scope.get("subprotocols") or ())
    count = offered.count(name)
    if not count:
        return None
    place = offered.index(name)
    following = Secret(offered[place + 1] if place + 1 < len(offered) else "")
    rest = offered[:place] + offered[place + 2 :]
    del offered  # error trackers record locals
    scope["subprotocols"] = rest
    headers = [pair for pair in scope["headers"] if pair[0] != _HEADER]
    scope["headers"] = (
        [*headers, (_HEADER, ", ".join(rest).encode("utf-8", "replace"))] if rest else headers
    )
    if count > 1 or not _TOKEN.fullmatch(following.reveal()):
        raise AuthenticationError("subprotocol_credential_malformed")
    return following


def take_from_query(scope: Scope, name: str) -> Secret | None:
    """Remove the parameter *name* from the query of *scope* and return its value, if it is there.

    Raises:
        AuthenticationError: It is there twice.
    """
    query = scope.get("query_string", b"").decode("latin-1")
    pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=None)
    found = [Secret(value) for key, value in pairs if key == name]
    if not found:
        return None
    rest = [(key, value) for key, value in pairs if key != name]
    del pairs, query  # as in take_offered
    scope["query_string"] = urlencode(rest).encode()
    if len(found) > 1:
        raise AuthenticationError("query_credential_doubled")
    return found[0]
