"""HTTPXFetch: requests to other servers through HTTPX, which a hostile URL cannot turn inwards.

::

    keys = RemoteKeys("https://id.example/jwks.json", fetch=HTTPXFetch())

Addresses of JWKS documents and OpenID providers are configuration, and in many apps the
configuration of a tenant. So a host is resolved here, each address is judged, and the connection
goes to the address that was judged: a name that answers differently the second time (DNS
rebinding) gains nothing. Needs the ``oidc`` extra.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from importlib import import_module
from typing import Any, Final, NamedTuple, NoReturn

from asgi_guard._internal.extras import require_extra
from asgi_guard._internal.pools import BoundedPool
from asgi_guard._internal.public_addresses import AddressRules
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.protocols import FetchResponse

require_extra("httpx2", feature=__name__, extra="oidc")

import httpx2  # noqa: E402 - a missing extra is named first

# HTTPX imports these when a request is made first: 100 ms on the event loop, as measured by
# benchmarks/loop_lag.py. Should their names change, it is that lag again and nothing else.
for _late in ("httpcore2", "anyio.lowlevel", "anyio.streams.tls", "anyio._backends._asyncio"):
    with suppress(ImportError):
        import_module(_late)

__all__ = ["HTTPXFetch"]

# Not the loop's own executor: names that never resolve would take the app's threads.
_RESOLVERS: Final = BoundedPool("fetch-names", workers=4, queue=64, full="fetch_resolvers_busy")
_PLAIN: Final = ("", "identity")
_PORTS: Final = {"https": 443, "http": 80}
_PORTS_END: Final = 65536


class HTTPXFetch:
    """The `Fetch` of most apps: one request, one connection, one answer.

    Args:
        seconds: Longest that a request may take, from the look-up of the name to the last byte;
            a caller may cancel earlier.
        allow_addresses: Networks that may be reached although they are not public, e.g.
            ``["10.1.0.0/16"]`` for a provider inside.
        ssl_context: Whom to trust, and with which client certificate. It must verify
            certificates and names. By default the system's authorities.
        insecure_allow_http: Take ``http://`` addresses too: anybody on the way may then answer.
        insecure_trust_env: Obey ``HTTPS_PROXY`` and its kin. A proxy resolves names itself, so
            it must refuse inner addresses itself; only hosts spelled as an address are judged.

    Raises:
        ConfigError: An option is not what it should be.

    Redirects are not followed: the answer has its 3xx status. Compressed answers are neither
    asked for nor taken. Nothing is kept from one request to the next, neither connections nor
    cookies, so one object serves all tenants, and any number of event loops.
    """

    def __init__(
        self,
        *,
        seconds: float = 10.0,
        allow_addresses: Iterable[str] = (),
        ssl_context: ssl.SSLContext | None = None,
        insecure_allow_http: bool = False,
        insecure_trust_env: bool = False,
    ) -> None:
        if not seconds > 0:
            raise ConfigError("HTTPXFetch.seconds", f"is {seconds!r}", "Pass more than 0.")
        self._seconds = seconds
        self._rules = AddressRules("HTTPXFetch.allow_addresses", allow_addresses)
        # Once: reading the system's authorities takes tens of milliseconds.
        self._tls = _verifying(ssl_context) if ssl_context else httpx2.create_ssl_context()
        self._schemes = ("https", "http") if insecure_allow_http else ("https",)
        self._trust_env = insecure_trust_env

    async def __call__(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        max_bytes: int,
    ) -> FetchResponse:
        """Send a request and return the answer, whatever its status.

        Args:
            method: As sent.
            url: Absolute, without user and password.
            headers: Fields to send; ``Host`` and ``Accept-Encoding`` are set here.
            body: Sent if it is not empty.
            max_bytes: Most that the answer's body may have.

        Returns:
            The status, the fields by lower-case name, the body.

        Raises:
            UnavailableError: There is no answer. ``reason`` says why (``fetch_...``), a note
                names the host.
        """
        ask = _Ask(method, self._parsed(url), _fields(headers), body, max_bytes)
        try:
            async with asyncio.timeout(self._seconds):
                return await self._answer(ask)
        except TimeoutError as late:
            _fail("fetch_timed_out", ask.url, f"no answer in {self._seconds:g} seconds", late)
        except httpx2.TimeoutException as late:
            _fail("fetch_timed_out", ask.url, "takes no connection in time", late)
        except httpx2.ConnectError as failure:
            _fail(*_explained(failure, ask.url), failure)
        except (httpx2.HTTPError, httpx2.InvalidURL) as failure:
            _fail("fetch_protocol_error", ask.url, f"broke off: {type(failure).__name__}", failure)

    def _parsed(self, url: str) -> httpx2.URL:
        try:
            target = httpx2.URL(url)
        except (httpx2.InvalidURL, TypeError, ValueError) as bad:
            raise UnavailableError("fetch_url_refused") from bad
        if target.scheme not in self._schemes or not target.host or target.userinfo:
            _fail("fetch_url_refused", target, f"needs {' or '.join(self._schemes)}, no password")
        if target.port is not None and not 0 < target.port < _PORTS_END:
            _fail("fetch_url_refused", target, f"there is no port {target.port}")
        return target

    async def _answer(self, ask: _Ask) -> FetchResponse:
        *others, last = addresses = await self._addresses(ask.url)
        # An address that swallows packets must leave time for the next one.
        patience = httpx2.Timeout(self._seconds, connect=self._seconds / len(addresses))
        for address in others:
            # Nothing was sent where no connection was made, so the next may be tried.
            with suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                return await self._exchange(ask, address, patience)
        return await self._exchange(ask, last, patience)

    async def _exchange(self, ask: _Ask, address: str, patience: httpx2.Timeout) -> FetchResponse:
        # A client for each request: kept connections are found by address, and what was verified
        # as one host's must not carry the request of another that shares it.
        async with (
            _closing_sockets() as trace,
            httpx2.AsyncClient(
                verify=self._tls, trust_env=self._trust_env, timeout=patience
            ) as client,
        ):
            request = client.build_request(
                ask.method,
                ask.url.copy_with(host=address),
                headers={**ask.fields, "host": ask.url.netloc.decode("ascii")},
                content=ask.body or None,
                # The certificate is the name's, whatever its address.
                extensions={"sni_hostname": ask.url.raw_host.decode("ascii"), "trace": trace},
            )
            response = await client.send(request, stream=True, follow_redirects=False)
            content = await _read(response, ask)
        found = {name.lower(): value for name, value in response.headers.items()}
        return FetchResponse(status=response.status_code, headers=found, body=content)

    async def _addresses(self, target: httpx2.URL) -> list[str]:
        host, port = target.raw_host.decode("ascii"), target.port or _PORTS[target.scheme]
        if self._trust_env:
            if _is_address(host) and not self._rules.permit(host):
                _fail("fetch_address_refused", target, "its address is not public")
            return [host]
        look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        try:
            found = await _RESOLVERS.run(look_up)
        except (OSError, UnicodeError) as unknown:
            _fail("fetch_name_unresolved", target, "the name has no address", unknown)
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        # One inner address is enough to refuse: a name with both kinds has no honest reason.
        if not all(self._rules.permit(each) for each in addresses):
            _fail("fetch_address_refused", target, "an address of it is not public")
        return addresses


class _Ask(NamedTuple):
    """One request, as the caller meant it."""

    method: str
    url: httpx2.URL
    fields: dict[str, str]
    body: bytes
    max_bytes: int


def _fields(headers: Mapping[str, str] | None) -> dict[str, str]:
    given = {name.lower(): value for name, value in (headers or {}).items()}
    return {"accept": "*/*", **given, "accept-encoding": "identity"}


@asynccontextmanager
async def _closing_sockets() -> AsyncIterator[Callable[[str, Mapping[str, Any]], Awaitable[None]]]:
    """Close what was connected, also when a cancellation struck between TCP and TLS.

    HTTPX forgets that socket and leaves it to the garbage collector.
    """
    streams: list[Any] = []

    async def note(event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            streams.append(info["return_value"])

    try:
        yield note
    finally:
        for stream in streams:
            await stream.aclose()


def _verifying(context: ssl.SSLContext) -> ssl.SSLContext:
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise ConfigError(
            "HTTPXFetch.ssl_context",
            "does not verify certificates and names",
            "Use ssl.create_default_context(cafile=...) for an authority of your own.",
        )
    return context


async def _read(response: httpx2.Response, ask: _Ask) -> bytes:
    if response.headers.get("content-encoding", "").strip().lower() not in _PLAIN:
        # A few kilobytes may unpack to gigabytes; and nobody asked for it.
        _fail("fetch_encoded", ask.url, "answers compressed, which was not asked for")
    content = bytearray()
    async for piece in response.aiter_raw():
        content += piece
        if len(content) > ask.max_bytes:
            _fail("fetch_too_large", ask.url, f"answers more than {ask.max_bytes} bytes")
    return bytes(content)


def _is_address(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return False
    return True


def _explained(failure: httpx2.ConnectError, target: httpx2.URL) -> tuple[str, httpx2.URL, str]:
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "fetch_certificate_refused", target, cause.verify_message
        if isinstance(cause, ssl.SSLError):
            return "fetch_tls_failed", target, f"TLS: {cause.reason}"
        cause = cause.__cause__ or cause.__context__
    return "fetch_unreachable", target, "takes no connection"


def _fail(
    reason: str, target: httpx2.URL, problem: str, cause: BaseException | None = None
) -> NoReturn:
    error = UnavailableError(reason)
    # The host alone: path and query of an address may hold what only its owner should know.
    error.add_note(f"{target.host}: {problem}")
    raise error from cause
