"""CORSMiddleware with Starlette's constructor and answers, for those who migrate.

Change the import, run the tests, read the warnings, then move to `CORSAllowlistMiddleware`. It
answers as Starlette 1.10 does, byte for byte, with three exceptions: an app's message is copied
and never changed; ``Vary: Origin`` is never doubled; a preflight that asks for more than 8 kB of
headers is denied instead of echoed.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Awaitable, Collection, MutableMapping
from typing import Any, Final

from asgi_guard._internal.asgi import HeaderList, add_vary
from asgi_guard.cors.policy import PREFLIGHT_VARY
from asgi_guard.errors import ConfigError
from asgi_guard.origins.expression import compile_expression, stranger_let_in
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send

__all__ = ["CORSMiddleware", "UnsafeCORSWarning"]

_EVERY_METHOD: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY")
_SAFELISTED: Final = frozenset({"Accept", "Accept-Language", "Content-Language", "Content-Type"})
_ALLOW_ORIGIN: Final = b"access-control-allow-origin"
_ASKED_METHOD: Final = b"access-control-request-method"
_ASKED_HEADERS: Final = b"access-control-request-headers"
_ASKED_NETWORK: Final = b"access-control-request-private-network"
_MOST_BYTES: Final = 8192


class UnsafeCORSWarning(UserWarning):
    """A setting that Starlette accepts lets in pages that nobody listed."""


class CORSMiddleware:
    """Starlette's CORS middleware, warning where `CORSPolicy` would refuse.

    Args:
        app: The app whose answers are shared.
        allow_origins: Compared as strings; ``"*"`` for every one.
        allow_methods: ``"*"`` for the registered ones.
        allow_headers: ``"*"`` echoes whatever is asked.
        allow_credentials: With ``"*"``, every page on the web reads with the user's cookies.
        allow_origin_regex: Matched against the whole origin.
        allow_private_network: Let public pages reach a private network.
        expose_headers: Response headers that pages may read.
        max_age: Seconds.

    Warns:
        UnsafeCORSWarning: For each setting that lets in strangers.
    """

    def __init__(  # noqa: PLR0917 - Starlette's signature
        self,
        app: ASGIApp,
        allow_origins: Collection[str] = (),
        allow_methods: Collection[str] = ("GET",),
        allow_headers: Collection[str] = (),
        allow_credentials: bool = False,  # noqa: FBT001, FBT002 - Starlette's signature
        allow_origin_regex: str | None = None,
        allow_private_network: bool = False,  # noqa: FBT001, FBT002 - as above
        expose_headers: Collection[str] = (),
        max_age: int = 600,
    ) -> None:
        self.app = app
        self._everyone = "*" in allow_origins
        self._origins = frozenset(origin.encode("latin-1") for origin in allow_origins)
        self._expression = None if allow_origin_regex is None else re.compile(allow_origin_regex)
        methods = _EVERY_METHOD if "*" in allow_methods else tuple(allow_methods)
        self._methods = frozenset(method.encode("latin-1") for method in methods)
        self._any_header = "*" in allow_headers
        listed = sorted(_SAFELISTED | set(allow_headers))
        self._headers = frozenset(name.lower().encode("latin-1") for name in listed)
        self._private_network = allow_private_network
        self._echoes = not self._everyone or allow_credentials
        credentials = [(b"access-control-allow-credentials", b"true")] * bool(allow_credentials)
        self._simple: HeaderList = list(credentials)
        if expose_headers:
            self._simple.append(_field("access-control-expose-headers", ", ".join(expose_headers)))
        self._preflight: HeaderList = [
            PREFLIGHT_VARY,
            _field("access-control-allow-methods", ", ".join(methods)),
            _field("access-control-max-age", str(max_age)),
            *([] if self._any_header else [_field(*_listed_headers(listed))]),
            *credentials,
        ]
        _warn(allow_origins, allow_origin_regex, allow_headers, credentials=allow_credentials)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; anything but HTTP passes through untouched."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name == b"origin" or name.startswith(b"access-control-request-"):
                asked.setdefault(name, value)
        origin = asked.get(b"origin")
        if origin is not None and scope["method"] == "OPTIONS" and _ASKED_METHOD in asked:
            await self._answer_preflight(send, origin, asked)
            return

        def guarded_send(message: MutableMapping[str, Any]) -> Awaitable[None]:
            if message["type"] != "http.response.start":
                return send(message)
            headers = [(name.lower(), value) for name, value in message.get("headers", ())]
            self._edit(headers, origin)
            return send({**message, "headers": headers})

        await self.app(scope, receive, guarded_send)

    def _allows(self, origin: bytes) -> bool:
        if self._everyone or origin in self._origins:
            return True
        expression = self._expression
        return expression is not None and bool(expression.fullmatch(origin.decode("latin-1")))

    def _edit(self, headers: HeaderList, origin: bytes | None) -> None:
        """Add what Starlette adds; a field that the app set keeps its place and one copy."""
        if origin is None:
            add_vary(headers, b"Origin")
            return
        for pair in self._simple:
            _replace(headers, pair)
        if self._allows(origin):
            _replace(headers, (_ALLOW_ORIGIN, origin if self._echoes else b"*"))
        add_vary(headers, b"Origin")

    async def _answer_preflight(self, send: Send, origin: bytes, asked: dict[bytes, bytes]) -> None:
        failures = self._failures(origin, asked)
        headers = list(self._preflight)
        if not self._echoes:
            headers.append((_ALLOW_ORIGIN, b"*"))
        elif "origin" not in failures:
            headers.append((_ALLOW_ORIGIN, origin))
        wanted = asked.get(_ASKED_HEADERS)
        if wanted is not None and self._any_header and "headers" not in failures:
            headers.append((b"access-control-allow-headers", wanted))
        if _ASKED_NETWORK in asked and self._private_network:
            headers.append((b"access-control-allow-private-network", b"true"))
        body = f"Disallowed CORS {', '.join(failures)}".encode() if failures else b"OK"
        headers.append((b"content-length", str(len(body)).encode()))
        headers.append((b"content-type", b"text/plain; charset=utf-8"))
        status = 400 if failures else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _failures(self, origin: bytes, asked: dict[bytes, bytes]) -> list[str]:
        """Name what is not granted, in Starlette's words and order."""
        failures: list[str] = []
        if not self._allows(origin):
            failures.append("origin")
        if asked[_ASKED_METHOD] not in self._methods:
            failures.append("method")
        wanted = asked.get(_ASKED_HEADERS)
        if wanted is not None and not self._grants_headers(wanted):
            failures.append("headers")
        if _ASKED_NETWORK in asked and not self._private_network:
            failures.append("private-network")
        return failures

    def _grants_headers(self, wanted: bytes) -> bool:
        if len(wanted) > _MOST_BYTES:
            return False
        names = (name.strip().lower() for name in wanted.split(b","))
        return self._any_header or self._headers.issuperset(names)


def _field(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode("ascii"), value.encode("latin-1")


def _listed_headers(names: list[str]) -> tuple[str, str]:
    return "access-control-allow-headers", ", ".join(names)


def _replace(headers: HeaderList, field: tuple[bytes, bytes]) -> None:
    """Set *field* where the app had set it first, dropping further copies; or append it."""
    name = field[0]
    places = [place for place, pair in enumerate(headers) if pair[0] == name]
    if not places:
        headers.append(field)
        return
    headers[places[0]] = field
    for place in reversed(places[1:]):
        del headers[place]


def _warn(
    origins: Collection[str],
    expression: str | None,
    headers: Collection[str],
    *,
    credentials: bool,
) -> None:
    problems: list[str] = []
    if credentials and "*" in origins:
        problems.append("allow_origins=['*'] with allow_credentials: every page on the web reads")
    if "null" in origins:
        problems.append("allow_origins holds 'null', which every sandboxed frame can send")
    if credentials and "*" in headers:
        problems.append("allow_headers=['*'] with allow_credentials: any header is granted")
    if expression is not None:
        problems.extend(_expression_problem(expression))
    for problem in problems:
        warnings.warn(
            f"{problem}. asgi_guard.cors.CORSPolicy takes a list of origins instead.",
            UnsafeCORSWarning,
            stacklevel=3,
        )


def _expression_problem(expression: str) -> list[str]:
    try:
        stranger = stranger_let_in(compile_expression(expression, setting="allow_origin_regex"))
    except ConfigError as refused:
        return [f"allow_origin_regex {refused.problem}"]
    return [] if stranger is None else [f"allow_origin_regex lets in {stranger!r}"]
