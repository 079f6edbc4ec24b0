"""A sid shows up nowhere: not in logs, events, exceptions, their frames, reprs or the store."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from asgi_guard._internal.principal import SCOPE_KEY
from asgi_guard.auth.sessions import SessionAuthenticator, TicketAuthenticator, WebSocketTickets
from asgi_guard.auth.sessions.identifiers import new_sid
from asgi_guard.observability import LogSink, subscribe
from asgi_guard.secret import Secret
from tests.support.exchange import ask, http_scope, websocket_scope
from tests.support.passwords_people import listening
from tests.support.sessions_served import OWN, protected, whoami
from tests.support.sessions_world import World, world


def _chain(error: BaseException) -> str:
    """Return what an error tracker would send: the chain, with the locals of our frames."""
    parts: list[str] = []
    link: BaseException | None = error
    while link is not None:
        parts += [repr(link), str(link), repr(getattr(link, "details", ""))]
        trace = link.__traceback__
        while trace is not None:
            if "/asgi_guard/auth/sessions/" in trace.tb_frame.f_code.co_filename:
                held = trace.tb_frame.f_locals
                # The request itself is held by every frame of server and app.
                parts.append(repr({name: held[name] for name in held if name != "scope"}))
            trace = trace.tb_next
        link = link.__cause__ or link.__context__
    return "\n".join(parts)


async def _everything(made: World, sid: Secret, collected: list[Any]) -> None:
    """Do with *sid* whatever can be done, in every way that it can be handed over."""
    sessions, plain = made.sessions, sid.reveal()
    calls = [
        sessions.judge(plain),
        sessions.validate(plain),
        sessions.extend(plain),
        sessions.renew(plain, roles=["x"]),
        sessions.switch_tenant(plain, tenant_id="nowhere"),
        sessions.load(plain),
        sessions.persist(plain, {"n": 1}, version=7),
        sessions.terminate(plain),
        made.login(replaces=plain),
        made.login(replaces=plain, claims={"f": object()}),
    ]
    for call in calls:
        try:
            collected.append(repr(await call))
        except Exception as error:
            collected.append(_chain(error))
    await _by_cookie(made, plain, collected)
    await _by_ticket(made, sid, collected)


async def _by_cookie(made: World, plain: str, collected: list[Any]) -> None:
    for value in (plain, f"{plain}; __Host-sid={plain}", f"{plain}x"):
        scope = http_scope(headers={"cookie": f"__Host-sid={value}"})
        for refuse in (False, True):
            authenticator = SessionAuthenticator(made.sessions, refuse_ended=refuse)
            try:
                collected.append(repr(await authenticator.authenticate(scope)))
            except Exception as error:
                collected.append(_chain(error))
            answer = await ask(protected(whoami, authenticator), scope)
            collected.append(repr(answer.sent))


async def _by_ticket(made: World, sid: Secret, collected: list[Any]) -> None:
    tickets = WebSocketTickets(made.store, sessions=made.sessions, clock=made.clock)
    offered = ["ticket", sid.reveal()]
    scope = {**websocket_scope("/", {"origin": OWN}), "subprotocols": offered}
    try:
        collected.append(repr(await TicketAuthenticator(tickets).authenticate(scope)))
    except Exception as error:
        collected.append(_chain(error))
    collected.append(repr(scope["headers"]) + repr(scope["subprotocols"]))


async def test_no_sid_is_seen_whatever_happens(
    caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    """For live sessions, for ended ones, and while the store is broken."""
    caplog.set_level(logging.DEBUG)
    collected: list[Any] = []
    made, unknown = world(), new_sid()
    issued, ended = await made.login(), await made.login()
    await made.sessions.terminate(ended.sid)

    with listening() as events:
        unsubscribe = subscribe(LogSink())
        for broken in (None, OSError("no route")):
            made.store.broken = broken
            for sid in (issued.sid, ended.sid, unknown, Secret("not-a-sid-" + "y" * 40)):
                await _everything(made, sid, collected)
        unsubscribe()

    printed = capfd.readouterr()
    objects = [issued, issued.session, issued.session.principal(), vars(made.sessions), vars(made)]
    stored = repr(made.store.values) + repr(made.store.keys)
    seen = "\n".join([*collected, repr(events.seen), repr(objects), stored, caplog.text, *printed])
    for sid in (issued.sid, ended.sid, unknown):
        assert sid.reveal()[:20] not in seen
    assert "not-a-sid-yyyy" not in seen
    assert len(events.seen) > 50


async def test_no_ticket_is_seen_either() -> None:
    """Its 30 seconds are long enough to be read from a log."""
    made = world()
    issued = await made.login()
    tickets = WebSocketTickets(made.store, sessions=made.sessions, clock=made.clock)
    asked = {**http_scope("POST", headers={"origin": OWN}), SCOPE_KEY: issued.session.principal()}
    with listening() as events:
        ticket = await tickets.issue(asked)

    seen = repr(events.seen) + repr(ticket) + repr(made.store.values) + repr(made.store.keys)
    assert ticket.ticket.reveal()[:20] not in seen


def test_the_search_would_find_a_sid() -> None:
    """Negative control: one in the message of an exception."""
    sid = new_sid()

    assert sid.reveal() in _chain(ValueError(f"bad sid {sid.reveal()}"))
    assert sid.reveal() not in _chain(ValueError(f"bad sid {sid}"))
