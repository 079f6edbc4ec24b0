"""Login on another device (RFC 8628): a short code is typed where there is a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeGuard

from asgi_guard._internal.clock import SYSTEM_CLOCK
from asgi_guard.auth.oidc.addresses import address_problem
from asgi_guard.cli.login_server import AuthorizationServer, Tokens, error_of
from asgi_guard.errors import AuthenticationError, UnavailableError
from asgi_guard.protocols import Clock

__all__ = ["Prompt", "device_login"]

Prompt = Callable[[str, str], None]
"""Shows the person an address and the code to type there."""

_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_OK: Final = 200
_INTERVAL: Final = 5.0  # section 3.2: when none is given
_SLOWER: Final = 5.0  # section 3.5
_SLOWEST: Final = 300.0
_LONGEST_CODE: Final = 64
_LONGEST_DEVICE_CODE: Final = 4096
_LARGEST: Final = 2**53  # beyond it no number of JSON is sure (RFC 7493 section 2.2)
_LONGEST_WAIT: Final = 1800.0


async def device_login(
    server: AuthorizationServer,
    *,
    client_id: str,
    scope: str,
    prompt: Prompt,
    allow_http: bool = False,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Clock = SYSTEM_CLOCK,
) -> Tokens:
    """Show a code and wait until the person has used it.

    Args:
        server: Whom to ask.
        client_id: For which client.
        scope: Separated by spaces.
        prompt: Shows address and code.
        allow_http: Take a verification address of plain http on loopback.
        wait: Sleeps.
        clock: Its ``monotonic`` ends the waiting.

    Raises:
        AuthenticationError: ``login_access_denied``, ``login_expired_token`` or another error of
            section 3.5; ``login_device_malformed``: what the server said cannot be shown.
        ConfigError: The server does not offer it.
        UnavailableError: It does not answer.
    """
    form = {"client_id": client_id, "scope": scope}
    status, answer = await server.ask("device_authorization_endpoint", form)
    if status != _OK:
        raise AuthenticationError(f"login_{error_of(answer)}")
    code, seconds, interval = _checked(answer, allow_http=allow_http)
    prompt(answer["verification_uri"], answer["user_code"])
    form = {"grant_type": _GRANT, "device_code": code, "client_id": client_id}
    ends = clock.monotonic() + seconds
    while clock.monotonic() + interval < ends:
        await wait(interval)
        try:
            return await server.tokens(form, scope=scope)
        except UnavailableError:
            interval = min(2 * interval, _SLOWEST)  # section 3.5: back off
        except AuthenticationError as refusal:
            if refusal.reason == "login_slow_down":
                interval = min(interval + _SLOWER, _SLOWEST)
            elif refusal.reason != "login_authorization_pending":
                raise
    raise AuthenticationError("login_expired_token")


def _checked(answer: dict[str, Any], *, allow_http: bool) -> tuple[str, float, float]:
    """Return code, seconds and interval; the address and the code reach the person's terminal."""
    code, user_code = answer.get("device_code"), answer.get("user_code")
    seconds, interval = answer.get("expires_in"), answer.get("interval", _INTERVAL)
    numbers = [float(each) for each in (seconds, interval) if _is_positive(each)]
    plain = isinstance(user_code, str) and user_code.isascii() and user_code.isprintable()
    if (
        not isinstance(code, str)
        or not 0 < len(code) <= _LONGEST_DEVICE_CODE
        or not plain
        or not 0 < len(str(user_code)) <= _LONGEST_CODE
        or len(numbers) != 2  # noqa: PLR2004 - both
        or address_problem(answer.get("verification_uri"), allow_http=allow_http)
    ):
        raise AuthenticationError("login_device_malformed")
    life, pause = numbers
    return code, min(life, _LONGEST_WAIT), min(max(pause, 1.0), _SLOWEST)


def _is_positive(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LARGEST
