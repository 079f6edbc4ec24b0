"""Replay: of one proof, at once, at several workers, and what the memory of uses must not lose."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from asgi_guard._internal.memory_store import MemoryStore
from asgi_guard.auth import AuthenticationMiddleware
from asgi_guard.auth.dpop import DPoPProof, DPoPProver, DPoPValidator
from asgi_guard.auth.jose import TokenIssuer
from asgi_guard.integrations.sql_store import create_state_table
from asgi_guard.testing.launch import free_port
from tests.support.dpop_app import CLIENT, POLICY
from tests.support.dpop_world import (
    Reached,
    authenticator,
    bound_token,
    client_key,
    nonces,
    proof,
    request,
    validator,
)
from tests.support.exchange import ask
from tests.support.hosts_uvicorn import ask_over_http, running_uvicorn
from tests.support.jose_tokens import Signer, made, signing_key
from tests.support.store_kinds import TABLE, engine_for
from tests.support.tenancy_world import MovedClock

BASE = "https://api.example"
TOKEN = bound_token()
SHARED = [
    "sqlite",
    pytest.param("asyncpg", marks=pytest.mark.postgres),
    pytest.param("redis", marks=pytest.mark.redis),
]


def address_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if kind == "redis":
        return str(request.getfixturevalue("redis_server").url)
    if kind == "asyncpg":
        return str(request.getfixturevalue("postgres_database").dsn())
    return f"sqlite:///{folder / 'state.db'}"


async def make_table(kind: str, address: str) -> None:
    engine = engine_for(kind, address)
    await create_state_table(engine, TABLE)
    await engine.dispose()


class Workers:
    """Two processes of one app, each on its own port."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports

    async def rounds(self, kind: str, address: str = "") -> list[int]:
        """Say for each of five proofs how many of six requests at once were let in."""
        path = f"/{f'{kind} {address}'.encode().hex()}/notes"
        prover = await DPoPProver.generate()
        issuer = TokenIssuer(POLICY, keys=Signer(signing_key()))
        claims = {"cnf": {"jkt": prover.thumbprint}}
        issued = await issuer.issue_access("alice", client_id=CLIENT[0], claims=claims)
        token = issued.token.reveal()
        accepted = []
        for _ in range(5):
            text = await prover.proof("GET", BASE + path, access_token=token)
            headers = {"authorization": f"DPoP {token}", "dpop": text}
            statuses = await self._ask(path, headers)
            assert set(statuses) <= {200, 401}
            accepted.append(statuses.count(200))
        return accepted

    async def _ask(self, path: str, headers: dict[str, str]) -> list[int]:
        calls = [asyncio.to_thread(ask_over_http, port, path, headers) for port in self.ports * 3]
        return [status for status, _, _ in await asyncio.gather(*calls)]


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    public = signing_key().public.public_key
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    env = {"DPOP_BASE": BASE, "DPOP_KEY": pem.decode()}
    options = ("--factory", "--lifespan", "off", "--ws", "none")
    ports = [free_port(), free_port()]
    with ExitStack() as stack:
        for port in ports:
            app = "tests.support.dpop_app:worker"
            stack.enter_context(running_uvicorn(app, *options, env=env, port=port))
        yield Workers(ports)


@pytest.mark.parametrize("kind", SHARED)
async def test_a_proof_is_used_once_among_all_workers(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, workers: Workers
) -> None:
    """A proof that is good at the other worker is good twice, on every scaled-out server."""
    address = address_of(kind, request, tmp_path)
    if kind != "redis":
        await make_table(kind, address)

    assert await workers.rounds(kind, address) == [1] * 5


async def test_control_a_memory_of_one_process_lets_the_proof_in_at_the_other(
    workers: Workers,
) -> None:
    """Negative control: the same attack, on the mistake that the missing default prevents."""
    assert await workers.rounds("memory") == [2] * 5


def app_for(judge: DPoPValidator) -> AuthenticationMiddleware:
    return AuthenticationMiddleware(Reached(), authenticators=[authenticator(judge)])


async def test_of_many_requests_at_once_with_one_proof_one_is_let_in() -> None:
    """Between the look and the note there is no gap."""
    app = app_for(validator())
    asked = [ask(app, request(proof(token=TOKEN), token=TOKEN)) for _ in range(20)]

    statuses = [answer.status for answer in await asyncio.gather(*asked)]

    assert sorted(statuses) == [200] + [401] * 19


class Forgetful(DPoPValidator):
    """A validator whose author left the last check out."""

    async def spend(self, proof: DPoPProof) -> None:
        """Accept each proof as often as it comes."""


async def test_control_without_the_memory_of_uses_the_attack_works() -> None:
    """Negative control: the same requests, on a validator without the last check."""
    app = app_for(Forgetful(base=BASE, clock=MovedClock(), replay=MemoryStore()))

    statuses = [(await ask(app, request(proof(token=TOKEN), token=TOKEN))).status for _ in "12"]

    assert statuses == [200, 200]


SPOILED: dict[str, dict[str, Any]] = {
    "forged-token": {"token": TOKEN[:-4] + b"AAAA"},
    "bearer-token": {"token": made()},
    "another-token": {"token": bound_token(client_key(1))},
    "expired-token": {"token": bound_token(exp=1_600_000_000)},
    "other-method": {"method": "DELETE"},
    "other-path": {"path": "/others"},
}


@pytest.mark.parametrize("case", SPOILED)
async def test_a_refused_request_uses_no_proof_up(case: str) -> None:
    """Else whoever sees a proof, and has no token, locks its owner out by being first."""
    store = MemoryStore(max_entries=1, clock=MovedClock())
    app = app_for(validator(replay=store))
    good = proof(token=TOKEN)

    for _ in range(3):
        assert (await ask(app, request(good, **{"token": TOKEN, **SPOILED[case]}))).status == 401

    assert (await ask(app, request(good, token=TOKEN))).status == 200


async def test_nobody_can_use_up_the_jti_of_another_client() -> None:
    """A guessed or seen ``jti`` under one's own key is another proof."""
    app = app_for(validator())
    thief = client_key(1)
    theirs = bound_token(thief)

    taken = await ask(app, request(proof(key=thief, token=theirs), token=theirs))
    mine = await ask(app, request(proof(token=TOKEN), token=TOKEN))

    assert (taken.status, mine.status) == (200, 200)


async def test_a_flood_of_proofs_without_a_good_token_fills_nothing() -> None:
    """A thousand keys and ids cost their sender more than us: no entry, no eviction."""
    store = MemoryStore(max_entries=1, clock=MovedClock())
    app = app_for(validator(replay=store))
    for number in range(200):
        text = proof(token=TOKEN, key=client_key(1), jti=f"flood-{number}")
        assert (await ask(app, request(text, token=TOKEN))).status == 401

    assert (await ask(app, request(proof(token=TOKEN), token=TOKEN))).status == 200


async def test_a_flood_of_good_proofs_ends_in_503_and_never_in_a_second_use() -> None:
    """A full memory refuses what is new; it forgets nothing to make room."""
    clock = MovedClock()
    store = MemoryStore(max_entries=20, clock=clock)
    app = app_for(validator(replay=store, clock=clock))
    sent = [request(proof(token=TOKEN, jti=f"flood-{n}"), token=TOKEN) for n in range(25)]

    statuses = [(await ask(app, scope)).status for scope in sent]
    again = [(await ask(app, scope)).status for scope in sent]

    assert statuses == [200] * 20 + [503] * 5
    assert again == [401] * 20 + [503] * 5


async def test_a_proof_with_an_old_nonce_is_refused_after_its_end() -> None:
    """A proof that was made in advance, on a machine that was left open, is worth nothing."""
    clock = MovedClock(1_700_000_040.0)
    server = nonces(clock=clock)
    app = app_for(validator(nonces=server, clock=clock))
    old = server.current()

    clock.time += 240
    made_now = proof(token=TOKEN, nonce=old, iat=clock.time)

    answer = await ask(app, request(made_now, token=TOKEN))
    assert (answer.status, answer.header("dpop-nonce")) == (401, server.current())
    fresh = proof(token=TOKEN, nonce=server.current(), iat=clock.time)
    assert (await ask(app, request(fresh, token=TOKEN))).status == 200
