"""Which addresses a server of ours may be sent to by somebody else's URL.

A URL that a tenant may enter is a way to make this process speak to whatever it can reach: the
cloud's metadata service, the database, an admin page on loopback (OWASP Server-Side Request
Forgery Prevention Cheat Sheet). Judge the address that will be connected to, never the spelling
of the host: ``2130706433``, ``127.1`` and a name of one's own all lead to loopback.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from asgi_guard.errors import ConfigError

__all__ = ["AddressRules"]

_Address = IPv4Address | IPv6Address
_Network = IPv4Network | IPv6Network

# Python's own tables lack these (IANA special-purpose registries; addresses of cloud services).
_NOT_PUBLIC: Final = tuple(
    ip_network(each)
    for each in (
        "192.0.0.0/24",  # IETF protocol assignments; 192.0.0.192 is a metadata service
        "192.88.99.0/24",  # 6to4 relays, withdrawn (RFC 7526)
        "168.63.129.16/32",  # a cloud's own control channel, in public space
        "3fff::/20",  # documentation (RFC 9637)
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")  # all that IANA has handed out
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_NAT64: Final = IPv6Network("64:ff9b::/96")


class AddressRules:
    """Public unicast addresses, and the networks that are named besides.

    Args:
        setting: Name of the option, for messages.
        allowed: Networks that may be reached although they are not public, e.g.
            ``["10.1.0.0/16"]``.

    Raises:
        ConfigError: One is no network.
    """

    __slots__ = ("_allowed",)

    def __init__(self, setting: str, allowed: Iterable[str] = ()) -> None:
        if isinstance(allowed, str):
            raise ConfigError(setting, "is one text", 'Pass a list, e.g. ["10.1.0.0/16"].')
        try:
            self._allowed = tuple(ip_network(each) for each in allowed)
        except ValueError as problem:
            raise ConfigError(setting, str(problem), 'Pass e.g. ["10.1.0.0/16"].') from None

    def permit(self, address: str) -> bool:
        """Tell whether *address*, as the resolver wrote it, may be connected to.

        An IPv6 address that carries an IPv4 one (mapped, 6to4, NAT64) is judged by both: whoever
        routes it may unpack it.
        """
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return all(self._permits(each) for each in _meanings(parsed))

    def _permits(self, address: _Address) -> bool:
        return _is_public(address) or any(_holds(network, address) for network in self._allowed)


def _meanings(address: _Address) -> Iterator[_Address]:
    if not isinstance(address, IPv6Address):
        yield address
        return
    if address.ipv4_mapped is not None:  # the kernel connects to the IPv4 address itself
        yield address.ipv4_mapped
        return
    if address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)  # all that the prefix stands for (RFC 6052)
        return
    yield address
    if address in _SIX_TO_FOUR and address.sixtofour is not None:
        yield address.sixtofour


def _is_public(address: _Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return False
    if address.is_multicast or not address.is_global:
        return False
    return not any(_holds(network, address) for network in _NOT_PUBLIC)


def _holds(network: _Network, address: _Address) -> bool:
    return network.version == address.version and address in network
