"""Ask a provider for one JSON object, and believe nothing about the answer but its size in hand.

Everything a hostile or broken server can send ends as one of two errors with a reason:
`UnavailableError` when it may be better later, `LoginRefusedError` when it is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from asgi_guard.auth.jose.strict_json import strict_object
from asgi_guard.auth.oidc.refusal import refuse, unavailable
from asgi_guard.errors import ConfigError, UnavailableError
from asgi_guard.protocols import Fetch, FetchResponse

__all__ = ["JSONAnswer", "ProviderClient"]

_MOST_BYTES: Final = 64 * 1024
_JSON: Final = "application/json"
_OK, _REDIRECTS, _REFUSALS, _FAULTS = 200, 300, 400, 500


class JSONAnswer(NamedTuple):
    """What came: a status of 200, or one of those that were asked for; and the object."""

    status: int
    members: dict[str, Any]


class ProviderClient:
    """HTTP to providers, bounded in time and size.

    Args:
        fetch: Sends one request; it does not follow redirects.
        seconds: Longest that one request may take, the reading of the answer included.

    Raises:
        ConfigError: *fetch* cannot be called, or there is no time.
    """

    def __init__(self, fetch: Fetch, *, seconds: float = 5.0) -> None:
        if not callable(fetch):
            raise ConfigError("OIDCLogin.fetch", "cannot be called", "Pass HTTPXFetch().")
        if not seconds > 0:
            raise ConfigError("OIDCLogin.seconds", f"is {seconds!r}", "Pass seconds above 0.")
        self.fetch = fetch
        self.seconds = seconds

    async def ask(
        self,
        method: str,
        url: str,
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        also: tuple[int, ...] = (),
    ) -> JSONAnswer:
        """Return the JSON object that *url* answers with.

        Args:
            method: HTTP method.
            url: Of the provider, from its metadata.
            what: Begins each reason, e.g. ``"discovery"``.
            headers: Further request fields, by lower-case name.
            body: Of the request.
            also: Statuses besides 200 whose body is read.

        Raises:
            UnavailableError: No answer, none in time, or the server's own fault (5xx, 429).
            LoginRefusedError: Another status, a redirect, another media type, too much, or no
                strict JSON object.
        """
        sent = {"accept": _JSON, **(headers or {})}
        answer = await self._answer(method, url, what=what, headers=sent, body=body)
        _check_status(answer.status, what, (_OK, *also))
        if len(answer.body) > _MOST_BYTES:
            refuse(f"{what}_too_large")
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        if media_type.strip().lower() != _JSON:
            refuse(f"{what}_media_type")
        members = strict_object(answer.body)
        if members is None:
            refuse(f"{what}_not_json")
        return JSONAnswer(answer.status, members)

    async def _answer(
        self, method: str, url: str, *, what: str, headers: Mapping[str, str], body: bytes
    ) -> FetchResponse:
        answer: FetchResponse | None = None
        reason = ""
        try:
            async with asyncio.timeout(self.seconds):
                answer = await self.fetch(
                    method, url, headers=headers, body=body, max_bytes=_MOST_BYTES
                )
        except TimeoutError:
            reason = f"{what}_timeout"
        except UnavailableError as failure:
            reason = f"{what}_{failure.reason}"  # a stable word, e.g. fetch_certificate_refused
        except Exception:  # noqa: BLE001 - the protocol: whatever a client raises means unreachable
            reason = f"{what}_unreachable"
        # Outside of the blocks above: a client's error quotes the request, and with it the code.
        if answer is None:
            unavailable(reason)
        return answer


def _check_status(status: int, what: str, wanted: tuple[int, ...]) -> None:
    if status in wanted:
        return
    if _REDIRECTS <= status < _REFUSALS:
        refuse(f"{what}_redirected")
    if status >= _FAULTS or status == 429:  # noqa: PLR2004 - RFC 6585 section 4
        unavailable(f"{what}_failed")
    refuse(f"{what}_status")
