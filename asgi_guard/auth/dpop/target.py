"""Under which URI a request was made, as its sender must have seen it.

A server behind a proxy does not see the address that the client typed, and the ``Host`` header is
typed by whoever sends the request: a proof that was made for another server would fit here as
soon as somebody named that server in ``Host``. So scheme and host come from the configuration,
or from one's own proxies and then out of a list.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.auth.dpop.htu import canonical_authority, canonical_path, canonical_uri
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Scope

__all__ = ["RequestTarget"]

_SAFE: Final = "/!$&'()*+,;=:@~"
_REMEDY: Final = "Write e.g. 'https://api.example.com'."


class RequestTarget:
    """Tell the URI of a request, without query, in its canonical spelling.

    Args:
        base: What stands before the path as the server sees it: ``"https://api.example.com"``,
            and a path if a proxy cuts one off.
        trusted_proxies: Instead of *base*: who may name scheme and host of a request.
        hosts: With *trusted_proxies*: the names that are ours, ``"api.example.com"``, or
            ``"*.example.com"`` for all below; with the port if it is not the usual one.
        insecure_allow_http: Take ``http://``, on loopback or in tests.

    Raises:
        ConfigError: Neither or both are given, or one of them is not what it should be.
    """

    __slots__ = ("_base", "_exact", "_insecure", "_proxies", "_suffixes")

    def __init__(
        self,
        *,
        base: str | None = None,
        trusted_proxies: TrustedProxies | None = None,
        hosts: Iterable[str] = (),
        insecure_allow_http: bool = False,
    ) -> None:
        listed = _listed(hosts)
        if (base is None) is (not trusted_proxies):
            raise ConfigError("base", "and trusted_proxies: one of them is needed", _REMEDY)
        if bool(listed) is not bool(trusted_proxies):
            raise ConfigError(
                "hosts", "belongs to trusted_proxies", "List the names that are yours with it."
            )
        self._insecure = insecure_allow_http
        self._base = None if base is None else _parsed_base(base, insecure=insecure_allow_http)
        self._proxies = trusted_proxies
        self._exact = frozenset(_host(each) for each in listed if not each.startswith("*."))
        self._suffixes = tuple(f".{_host(each[2:])}" for each in listed if each.startswith("*."))

    def uri_of(self, scope: Scope) -> str | None:
        """Return the URI, also for WebSockets with ``http`` or ``https``; None if it is unclear."""
        path = canonical_path(_original_path(scope))
        if path is None:
            return None
        if self._base is not None:
            return self._base + path
        origin = self._forwarded_origin(scope)
        return None if origin is None else origin + path

    def _forwarded_origin(self, scope: Scope) -> str | None:
        proxies = self._proxies
        if proxies is None or not proxies.trusts(scope):
            return None
        scheme, host = proxies.scheme_of(scope), proxies.host_of(scope)
        if scheme is None or host is None or (scheme == "http" and not self._insecure):
            return None
        authority = canonical_authority(host, scheme=scheme)
        if authority is None or not (
            authority in self._exact or authority.endswith(self._suffixes or ("\0",))
        ):
            return None
        return f"{scheme}://{authority}"


def _original_path(scope: Scope) -> bytes:
    """Return the path as the server received it, whatever mounts have made of it since."""
    raw: bytes | None = scope.get("raw_path")
    if raw:
        return raw.partition(b"?")[0]  # some servers leave the query in it
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    if root and not (path == root or path.startswith(root + "/")):
        path = root + path  # a host that cuts its prefix off, against the ASGI specification
    return quote(path, safe=_SAFE, errors="surrogatepass").encode()


def _parsed_base(base: str, *, insecure: bool) -> str:
    uri = canonical_uri(base) if isinstance(base, str) and "?" not in base else None
    schemes = ("https://", "http://") if insecure else ("https://",)
    if uri is None or not uri.startswith(schemes) or "#" in base:
        raise ConfigError("base", f"{base!r} is no https:// address", _REMEDY)
    return uri.rstrip("/")


def _listed(hosts: Iterable[str]) -> list[str]:
    if isinstance(hosts, str):
        raise ConfigError("hosts", f"{hosts!r} is one string", f"Pass a list: [{hosts!r}].")
    listed = list(hosts)
    if not all(isinstance(each, str) for each in listed):
        raise ConfigError("hosts", "holds what is no string", "Write e.g. 'api.example.com'.")
    return listed


def _host(text: str) -> str:
    authority = canonical_authority(text, scheme="https")
    if authority is None:
        raise ConfigError("hosts", f"{text!r} is no host", "Write e.g. 'api.example.com'.")
    return authority
