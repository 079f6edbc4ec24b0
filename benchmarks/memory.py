"""Flat memory: 100,000 requests through the whole guard, and what is left of them.

In process: FastAPI under `Guard`, a bearer token, a tenant, every layer on; each tenth request
is refused, so that events and problems are part of it. Resident memory is read after 20,000 and
after 100,000 requests, with the garbage collected: what grows in between grows with requests.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import uuid
from pathlib import Path
from typing import Any

import jwt
import psutil
import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import save

from asgi_guard import Guard, GuardSettings, require_context
from asgi_guard.auth import BearerJWTAuthenticator
from asgi_guard.integrations.fastapi import CurrentContext
from asgi_guard.tenancy import ClaimResolver

WARM, TOTAL, LIMIT_KIB = 20_000, 100_000, 2_048
ISSUER, AUDIENCE = "https://id.example", "memory"


def build() -> tuple[Any, list[bytes]]:
    """Return the guarded app, and one token for each of 20 tenants."""
    key = ec.generate_private_key(ec.SECP256R1())
    app = FastAPI()

    @app.get("/whoami")
    async def whoami(context: CurrentContext) -> str:
        assert context is require_context()  # noqa: S101 - a benchmark's own sanity
        return context.tenant_id

    verifier = BearerJWTAuthenticator(
        key=key.public_key(), algorithm="ES256", issuer=ISSUER, audience=AUDIENCE
    )
    guard = Guard(GuardSettings(authenticators=[verifier], resolver=ClaimResolver()))
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "bench", "exp": 4_000_000_000}
    tokens = [
        jwt.encode(claims | {"tenant_id": str(uuid.uuid4())}, key, algorithm="ES256").encode()
        for _ in range(20)
    ]
    return guard.install(app), tokens


async def request(app: Any, token: bytes, *, good: bool) -> int:
    """Send one request straight into the app and return its status."""
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": "/whoami",
        "raw_path": b"/whoami",
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"host", b"api.example"),
            (b"authorization", b"Bearer " + (token if good else token[:-4])),
            (b"x-unique", uuid.uuid4().hex.encode()),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 443),
    }
    await app(scope, receive, send)
    return statuses[0]


async def send_many(app: Any, tokens: list[bytes], count: int) -> None:
    """Send *count* requests, every tenth with a broken token."""
    for number in range(count):
        good = number % 10 != 0
        status = await request(app, tokens[number % len(tokens)], good=good)
        if status != (200 if good else 401):
            raise RuntimeError(f"request {number} was answered {status}")


async def main() -> int:
    """Measure, print, save; 1 if memory grew."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    app, tokens = build()
    resident: list[int] = []
    for count in (WARM, TOTAL - WARM):
        await send_many(app, tokens, count)
        gc.collect()
        resident.append(psutil.Process().memory_info().rss // 1024)
    grown = resident[1] - resident[0]
    print(f"after {WARM:,}: {resident[0]:,} KiB; after {TOTAL:,}: {resident[1]:,} KiB: {grown:+,}")
    save(
        "memory",
        {
            "resident memory": [
                {
                    "name": f"{TOTAL:,} requests through Guard",
                    "after_20k_kib": resident[0],
                    "after_100k_kib": resident[1],
                    "grown_kib": grown,
                    "limit_kib": LIMIT_KIB,
                    "holds": grown <= LIMIT_KIB,
                }
            ]
        },
    )
    return 0 if grown <= LIMIT_KIB else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
