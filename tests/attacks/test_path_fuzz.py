"""Any scope that a server could build, through every layer at once: one well-formed answer.

The foreign tenant and the token are in the request, so they are what an answer, an event or a
log line could give away.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_guard import current_context
from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.cors import CORSPolicy
from asgi_guard.cross_origin import CrossOriginPolicy
from asgi_guard.observability import subscribe
from asgi_guard.origins import DynamicOriginPolicy
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send
from asgi_guard.security_headers import SecurityHeaders
from asgi_guard.stack import Guard
from asgi_guard.tenancy import (
    ChainResolver,
    ClaimResolver,
    HeaderResolver,
    PathResolver,
    SubdomainResolver,
)
from tests.support.exchange import Events
from tests.support.hosts_guard import ACME, GLOBEX, guard_settings

SECRET = "canary5e1f"
FRIEND = "https://friend.example"
_NAME = re.compile(rb"[a-z0-9-]+\Z")
_VALUE = re.compile(rb"[\x20-\x7e]*\Z")  # nothing of a request may bring a line break with it
_STATUSES = {200, 204, 400, 401, 403, 404, 503}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Say for whom it runs, or that it runs for nobody, as plain as an app can."""
    context = current_context()
    body = b"nobody" if context is None else context.tenant_id.encode()
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": body.decode()})
        await send({"type": "websocket.close", "code": 1000})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def listed(origin: str, _scope: Scope) -> bool:
    """Ask the list of one friend."""
    return origin == FRIEND


def by_host(scope: Scope) -> str | None:
    """Name a tenant as an app would: by whatever the Host header says."""
    return next(
        (value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), None
    )


def guarded(**changes: Any) -> ASGIApp:
    """Put everything that reads a request around `app`."""
    friends = DynamicOriginPolicy(provider=listed, tenant_of=by_host)
    strict = CORSPolicy(allow_origins=[])
    given: dict[str, Any] = {
        "resolver": ChainResolver(
            PathResolver(),
            HeaderResolver("x-tenant"),
            SubdomainResolver("app.example"),
            ClaimResolver(),
        ),
        "public_paths": ["/health", "/static/*"],
        "cors": CORSPolicy(
            allow_origins=friends, allow_credentials=True, routes={"/closed/*": strict}
        ),
        "cross_origin": CrossOriginPolicy(exempt=["/hooks/*"], allow_websocket_without_origin=True),
        "security_headers_routes": {"/docs": SecurityHeaders.docs()},
        "security_headers_tenants": {GLOBEX: SecurityHeaders.html()},
        "trusted_proxies": TrustedProxies(["10.0.0.0/8", "unix"], header="forwarded"),
        "request_id_header": "x-request-id",
    }
    return Guard(guard_settings(**(given | changes))).install(app)


APPS = {
    "forwarded": guarded(),
    "x-forwarded": guarded(trusted_proxies=TrustedProxies(["10.0.0.0/8"], trust_host=True)),
}
NAMES = (
    b"authorization cookie origin host x-tenant forwarded x-forwarded-for x-forwarded-proto "
    b"x-forwarded-host x-request-id traceparent sec-fetch-site sec-fetch-mode sec-fetch-dest "
    b"access-control-request-method access-control-request-headers content-length content-type "
    b"access-control-request-private-network sec-websocket-protocol"
).split()
TELLING = [
    f"Bearer alice@{GLOBEX}".encode(),
    b"Bearer alice",
    ACME.encode(),
    GLOBEX.encode(),
    FRIEND.encode(),
    b"null",
    b"https://evil.example",
    b"cross-site",
    b"same-origin",
    b"cors",
    b"POST",
    b"app.example",
    b"for=10.0.0.1;proto=https, for=_hidden",
    b"for=10.0.0.1;proto=https",
    b"10.0.0.1, 192.0.2.1",
    b"[::1",
    b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01",
]
PATHS = [
    "/",
    "",
    "*",
    "/health",
    "/static/../x",
    "/hooks/x",
    "/docs",
    f"/t/{ACME}/notes",
    f"/t/{GLOBEX}",
    f"/t/{SECRET}/x",
    "http://evil.example/health",
    "/t/\udc80/x",
    "/caf\u00e9\u0301",
    "/\ufdfa",
    "/t//x",
]
values = st.one_of(st.sampled_from(TELLING), st.binary(max_size=60))
CREDENTIALS = [
    (b"authorization", f"Bearer {SECRET}!".encode()),
    (b"authorization", f"Basic {SECRET}".encode()),
    (b"cookie", f"session={SECRET}".encode()),
]
names = st.one_of(st.sampled_from(NAMES), st.binary(max_size=12).map(bytes.lower))
ALICE = [b"authorization", f"Bearer alice@{ACME}".encode()]
credentials = st.sampled_from(
    [
        [],
        [ALICE],
        [ALICE, [b"x-tenant", ACME.encode()]],
        [ALICE, [b"x-tenant", GLOBEX.encode()]],
        [ALICE, [b"host", f"{GLOBEX}.app.example".encode()]],
    ]
)
fields = st.one_of(st.tuples(names, values), st.sampled_from(CREDENTIALS))
paths = st.one_of(
    st.sampled_from(PATHS), st.text(max_size=40), st.text(max_size=20).map("/".__add__)
)
clients = st.sampled_from([None, ("203.0.113.9", 5), ["10.0.0.1", 0], ("", 0), ("fe80::1%eth0", 1)])
scopes: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["http", "websocket"]),
        "method": st.one_of(
            st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "TRACE"]), st.text(max_size=8)
        ),
        "path": paths,
        "headers": st.builds(list.__add__, credentials, st.lists(fields.map(list), max_size=5)),
    },
    optional={
        "raw_path": st.one_of(st.none(), st.binary(max_size=40)),
        "query_string": st.binary(max_size=20),
        "root_path": st.sampled_from(["", "/", "/api", "/api/"]),
        "scheme": st.sampled_from(["http", "https", "ws", "wss", "gopher"]),
        "client": clients,
        "extensions": st.sampled_from([None, {}, {"websocket.http.response": {}}]),
    },
)


class Spoken(logging.Handler):
    """Everything that was logged, tracebacks included."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep *record* as a file would."""
        self.lines.append(logging.Formatter().format(record))


def converse(guarded_app: ASGIApp, scope: dict[str, Any]) -> tuple[list[Any], str]:
    """Send *scope*, and return the messages of the answer and all that operators could read."""
    sent: list[Any] = []
    incoming: list[Any] = (
        [{"type": "http.request", "body": b"", "more_body": False}]
        if scope["type"] == "http"
        else [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}]
    )

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> tuple[list[Any], str]:
        sink, spoken = Events(), Spoken()
        unsubscribe = subscribe(sink)
        logging.getLogger().addHandler(spoken)
        try:
            await guarded_app(scope, receive, send)
        finally:
            logging.getLogger().removeHandler(spoken)
            unsubscribe()
        assert current_context() is None
        return sent, repr(sink.seen) + "".join(spoken.lines)

    return asyncio.run(run())


def well_formed(kind: str, sent: list[Any]) -> None:
    """Hold an answer against the protocol, message by message."""
    first, *rest = sent
    if first["type"].endswith(".start"):
        assert first["status"] in _STATUSES
        assert all(_NAME.match(name) and _VALUE.match(value) for name, value in first["headers"])
        lines = [name for name, _ in first["headers"]]
        assert len(set(lines)) == len(lines)
        assert [message["type"].rpartition(".")[2] for message in rest] == ["body"]
        if first["status"] >= 400:
            assert json.loads(rest[0]["body"])["status"] == first["status"]
    else:
        assert kind == "websocket"
        assert first["type"] in {"websocket.accept", "websocket.close"}


def _no_id(field: tuple[bytes, bytes]) -> bool:
    return field[0] != b"x-request-id"


def told(sent: list[Any]) -> str:
    """Return all that the caller can read, but for the id that a trusted proxy gave it."""
    read = [m | {"headers": [*filter(_no_id, m.get("headers", ()))]} for m in sent]
    return re.sub(r'"request_id":"[^"]*"', "", repr(read))


@settings(max_examples=400)
@given(st.sampled_from(sorted(APPS)), scopes)
def test_any_scope_gets_one_well_formed_answer_that_gives_nothing_away(
    name: str, scope: dict[str, Any]
) -> None:
    """A crash is a 500 that anybody can cause; a leak needs no explanation."""
    if scope["type"] == "websocket":
        del scope["method"]

    sent, operators = converse(APPS[name], dict(scope))

    well_formed(scope["type"], sent)
    assert GLOBEX not in told(sent)
    assert SECRET not in told(sent)
    assert SECRET not in operators
    headers = [pair for message in sent for pair in message.get("headers", ())]
    granted = {value for name, value in headers if name == b"access-control-allow-origin"}
    assert granted <= {FRIEND.encode()}
