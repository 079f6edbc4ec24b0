"""DPoPClient: requests with proofs, and once more when the server asks for its nonce."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from asgi_guard.auth.dpop.htu import canonical_uri
from asgi_guard.auth.dpop.prover import DPoPProver
from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.errors import ConfigError
from asgi_guard.protocols import Fetch, FetchResponse
from asgi_guard.secret import Secret

__all__ = ["DPoPClient"]

_BAD_REQUEST, _UNAUTHORIZED = 400, 401
_LONGEST_ANSWER: Final = 256 * 1024
_MOST_ORIGINS: Final = 256
_NONCE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,1024}")  # NQCHAR, RFC 9449 section 8.1
_ASKS: Final = "use_dpop_nonce"


class DPoPClient:
    """Send requests that are bound to a prover's key.

    Args:
        prover: Makes the proofs.
        fetch: Sends them, e.g. ``HTTPXFetch()``.

    Remembers the last nonce of each origin (RFC 9449 section 8.2). When a server refuses a
    request for its nonce, it is sent once more with a new proof; the server has not acted on the
    first one. Whatever else comes back is the caller's to judge. It follows no redirect: a proof
    is for one address.
    """

    def __init__(self, prover: DPoPProver, *, fetch: Fetch) -> None:
        self._prover = prover
        self._fetch = fetch
        self._nonces: dict[str, str] = {}

    @property
    def thumbprint(self) -> str:
        """Of the key, for ``dpop_jkt``."""
        return self._prover.thumbprint

    async def request(
        self,
        method: str,
        url: str,
        *,
        access_token: Secret | str | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        max_bytes: int = _LONGEST_ANSWER,
    ) -> FetchResponse:
        """Send one request and return the answer, whatever its status.

        Args:
            method: As it is sent.
            url: Of the token endpoint, without *access_token*, or of a resource, with it.
            access_token: Sent as ``Authorization: DPoP``.
            headers: Further ones.
            body: The whole body.
            max_bytes: Most bytes of the answer.

        Raises:
            ConfigError: *url* is no URL, or *headers* hold ``Authorization`` beside an access
                token, or ``DPoP``.
            Exception: What *fetch* raises.
        """
        _check_headers(headers or {}, has_token=access_token is not None)
        origin = _origin(url)

        async def send(nonce: str | None) -> FetchResponse:
            fields = await self._fields(method, url, headers or {}, access_token, nonce)
            return await self._fetch(method, url, headers=fields, body=body, max_bytes=max_bytes)

        known = self._nonces.get(origin)
        answer = await send(known)
        given = self._remember(origin, answer)
        if given in {None, known} or not _asks_for_nonce(answer):
            return answer
        answer = await send(given)
        self._remember(origin, answer)
        return answer

    async def _fields(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        access_token: Secret | str | None,
        nonce: str | None,
    ) -> dict[str, str]:
        proof = await self._prover.proof(method, url, access_token=access_token, nonce=nonce)
        fields = {**headers, "dpop": proof}
        if access_token is not None:
            plain = access_token.reveal() if isinstance(access_token, Secret) else access_token
            fields["authorization"] = f"DPoP {plain}"
        return fields

    def _remember(self, origin: str, answer: FetchResponse) -> str | None:
        nonce = answer.headers.get("dpop-nonce", "")
        if not _NONCE.fullmatch(nonce):
            return None
        self._nonces.pop(origin, None)
        self._nonces[origin] = nonce
        if len(self._nonces) > _MOST_ORIGINS:
            del self._nonces[next(iter(self._nonces))]
        return nonce


def _asks_for_nonce(answer: FetchResponse) -> bool:
    if answer.status == _UNAUTHORIZED:  # a resource: section 9
        challenges = answer.headers.get("www-authenticate", "").lower()
        return "dpop" in challenges.partition(_ASKS)[0] and _ASKS in challenges
    if answer.status != _BAD_REQUEST:  # the token endpoint: section 8
        return False
    return (strict_object(answer.body) or {}).get("error") == _ASKS


def _origin(url: str) -> str:
    if canonical_uri(url) is None:
        raise ConfigError("url", "is no absolute URL", "Pass 'https://api.example.com/path'.")
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def _check_headers(headers: Mapping[str, str], *, has_token: bool) -> None:
    given = {name.lower() for name in headers}
    if "dpop" in given or (has_token and "authorization" in given):
        raise ConfigError("headers", "hold DPoP or Authorization", "They are made here.")
