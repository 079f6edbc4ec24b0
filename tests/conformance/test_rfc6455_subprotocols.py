"""RFC 6455 sections 4.1, 4.2.2 and 11.3.4: subprotocols that carry a credential."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.auth.sessions import WebSocketBearer
from asgi_guard.auth.sessions.offers import take_from_query, take_offered
from asgi_guard.errors import AuthenticationError
from asgi_guard.protocols import Principal, Receive, Scope, Send
from tests.support.exchange import handshake, websocket_scope
from tests.support.sessions_served import OWN, Bearer, protected

ALICE = Bearer(Principal(user_id="alice"))


def offering(*protocols: str, lines: int = 1) -> dict[str, Any]:
    """Build a handshake whose offers stand in one header line, or in as many as there are."""
    headers = [("origin", OWN)]
    if lines == 1:
        headers.append(("sec-websocket-protocol", ", ".join(protocols)))
    else:
        headers += [("sec-websocket-protocol", each) for each in protocols]
    return {**websocket_scope("/", headers, scheme="wss"), "subprotocols": list(protocols)}


def selecting(subprotocol: str | None) -> Any:
    """Build an app that accepts with *subprotocol*."""

    async def app(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        chosen = {} if subprotocol is None else {"subprotocol": subprotocol}
        await send({"type": "websocket.accept", **chosen})

    return app


@pytest.mark.parametrize(
    ("offered", "chosen", "selected"),
    [
        (("bearer", "alices.token"), None, "bearer"),
        (("bearer", "alices.token", "chat"), None, "bearer"),
        (("bearer", "alices.token", "chat"), "chat", "chat"),
        (("chat", "bearer", "alices.token"), "chat", "chat"),
        (("chat",), "chat", "chat"),
        (("chat",), None, None),
        ((), None, None),
    ],
)
async def test_section_4_2_2_what_is_selected_was_offered(
    offered: tuple[str, ...], chosen: str | None, selected: str | None
) -> None:
    """Anything else fails the connection in the client; and the token is never selected."""
    app = protected(selecting(chosen), WebSocketBearer(ALICE))

    answer = await handshake(app, offering(*offered) if offered else plain())

    assert answer.sent[0].get("subprotocol") == selected
    assert selected is None or selected in offered


def plain() -> dict[str, Any]:
    return websocket_scope("/", {"origin": OWN}, scheme="wss")


async def test_section_11_3_4_offers_may_stand_in_several_header_lines() -> None:
    """They mean the same; all of them are taken out of the scope when one was the token."""
    app = protected(selecting(None), WebSocketBearer(ALICE))
    scope = offering("bearer", "alices.token", "chat", lines=3)

    answer = await handshake(app, scope)

    assert answer.sent[0]["subprotocol"] == "bearer"
    kept = [value for name, value in scope["headers"] if name == b"sec-websocket-protocol"]
    assert kept == [b"chat"]


def test_section_4_1_an_offer_is_unique_and_a_token() -> None:
    """Item 10: unique strings of visible characters without separators."""
    for offered in (["bearer", "a", "bearer", "b"], ["bearer"], ["bearer", "a b"], ["bearer", "é"]):
        with pytest.raises(AuthenticationError):
            take_offered({"subprotocols": offered, "headers": []}, "bearer")


def test_names_are_compared_as_they_are() -> None:
    """RFC 6455 compares subprotocols case-sensitively; a near miss is another protocol."""
    for offered in (["Bearer", "a"], ["bearer.v1", "a"], []):
        scope: dict[str, Any] = {"subprotocols": list(offered), "headers": []}
        assert take_offered(scope, "bearer") is None
        assert scope["subprotocols"] == offered


@given(st.lists(st.text(max_size=20), max_size=6), st.binary(max_size=200))
def test_whatever_is_offered_it_is_a_credential_none_or_a_refusal(
    offered: list[str], query: bytes
) -> None:
    """A parser that a stranger can make raise anything else answers 500."""
    scope: dict[str, Any] = {
        "subprotocols": [*offered, "bearer", "t"],
        "headers": [],
        "query_string": query,
    }
    for take, name in ((take_offered, "bearer"), (take_from_query, "ticket")):
        try:
            found = take(scope, name)
        except AuthenticationError:
            continue
        assert found is None or name not in scope["subprotocols"]
