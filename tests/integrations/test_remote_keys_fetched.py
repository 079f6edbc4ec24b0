"""Another issuer's keys, from its real server to a verified token: RemoteKeys over HTTPXFetch."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable

import pytest

from asgi_guard.auth.jose import RemoteKeys, SigningKey
from asgi_guard.auth.jose.jwks_parser import parse_jwks
from asgi_guard.errors import UnavailableError
from asgi_guard.integrations.httpx import HTTPXFetch
from asgi_guard.observability import subscribe
from tests.support.exchange import Events
from tests.support.fetch_servers import Authority, raw_server
from tests.support.jose_tokens import made, signing_key, verifier
from tests.support.tenancy_world import MovedClock

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def publisher(*keys: SigningKey, head: str = "") -> Talk:
    """Serve a JWK Set of *keys*."""

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = json.dumps({"keys": [key.jwk for key in keys]}).encode()
        writer.write(f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode())
        writer.write(body)
        await writer.drain()

    return talk


def fetch(authority: Authority) -> HTTPXFetch:
    """Trust *authority*, and reach loopback."""
    return HTTPXFetch(ssl_context=authority.trusting(), allow_addresses=["127.0.0.0/8"])


async def test_a_token_is_verified_by_keys_that_were_fetched_over_tls() -> None:
    """The whole way, once: socket, TLS, HTTP, JWK Set, signature, claims."""
    authority, clock = Authority(), MovedClock()
    talk = publisher(signing_key())
    async with raw_server(talk, authority.serving("localhost")) as server:
        url = f"https://localhost:{server.port}/.well-known/jwks.json"
        keys = RemoteKeys(url, fetch=fetch(authority), algorithms=("ES256",), clock=clock)
        judge = verifier(source=keys, clock=clock)
        found = await asyncio.gather(*(judge.verify(made()) for _ in range(20)))

    assert {each.kid for each in found} == {signing_key().kid}
    assert server.connections == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("stranger", "fetch_certificate_refused"),
        ("compressed", "fetch_encoded"),
        ("too long", "fetch_too_large"),
        ("inner address", "fetch_address_refused"),
    ],
)
async def test_a_server_that_is_not_the_issuers_is_not_believed(fault: str, reason: str) -> None:
    """No keys, no tokens: 503, and the operator's event says why."""
    authority, clock, sink = Authority(), MovedClock(), Events()
    serves = Authority() if fault == "stranger" else authority
    head = "Content-Encoding: gzip\r\n" if fault == "compressed" else ""
    keys = [signing_key()] * (3000 if fault == "too long" else 1)
    client = HTTPXFetch(ssl_context=authority.trusting())
    async with raw_server(publisher(*keys, head=head), serves.serving("localhost")) as server:
        source = RemoteKeys(
            f"https://localhost:{server.port}/",
            fetch=client if fault == "inner address" else fetch(authority),
            algorithms=("ES256",),
            clock=clock,
        )
        stop = subscribe(sink)
        with pytest.raises(UnavailableError):
            await verifier(source=source, clock=clock).verify(made())
        stop()

    assert ("JWKS_FETCH_FAILED", reason) in [(each.name, each.reason) for each in sink.seen]


async def test_keys_outlive_a_server_that_has_gone() -> None:
    """Stale keys for an hour, from a server that takes no connections any more."""
    authority, clock = Authority(), MovedClock()
    async with raw_server(publisher(signing_key()), authority.serving("localhost")) as server:
        url = f"https://localhost:{server.port}/"
        keys = RemoteKeys(url, fetch=fetch(authority), algorithms=("ES256",), clock=clock)
        judge = verifier(source=keys, clock=clock)
        await judge.verify(made())
    clock.time += 301

    assert (await judge.verify(made())).kid == signing_key().kid
    if keys._flight is not None:
        await keys._flight
    assert (await judge.verify(made())).kid == signing_key().kid


async def test_a_document_is_parsed_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty-four RSA keys take their time, and every other request would wait."""
    authority = Authority()
    threads: list[threading.Thread] = []

    def noting(body: bytes, *, algorithms: tuple[str, ...]) -> object:
        threads.append(threading.current_thread())
        return parse_jwks(body, algorithms=algorithms)

    monkeypatch.setattr("asgi_guard.auth.jose.remote_keys.parse_jwks", noting)
    async with raw_server(publisher(signing_key()), authority.serving("localhost")) as server:
        url = f"https://localhost:{server.port}/"
        await RemoteKeys(url, fetch=fetch(authority), algorithms=("ES256",)).look_again(None)

    assert threads
    assert threading.main_thread() not in threads
