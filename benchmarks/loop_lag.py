"""How long identity work keeps the event loop from everybody else; promised is under 50 ms.

python benchmarks/loop_lag.py [--json FILE] [--rounds N]

A task that wants to run each millisecond notes how late it was, while logins, signatures, key
rotation and JWKS documents do their work. Each row is measured *rounds* times; the worst moment of
each round counts. For comparison, the same work done where most apps do it: on the loop.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import ssl
import statistics
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import trustme
from credentials import Nobody
from harness import machine
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from asgi_guard.auth.jose import JwtPolicy, KeyManager, RemoteKeys, SigningKey, TokenIssuer
from asgi_guard.auth.passwords import PasswordHasher
from asgi_guard.integrations.httpx import HTTPXFetch
from asgi_guard.integrations.sql_keys import SQLKeyStore, signing_keys_table
from asgi_guard.observability import subscribe
from asgi_guard.secret import Secret
from asgi_guard.vault import KeyRing, LocalMasterKey, new_master_key

Work = Callable[[], Awaitable[object]]

PASSWORD = "correct horse battery staple"  # noqa: S105 - anybody's
LONGEST_LAG = 50.0
LOGINS, SIGNATURES, PUBLISHED = 20, 100, 32
POLICY = JwtPolicy(issuer="https://id.example", audience="notes")


async def lag(work: Work) -> tuple[float, float]:
    """Return how late a task that wants to run each millisecond was at worst, and how long it took.

    Both in milliseconds.
    """
    late: list[float] = []
    over = asyncio.Event()

    async def tick() -> None:
        while not over.is_set():
            started = perf_counter()
            await asyncio.sleep(0.001)
            late.append((perf_counter() - started) * 1e3 - 1)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.02)
    started = perf_counter()
    await work()
    took = (perf_counter() - started) * 1e3
    over.set()
    await ticking
    return max(late), took


@contextmanager
def publisher() -> Iterator[tuple[str, ssl.SSLContext]]:
    """Serve a JWK Set of RSA-4096 keys over TLS, on a loop of its own in a thread."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    jwk = SigningKey.generate().jwk
    keys = [{**jwk, "kid": f"key-{number}"} for number in range(PUBLISHED)]
    body = json.dumps({"keys": keys}).encode()
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    ready, stop = threading.Event(), threading.Event()
    ports: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await asyncio.to_thread(stop.wait)
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    ready.wait()
    trusted = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    yield f"https://localhost:{ports[0]}/jwks.json", trusted
    stop.set()
    thread.join()


@asynccontextmanager
async def works(folder: Path) -> AsyncIterator[dict[str, tuple[Work, bool]]]:
    """Give what is measured: the work by name, and whether a promise is made about it."""
    hasher = PasswordHasher()
    stored = await hasher.hash(PASSWORD)
    keys = KeyManager(folder / "keys")
    await keys.open()
    issuer, signer = TokenIssuer(POLICY, keys=keys), keys.signing_key()
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/keys.db", poolclass=NullPool)
    table = signing_keys_table(MetaData())
    async with engine.begin() as connection:
        await connection.run_sync(table.create)
    masters = KeyRing(LocalMasterKey(new_master_key()))
    sealed = KeyManager(SQLKeyStore(engine, table, masters=masters), algorithm="ES256")
    await sealed.open()

    async def logins() -> None:
        await asyncio.gather(*(hasher.verify(stored, PASSWORD) for _ in range(LOGINS)))

    async def signatures() -> None:
        issue = partial(issuer.issue_access, "alice", client_id="web")
        await asyncio.gather(*(issue() for _ in range(SIGNATURES)))

    async def bare_signatures() -> None:
        for _ in range(SIGNATURES):
            signer.sign(b"x" * 300)

    async def opening() -> None:
        await KeyManager(folder / "keys").open()

    with publisher() as (url, trusted):
        fetch = HTTPXFetch(ssl_context=trusted, allow_addresses=["127.0.0.0/8"])

        async def refresh() -> None:
            await RemoteKeys(url, fetch=fetch).look_again(None)

        yield {
            "nothing": (partial(asyncio.sleep, 0.5), False),
            f"{LOGINS} logins at once": (logins, True),
            f"{SIGNATURES} RSA-4096 tokens at once": (signatures, True),
            f"{SIGNATURES} RSA-4096 signatures on the loop": (bare_signatures, False),
            f"a JWK Set of {PUBLISHED} RSA-4096 keys, over TLS": (refresh, True),
            "opening a folder of RSA-4096 keys": (opening, True),
            "rotation of an RSA-4096 key, in a folder": (
                partial(keys.rotate, immediately=True),
                True,
            ),
            "rotation of a key, in a database": (partial(sealed.rotate, immediately=True), True),
            "escrow": (partial(keys.export_escrow, Secret("six random words are enough")), True),
        }
    await engine.dispose()


async def run(rounds: int) -> list[dict[str, Any]]:
    """Measure everything."""
    unsubscribe = subscribe(Nobody())
    rows = []
    # A full collection of all that was imported takes up to 100 ms, whoever causes it.
    gc.collect()
    gc.freeze()
    with tempfile.TemporaryDirectory() as folder:
        async with works(Path(folder)) as found:
            for name, (work, promised) in found.items():
                times = [await lag(work) for _ in range(rounds)]
                worst = max(each[0] for each in times)
                rows.append(
                    {
                        "name": name,
                        "worst_ms": round(worst, 1),
                        "worst_of_median_round_ms": round(
                            statistics.median(each[0] for each in times), 1
                        ),
                        "took_ms": round(statistics.median(each[1] for each in times), 1),
                        "promised_ms": LONGEST_LAG if promised else None,
                        "holds": worst <= LONGEST_LAG if promised else None,
                    }
                )
                print(f"- {rows[-1]}", flush=True)
    unsubscribe()
    return rows


def main() -> int:
    """Run and print; 1 if a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rows = asyncio.run(run(arguments.rounds))
    if arguments.json:
        figures = {"machine": machine(), "tables": {"lag of the event loop": rows}}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 1 if any(row["holds"] is False for row in rows) else 0


if __name__ == "__main__":
    raise SystemExit(main())
