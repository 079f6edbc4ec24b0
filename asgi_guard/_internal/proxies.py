"""Which scheme, host and client a request really had, as seen by the proxies one runs oneself.

``X-Forwarded-Proto: https`` is a claim that anybody can type. It is believed when, and only when,
the peer of the connection is on the list, and then only in the one spelling that the list's owner
says its proxies write: a proxy that sets ``X-Forwarded-Proto`` passes a caller's own
``Forwarded`` on untouched, so believing both would be believing the caller.

What cannot be known is None, never a guess: the caller of these methods treats None as not
secure, and as equal to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, Literal

from asgi_guard._internal.forwarded import (
    Hop,
    IPAddress,
    parse_address,
    parse_forwarded,
    parse_host,
    parse_proto,
)
from asgi_guard._internal.guard_marks import CLIENT
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Scope

__all__ = ["ForwardedHeader", "TrustedProxies"]

ForwardedHeader = Literal["x-forwarded", "forwarded"]

_Network = IPv4Network | IPv6Network

_SETTING: Final = "trusted_proxies"
_UNIX: Final = "unix"
_FROM_SERVER: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class TrustedProxies:
    """The reverse proxies whose word about a connection is taken.

    Args:
        networks: Addresses and CIDR blocks of the proxies, e.g. ``["10.0.0.0/8", "2001:db8::1"]``;
            ``"unix"`` stands for peers without an address, a UNIX domain socket. Empty: believe
            the server alone.
        header: The family that these proxies overwrite: ``"x-forwarded"`` for
            ``X-Forwarded-Proto``, ``-For`` and ``-Host``, ``"forwarded"`` for RFC 7239. The other
            family is ignored.
        trust_host: Believe ``X-Forwarded-Host``, or ``host=`` of ``Forwarded``, too. Off, because
            many proxies hand a caller's own ``X-Forwarded-Host`` through.

    Raises:
        ConfigError: A network does not parse, has host bits set, or covers every address.

    A server that already rewrites the scope (uvicorn's ``--proxy-headers``) has taken the decision
    before us: its ``scope["client"]`` is then no proxy, and its ``scope["scheme"]`` is used.
    """

    __slots__ = ("_header", "_networks", "_trust_host", "_trusts_address", "_trusts_unix")

    def __init__(
        self,
        networks: Iterable[str] = (),
        *,
        header: ForwardedHeader = "x-forwarded",
        trust_host: bool = False,
    ) -> None:
        if isinstance(networks, str):
            raise ConfigError(_SETTING, "is one string", f"Pass a list: [{networks!r}].")
        if header not in {"x-forwarded", "forwarded"}:
            raise ConfigError(
                "trusted_proxies.header",
                f"{header!r} is no header family",
                "Write 'x-forwarded' or 'forwarded'.",
            )
        listed = list(networks)
        self._networks = tuple(_network(text) for text in listed if text != _UNIX)
        self._trusts_unix = _UNIX in listed
        self._header = header
        self._trust_host = trust_host
        self._trusts_address = lru_cache(maxsize=1024)(self._is_listed)

    def __bool__(self) -> bool:
        """Tell whether any proxy is trusted at all."""
        return bool(self._networks) or self._trusts_unix

    def trusts(self, scope: Scope) -> bool:
        """Tell whether the peer of this connection is a proxy on the list."""
        client = scope.get("client")
        if client is None or not client[0]:
            return self._trusts_unix
        return bool(self._networks) and self._trusts_address(client[0])

    def scheme_of(self, scope: Scope) -> str | None:
        """Return ``"http"`` or ``"https"``, also for WebSockets; None if it cannot be known.

        Without a forwarded scheme from a trusted peer it is the server's own ``scope["scheme"]``.
        A forwarded scheme that was sent twice, as a list, or in no known spelling is None.
        """
        if not self.trusts(scope):
            return _FROM_SERVER.get(scope.get("scheme", "http"))
        claimed = self._claimed(scope, "proto")
        if not claimed:
            return _FROM_SERVER.get(scope.get("scheme", "http"))
        return parse_proto(claimed[0]) if len(claimed) == 1 else None

    def is_https(self, scope: Scope) -> bool:
        """Tell whether the request is known to have come over https."""
        return self.scheme_of(scope) == "https"

    def host_of(self, scope: Scope) -> str | None:
        """Return the ``host[:port]`` that the browser addressed, lower-case; None if unclear.

        None when there is no ``Host``, when it was sent twice, or is no host at all.
        """
        named = _values(scope, b"host")
        if self._trust_host and self.trusts(scope):
            named = self._claimed(scope, "host") or named
        return parse_host(named[0]) if len(named) == 1 else None

    def client_of(self, scope: Scope) -> str | None:
        """Return the IP address of the nearest client that is not one of our proxies.

        A guard around us has decided already, and its word is taken: two answers about one
        request would count one caller as two, or two as one.

        Read from the right: each proxy appends whom it saw, so everything left of the first
        stranger was written by that stranger. None for a socket without an address that no
        proxy explains, and for a chain that is broken or hides the client.
        """
        if CLIENT in scope:
            decided: str | None = scope[CLIENT]
            return decided
        if not self.trusts(scope):
            client = scope.get("client")
            return str(client[0]) if client is not None and client[0] else None
        if self._header == "forwarded":
            hops = self._hops(scope)
            seen = None if not hops else hops[0].client
            address = parse_address(seen) if seen else None
            return str(address) if address else None
        chain = ",".join(_values(scope, b"x-forwarded-for"))
        return self._nearest_stranger(chain.split(",") if chain else [])

    def _claimed(self, scope: Scope, what: Literal["proto", "host"]) -> list[str]:
        """Return the forwarded claims; one that is malformed is an empty string, never absent."""
        if self._header == "x-forwarded":
            return _values(scope, b"x-forwarded-" + what.encode())
        hops = self._hops(scope)
        if hops is None:
            return [""]
        claim = (hops[0].proto if what == "proto" else hops[0].host) if hops else None
        return [] if claim is None else [claim]

    def _nearest_stranger(self, chain: list[str]) -> str | None:
        address: IPAddress | None = None
        for node in reversed(chain):
            address = parse_address(node)
            if address is None or not self._trusts_address(str(address)):
                break
        return str(address) if address else None

    def _hops(self, scope: Scope) -> list[Hop] | None:
        """Return the hops our own proxies wrote, farthest first; [] if none, None if malformed."""
        lines = _values(scope, b"forwarded")
        if not lines:
            return []
        hops = parse_forwarded(", ".join(lines))
        if hops is None:
            return None
        first = len(hops) - 1
        while first > 0 and self._is_own(hops[first].client):
            first -= 1
        return hops[first:]

    def _is_own(self, node: str | None) -> bool:
        address = parse_address(node) if node else None
        return address is not None and self._trusts_address(str(address))

    def _is_listed(self, host: str) -> bool:
        address = parse_address(host)
        return address is not None and any(address in network for network in self._networks)


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _network(text: str) -> _Network:
    try:
        network = ip_network(text)
    except ValueError as problem:
        raise ConfigError(
            _SETTING, f"{text!r} is no network: {problem}", "Write an address or a CIDR block."
        ) from problem
    if network.prefixlen == 0:
        raise ConfigError(
            _SETTING,
            f"{text!r} trusts every address, so any caller could forge its scheme and address",
            "List the addresses your proxy connects from, e.g. '10.0.0.0/8'.",
        )
    return network
