"""What CORS adds to a request, as a ratio to Starlette's CORSMiddleware.

In process, on a FastAPI route. In each round the bare app, Starlette's middleware and ours take
turns in a shuffled order; the round gives one figure, ``(ours - bare) / (Starlette's - bare)``,
and the median of the rounds is reported with the middle half beside it. Preflights are answered
by the middleware alone, so there the two are compared directly. Time is the thread's own
processor time: what another process takes meanwhile is not counted.

Both are configured alike: two origins, credentials, one custom header. (*) A refusal leaves a
security event and a problem with a request id, of which Starlette leaves neither; so nothing is
promised of those rows. Events go to a sink that drops them: a log line's cost is the logger's.

    python benchmarks/edge_cors.py [--rounds 300] [--repeat 40] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import thread_time_ns
from typing import Any

from fastapi import FastAPI
from harness import machine
from starlette.middleware.cors import CORSMiddleware

from asgi_guard.cors import CORSAllowlistMiddleware, CORSPolicy, compat
from asgi_guard.observability import SecurityEvent, subscribe

LIMIT = 0.6
ORIGINS = ["https://app.example.com", "https://admin.example.com"]
HEADERS = [
    (b"host", b"api.example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0"),
    (b"accept", b"application/json"),
    (b"accept-language", b"en-GB,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"cookie", b"session=0123456789abcdef"),
]
FRIEND = (b"origin", b"https://app.example.com")
STRANGER = (b"origin", b"https://evil.example")
ASK_METHOD = (b"access-control-request-method", b"POST")
ASK_HEADERS = (b"access-control-request-headers", b"content-type,x-requested-with")
MANY_NAMES = (b"access-control-request-headers", b",".join([b"x-requested-with"] * 3800))
ONLY_COMMAS = (b"access-control-request-headers", b"," * 65_000)

App = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of request."""

    name: str
    method: str
    fields: Sequence[tuple[bytes, bytes]]
    answered_by_middleware: bool = False
    cheaper: int = 1  # divides the repetitions, for requests that take long
    promised: bool = True


CASES = (
    Case("GET without Origin", "GET", ()),
    Case("GET, allowed origin", "GET", (FRIEND,)),
    Case("GET, denied origin (*)", "GET", (STRANGER,), promised=False),
    Case("preflight, allowed", "OPTIONS", (FRIEND, ASK_METHOD, ASK_HEADERS), True),
    Case("preflight, denied origin (*)", "OPTIONS", (STRANGER, ASK_METHOD), True, promised=False),
    Case("preflight, 64 kB of names", "OPTIONS", (FRIEND, ASK_METHOD, MANY_NAMES), True, 20),
    Case("preflight, 64 kB of commas", "OPTIONS", (FRIEND, ASK_METHOD, ONLY_COMMAS), True, 20),
)


class Drop:
    """An event sink that keeps nothing."""

    def emit(self, event: SecurityEvent) -> None:
        """Drop *event*."""


def make_app() -> FastAPI:
    """Return an app with one trivial route."""
    app = FastAPI(openapi_url=None)

    @app.get("/")
    async def home() -> dict[str, str]:
        return {"hello": "world"}

    return app


def contenders() -> dict[str, App]:
    """Return the three apps that take turns, and the migration aid beside them."""
    return {
        "bare": make_app(),
        "starlette": CORSMiddleware(
            make_app(),
            allow_origins=ORIGINS,
            allow_credentials=True,
            allow_methods=["GET", "POST"],
            allow_headers=["X-Requested-With"],
        ),
        "asgi_guard": CORSAllowlistMiddleware(
            make_app(),
            policy=CORSPolicy(
                allow_origins=ORIGINS,
                allow_credentials=True,
                allow_methods=["GET", "POST"],
                allow_headers=["X-Requested-With"],
            ),
        ),
        "asgi_guard.cors.compat": compat.CORSMiddleware(
            make_app(),
            allow_origins=ORIGINS,
            allow_credentials=True,
            allow_methods=["GET", "POST"],
            allow_headers=["X-Requested-With"],
        ),
    }


async def receive() -> dict[str, Any]:
    """Deliver an empty body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: dict[str, Any]) -> None:
    """Take what the app sends."""


async def micros(app: App, case: Case, repeat: int) -> float:
    """Return the processor time of one request of *case*, in microseconds."""
    base = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": case.method,
        "scheme": "https",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "client": ("203.0.113.7", 50000),
        "server": ("api.example.com", 443),
    }
    scopes = [{**base, "headers": [*HEADERS, *case.fields]} for _ in range(repeat)]
    started = thread_time_ns()
    for scope in scopes:
        await app(scope, receive, send)
    return (thread_time_ns() - started) / repeat / 1000


async def measure(case: Case, *, rounds: int, repeat: int) -> list[dict[str, Any]]:
    """Return one row per middleware: what it adds, and the ratio to Starlette's."""
    apps = contenders()
    shuffler = random.Random(0)  # noqa: S311 - an order, not a secret
    taken: dict[str, list[float]] = {name: [] for name in apps}
    order = [name for name in apps if name != "bare" or not case.answered_by_middleware]
    for _ in range(rounds):
        shuffler.shuffle(order)
        for name in order:
            taken[name].append(await micros(apps[name], case, max(1, repeat // case.cheaper)))
    bare = taken["bare"] or [0.0] * rounds
    added = {
        name: [total - floor for total, floor in zip(taken[name], bare, strict=True)]
        for name in apps
        if name != "bare"
    }
    return [_row(case, name, mine, added["starlette"]) for name, mine in added.items()]


def _row(case: Case, name: str, mine: list[float], theirs: list[float]) -> dict[str, Any]:
    ratios = [own / peer for own, peer in zip(mine, theirs, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    ratio = statistics.median(ratios)
    promised = LIMIT if name == "asgi_guard" and case.promised else None
    return {
        "case": case.name,
        "contender": name,
        "added_us": round(statistics.median(mine), 2),
        "ratio": round(ratio, 3),
        "ratio_middle_half": [round(low, 3), round(high, 3)],
        "limit": promised,
        "holds": None if promised is None else ratio <= promised,
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print *rows* as a Markdown table."""
    print("| request | middleware | added, us | ratio | middle half | promised |")
    print("|---|---|---:|---:|---|---|")
    for row in rows:
        low, high = row["ratio_middle_half"]
        verdict = {None: "", True: f"at most {LIMIT}: holds", False: f"at most {LIMIT}: FAILS"}
        print(
            f"| {row['case']} | {row['contender']} | {row['added_us']} | {row['ratio']} "
            f"| {low} to {high} | {verdict[row['holds']]} |"
        )
    print("\n(*) leaves a security event and a problem document; Starlette leaves neither")


def main() -> None:
    """Measure every case, print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--json", type=Path, help="write the figures, machine and commit here")
    options = parser.parse_args()
    unsubscribe = subscribe(Drop())
    rows: list[dict[str, Any]] = []
    for case in CASES:
        rows += asyncio.run(measure(case, rounds=options.rounds, repeat=options.repeat))
    unsubscribe()
    print_table(rows)
    if options.json:
        figures = {"machine": machine(), "rounds": options.rounds, "rows": rows}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
