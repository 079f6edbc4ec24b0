"""What security headers add to a request, as a ratio to `secure`'s ASGI middleware.

In process, on a FastAPI route. In each round the bare app and every middleware take turns in a
shuffled order; the round gives one figure each, ``(middleware - bare) / (secure - bare)``, and the
median of the rounds is reported with the middle half beside it. Time is the thread's own processor
time: what another process takes meanwhile is not counted.

Each sends its full set: ours the html or api preset, `secure` its default and its strict set,
Secweb its defaults. On a WebSocket the figure is a whole connection of 200 messages against the
same app without any middleware.

    pip install --group bench
    python benchmarks/edge_headers.py [--rounds 200] [--repeat 40] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import thread_time_ns
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from harness import machine
from secure import Preset, Secure
from secure.middleware import SecureASGIMiddleware
from Secweb import SecWeb

from asgi_guard.security_headers import SecurityHeaders, SecurityHeadersMiddleware, csp_nonce
from asgi_guard.security_headers.nonce import SCOPE_KEY

LIMIT = 0.5
SOCKET_LIMIT = 1.02
BASELINE = "secure (default)"
MESSAGES = 200
HEADERS = [
    (b"host", b"app.example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"),
    (b"accept", b"text/html,application/xhtml+xml"),
    (b"accept-language", b"en-GB,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"cookie", b"session=0123456789abcdef"),
]
MANY_FIELDS = [(b"x-%d" % number, b"1") for number in range(100)]

App = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request."""

    name: str
    path: str
    more: tuple[tuple[bytes, bytes], ...] = ()


CASES = (
    Case("plain answer", "/"),
    Case("answer that sets a cookie", "/cookie"),
    Case("app sets three of the headers itself", "/own"),
    Case("page that asks for a nonce", "/nonce"),
    Case("request with 100 more fields", "/", tuple(MANY_FIELDS)),
    Case("404", "/nowhere"),
)


def make_app() -> FastAPI:
    """Return an app with one trivial route for each case."""
    app = FastAPI(openapi_url=None)

    @app.get("/")
    async def home() -> dict[str, str]:
        return {"hello": "world"}

    @app.get("/cookie")
    async def cookie() -> Response:
        return Response(b"{}", headers={"set-cookie": "a=1; Secure; HttpOnly; SameSite=Lax"})

    @app.get("/own")
    async def own() -> Response:
        fields = {"x-frame-options": "DENY", "cache-control": "private", "server": "app"}
        return Response(b"{}", headers=fields)

    @app.get("/nonce")
    async def page(request: Request) -> Response:
        return Response(csp_nonce(request) if SCOPE_KEY in request.scope else "x" * 24)

    @app.websocket("/socket")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        for _ in range(MESSAGES):
            await socket.send_text("x")

    return app


def contenders() -> dict[str, App]:
    """Return the apps that take turns."""
    with_secweb = make_app()
    SecWeb(app=with_secweb)
    return {
        "bare": make_app(),
        BASELINE: SecureASGIMiddleware(make_app()),
        "secure (strict)": SecureASGIMiddleware(
            make_app(), secure=Secure.from_preset(Preset.STRICT)
        ),
        "Secweb (default)": with_secweb,
        "asgi_guard (html)": SecurityHeadersMiddleware(make_app(), policy=SecurityHeaders.html()),
        "asgi_guard (api)": SecurityHeadersMiddleware(make_app(), policy=SecurityHeaders.api()),
    }


async def receive() -> dict[str, Any]:
    """Deliver an empty body, or the opening of a WebSocket."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def connect() -> dict[str, Any]:
    """Open a WebSocket."""
    return {"type": "websocket.connect"}


async def send(message: dict[str, Any]) -> None:
    """Take what the app sends."""


def scope_of(kind: str, path: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Return the scope of one connection."""
    return {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https" if kind == "http" else "wss",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "client": ("203.0.113.7", 50000),
        "server": ("app.example.com", 443),
        "subprotocols": [],
        "headers": [*headers],
    }


async def micros(app: App, scopes: list[dict[str, Any]], receiver: Any) -> float:
    """Return the processor time of one of *scopes*, in microseconds."""
    started = thread_time_ns()
    for scope in scopes:
        await app(scope, receiver, send)
    return (thread_time_ns() - started) / len(scopes) / 1000


async def take_turns(
    kind: str, path: str, headers: list[tuple[bytes, bytes]], *, rounds: int, repeat: int
) -> dict[str, list[float]]:
    """Return the time per connection of each contender, round by round."""
    apps = contenders()
    order = list(apps)
    shuffler = random.Random(0)  # noqa: S311 - an order, not a secret
    taken: dict[str, list[float]] = {name: [] for name in apps}
    receiver = receive if kind == "http" else connect
    for number in range(rounds + 2):
        shuffler.shuffle(order)
        for name in order:
            scopes = [scope_of(kind, path, headers) for _ in range(repeat)]
            spent = await micros(apps[name], scopes, receiver)
            if number >= 2:  # noqa: PLR2004 - the first two rounds warm up
                taken[name].append(spent)
    return taken


async def measure(case: Case, *, rounds: int, repeat: int) -> list[dict[str, Any]]:
    """Return one row per middleware: what it adds, and the ratio to the baseline's."""
    headers = [*HEADERS, *case.more]
    taken = await take_turns("http", case.path, headers, rounds=rounds, repeat=repeat)
    bare = taken.pop("bare")
    added = {
        name: [total - floor for total, floor in zip(each, bare, strict=True)]
        for name, each in taken.items()
    }
    theirs = added[BASELINE]
    return [_row(case.name, name, mine, theirs, LIMIT) for name, mine in added.items()]


async def measure_socket(*, rounds: int) -> list[dict[str, Any]]:
    """Return one row per middleware: a connection with 200 messages against the bare app's."""
    taken = await take_turns("websocket", "/socket", HEADERS, rounds=rounds, repeat=2)
    name = f"WebSocket, {MESSAGES} messages"
    rows = {key: each for key, each in taken.items() if key != "bare"}
    return [_row(name, key, each, taken["bare"], SOCKET_LIMIT) for key, each in rows.items()]


def _row(
    case: str, name: str, mine: list[float], theirs: list[float], limit: float
) -> dict[str, Any]:
    ratios = [own / peer for own, peer in zip(mine, theirs, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    ratio = statistics.median(ratios)
    promised = limit if name.startswith("asgi_guard") else None
    return {
        "case": case,
        "contender": name,
        "us": round(statistics.median(mine), 2),
        "ratio": round(ratio, 3),
        "ratio_middle_half": [round(low, 3), round(high, 3)],
        "limit": promised,
        "holds": None if promised is None else ratio <= promised,
    }


def print_table(title: str, unit: str, rows: list[dict[str, Any]]) -> None:
    """Print *rows* as a Markdown table."""
    print(f"\n### {title}\n")
    print(f"| case | middleware | {unit} | ratio | middle half | promised |")
    print("|---|---|---:|---:|---|---|")
    for row in rows:
        low, high = row["ratio_middle_half"]
        words = {None: "", True: f"at most {row['limit']}: holds", False: "FAILS"}
        print(
            f"| {row['case']} | {row['contender']} | {row['us']} | {row['ratio']} "
            f"| {low} to {high} | {words[row['holds']]} |"
        )


async def run(*, rounds: int, repeat: int) -> dict[str, Any]:
    """Measure all cases."""
    added = [row for case in CASES for row in await measure(case, rounds=rounds, repeat=repeat)]
    return {"added per request": added, "websocket": await measure_socket(rounds=rounds)}


def main() -> None:
    """Print both tables, and write them where ``--json`` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    tables = asyncio.run(run(rounds=chosen.rounds, repeat=chosen.repeat))
    print_table("Added per request, against secure", "added, us", tables["added per request"])
    print_table("A WebSocket connection, against the bare app", "us", tables["websocket"])
    if chosen.json:
        figures = {"machine": machine(), "tables": tables}
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
