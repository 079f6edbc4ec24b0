"""Server-side request forgery: a tenant's URL must not turn this process on its neighbours."""

from __future__ import annotations

import pytest

from asgi_guard._internal.public_addresses import AddressRules
from asgi_guard.errors import UnavailableError
from asgi_guard.integrations import httpx as integration
from asgi_guard.integrations.httpx import HTTPXFetch
from tests.support.fetch_servers import Authority, lead_names, raw_server

SECRET = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"

INNER = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # metadata of most clouds
    "100.100.100.200",  # metadata of another
    "192.0.0.192",  # of a third
    "168.63.129.16",  # a cloud's control channel, in public space
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104 - connects to loopback on Linux
    "255.255.255.255",
    "224.0.0.1",
    "198.18.0.1",
    "240.0.0.1",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2001:0:53aa:64c::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "fd00:ec2::254",
    "ff02::1",
    "2001:db8::1",
    "not an address",
    "",
]
PUBLIC = ["8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]


@pytest.mark.parametrize("address", INNER)
def test_inner_addresses_are_refused_in_every_notation(address: str) -> None:
    """The list of special addresses is longer than the one that most filters know."""
    assert not AddressRules("test").permit(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str) -> None:
    """A guard that refuses providers would be switched off; also behind NAT64 (RFC 6052)."""
    assert AddressRules("test").permit(address)


def test_a_named_network_opens_that_network_alone() -> None:
    """An inner provider must not cost the guard."""
    rules = AddressRules("test", ["10.1.0.0/16"])

    assert rules.permit("10.1.2.3")
    assert rules.permit("::ffff:10.1.2.3")
    assert not rules.permit("10.2.0.1")
    assert not rules.permit("127.0.0.1")


def _plain(**options: object) -> HTTPXFetch:
    return HTTPXFetch(insecure_allow_http=True, seconds=5, **options)  # type: ignore[arg-type]


async def _reason(fetch: HTTPXFetch, url: str) -> str:
    with pytest.raises(UnavailableError) as caught:
        await fetch("GET", url, max_bytes=100)
    return caught.value.reason


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]",
     "[::ffff:127.0.0.1]", "0", "localhost.", "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460"],
)  # fmt: skip
async def test_loopback_is_out_of_reach_however_it_is_spelled(host: str) -> None:
    """A filter on the text of a URL knows one spelling; the resolver knows a dozen."""
    async with raw_server(SECRET) as server:
        reason = await _reason(_plain(), f"http://{host}:{server.port}/latest/meta-data/")

    assert reason in {"fetch_address_refused", "fetch_url_refused", "fetch_name_unresolved"}
    assert server.connections == 0


async def test_a_name_of_the_attackers_own_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may publish a name for 127.0.0.1, alone or beside a public address."""
    lead_names(monkeypatch, in_example=[["127.0.0.1"]], two_example=[["8.8.8.8", "127.0.0.1"]])
    async with raw_server(SECRET) as server:
        reasons = [
            await _reason(_plain(), f"http://{name}:{server.port}/")
            for name in ("in.example", "two.example")
        ]

    assert reasons == ["fetch_address_refused"] * 2
    assert server.connections == 0


async def test_a_name_that_changes_its_mind_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when it is judged, loopback when it is connected to."""
    monkeypatch.setattr(integration, "AddressRules", _OnlyThisOne)
    outside = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nouter"
    async with (
        raw_server(SECRET) as inner,
        raw_server(outside, host="127.0.0.2", port=inner.port) as outer,
    ):
        asked = lead_names(monkeypatch, rebind_example=[["127.0.0.2"], ["127.0.0.1"]])
        url = f"http://rebind.example:{inner.port}/"
        answer = await _plain()("GET", url, max_bytes=100)

    assert answer.body == b"outer"
    assert (outer.connections, inner.connections) == (1, 0)
    assert asked == ["rebind.example"]
    assert f"host: rebind.example:{inner.port}" in outer.heads[0].lower()


async def test_a_redirect_inwards_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second URL of a request is the attacker's, too."""
    monkeypatch.setattr(integration, "AddressRules", _OnlyThisOne)
    lead_names(monkeypatch, out_example=[["127.0.0.2"]])
    async with raw_server(SECRET) as inner:
        moved = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{inner.port}/\r\n"
        async with raw_server(
            f"{moved}Content-Length: 0\r\n\r\n".encode(), host="127.0.0.2"
        ) as out:
            answer = await _plain()("GET", f"http://out.example:{out.port}/", max_bytes=100)

    assert answer.status == 302
    assert inner.connections == 0


async def test_a_proxy_is_not_told_an_inner_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy resolves names itself; an address in the URL is judged here all the same."""
    async with raw_server(SECRET) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        fetch = _plain(insecure_trust_env=True)
        reasons = [
            await _reason(fetch, f"http://{host}/latest/")
            for host in ("169.254.169.254", "127.1", "[::1]")
        ]

    assert reasons == ["fetch_address_refused"] * 3
    assert proxy.connections == 0


async def test_two_names_at_one_address_share_no_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Connections are pinned by address; reusing one would skip the second name's certificate."""
    authority = Authority()
    lead_names(monkeypatch, one_example=[["127.0.0.1"]], other_example=[["127.0.0.1"]])
    fetch = HTTPXFetch(ssl_context=authority.trusting(), allow_addresses=["127.0.0.1"])
    async with raw_server(SECRET, authority.serving("one.example")) as server:
        await fetch("GET", f"https://one.example:{server.port}/", max_bytes=100)
        reason = await _reason(fetch, f"https://other.example:{server.port}/")

    assert reason == "fetch_certificate_refused"


class _OnlyThisOne:
    """Rules for a machine without a public address: 127.0.0.2 stands for the internet."""

    def __init__(self, _setting: str, _allowed: object = ()) -> None:
        pass

    def permit(self, address: str) -> bool:
        return address == "127.0.0.2"
