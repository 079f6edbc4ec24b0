"""Tokens are used, refused and replayed; then everything that was written is grepped."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import Any

import pytest

from asgi_guard.auth import AuthenticationMiddleware, BearerAuthenticator
from asgi_guard.auth.jose import DualAlgorithmVerifier, PinnedKey, TokenVerifier, VerificationKey
from asgi_guard.observability import LogSink, subscribe
from asgi_guard.protocols import Receive, Scope, Send
from tests.support.exchange import Events, http_scope
from tests.support.jose_tokens import NOW, access_claims, made, policy, verifier
from tests.support.refresh_world import World
from tests.support.tenancy_calls import get
from tests.support.tenancy_world import MovedClock

SECRET = "an old secret that every service has had for years"
PIECE = 24  # characters of a signature that no text holds by accident


class Routine(Events):
    """A reader that wants everything."""

    routine = True


class Written:
    """What was written, by anybody, while credentials were used."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    async def of(self, attempt: Awaitable[object]) -> None:
        """Keep what comes out of *attempt*: its result, or its error with the locals of frames."""
        try:
            self.parts.append(repr(await attempt))
        except Exception as error:
            self.parts.append(traced(error))

    def shows(self, token: str) -> bool:
        """Tell whether the signature or the payload of *token* is in it, or its whole text."""
        found = "\n".join(self.parts)
        pieces = [part[-PIECE:] for part in token.split(".") if len(part) >= PIECE]
        return any(piece in found for piece in pieces[1:] or [token])


def traced(error: BaseException) -> str:
    """Return what an error tracker would send: the chain, with the locals of our frames."""
    parts: list[str] = []
    link: BaseException | None = error
    while link is not None:
        parts += [repr(link), str(link), repr(vars(link))]
        trace = link.__traceback__
        while trace is not None:
            held = trace.tb_frame.f_locals
            if "/asgi_guard/" in trace.tb_frame.f_code.co_filename:
                # The request itself is held by every frame of server and app.
                parts.append(repr({name: held[name] for name in held if name != "scope"}))
            trace = trace.tb_next
        link = link.__cause__ or link.__context__
    return "\n".join(parts)


def bearers() -> dict[str, str]:
    """Name tokens that are good, and tokens that are refused at each stage."""
    good = made()
    return {
        "good": good.decode(),
        "expired": made(access_claims(exp=1, jti="e")).decode(),
        "foreign": made(access_claims(aud="other", jti="f")).decode(),
        "bound": made(access_claims(cnf={"jkt": "x"}, jti="b")).decode(),
        "unknown key": made(header={"kid": "unknown"}).decode(),
        "altered": good.decode()[:-40] + "A" * 40,
        "typed otherwise": made(header={"typ": "JWT"}).decode(),
        "not json": made(b"{").decode(),
        "no token": "a-canary-that-nobody-else-would-write",
    }


async def page(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def test_no_token_is_seen_whatever_becomes_of_it(
    caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    """Logs, events, answers, errors, reprs and the locals that an error tracker records."""
    caplog.set_level(logging.DEBUG)
    events, written = Routine(), Written()
    stops = [subscribe(events), subscribe(LogSink())]
    judge, tokens = verifier(), bearers()
    authenticator = BearerAuthenticator(judge)
    app = AuthenticationMiddleware(page, authenticators=[authenticator])
    for token in tokens.values():
        headers = {"authorization": f"Bearer {token}"}
        await written.of(authenticator.authenticate(http_scope(headers=headers)))
        await written.of(judge.verify(token))
        written.parts.append(repr((await get(app, "/", headers)).sent))
    world = World()
    first = await world.login()
    second = await world.refresh(first)
    third = await world.refresh(second)
    for name, grant in {"first": first, "second": second, "third": third}.items():
        tokens[name] = grant.token.token.reveal()
        await written.of(world.refresh(grant))
        await written.of(world.tokens.revoke(tokens[name], client_id="other"))
        await written.of(world.refresh(grant, client_id="other"))
    for token in list(tokens.values()):
        await written.of(world.tokens.refresh(token, client_id="web"))
        await written.of(world.judge.verify(token))
        await written.of(dual().verify(token))
    for stop in stops:
        stop()

    objects = [judge, vars(judge), authenticator, first, second, world.tokens, vars(world.tokens)]
    written.parts += [repr(events.seen), repr(objects), caplog.text, *capfd.readouterr()]
    assert [name for name, token in tokens.items() if written.shows(token)] == []
    assert len(events.seen) > len(tokens), "there was something to be grepped"


def dual() -> DualAlgorithmVerifier:
    clock = MovedClock()
    key = PinnedKey(VerificationKey(SECRET, algorithm="HS256"))
    legacy = TokenVerifier(policy(algorithms=("HS256",)), keys=key, clock=clock)
    return DualAlgorithmVerifier(current=verifier(), legacy=legacy, until=NOW + 60, clock=clock)


async def test_the_search_would_find_a_token() -> None:
    """Negative control: a careless authenticator leaves it where trackers look."""
    token = made().decode()
    written = Written()

    async def careless(presented: str) -> None:
        raise ValueError(f"bad token {presented}")

    assert not written.shows(token)
    await written.of(careless(token))
    assert written.shows(token)


async def test_the_search_looks_into_frames_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a verifier that lets its frames out is caught."""

    async def plain(judged: Awaitable[Any]) -> Any:
        return await judged

    monkeypatch.setattr("asgi_guard.auth.jose.verifier.without_frames", plain)
    token = made(access_claims(exp=1)).decode()
    written = Written()

    await written.of(verifier().verify(token))

    assert written.shows(token)
