"""CORSAllowlistMiddleware carries the decision of a `CORSPolicy` onto ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import partial
from typing import Any, Final

from asgi_guard._internal.asgi import client_of
from asgi_guard._internal.events import emit
from asgi_guard._internal.request_id import request_id_of
from asgi_guard._internal.responses import send_problem
from asgi_guard.cors.policy import PREFLIGHT_VARY, CORSPolicy, Header
from asgi_guard.cors.preflight import read_preflight
from asgi_guard.cors.routes import PolicyChooser
from asgi_guard.errors import RejectionError, RequestInvalidError
from asgi_guard.origins import OriginDecision
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send

__all__ = ["CORSAllowlistMiddleware", "CORSDeniedError"]

_SHOWN: Final = 200


class CORSDeniedError(RejectionError):
    """A preflight asked for what the policy does not grant; the answer carries no grant at all."""

    code = "cors_denied"
    status = 403
    title = "Cross-origin request denied"

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason, headers=(PREFLIGHT_VARY,))


class CORSAllowlistMiddleware:
    """Answer preflights, and let allowed origins read the answers of *app*.

    Put it outermost, so that errors, refusals and unhandled exceptions are readable too:
    ``CORSAllowlistMiddleware(app, policy=...)`` around the whole application, or ``Guard``.
    A denied request is still served, as to any client; its answer cannot be read by the page.

    Args:
        app: The app whose answers are shared.
        policy: Who may read what.
        routes: The app's routes, for endpoints marked by `cors_policy`; found by itself in
            Starlette and FastAPI apps.

    Raises:
        ConfigError: A path rule of *policy* could never match.
    """

    def __init__(
        self, app: ASGIApp, *, policy: CORSPolicy, routes: Iterable[Any] | None = None
    ) -> None:
        self.app = app
        self._policy = policy
        self._chooser = PolicyChooser(policy, app, routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; anything but HTTP passes through untouched."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            origin, asks = _read(scope)
        except RequestInvalidError as ambiguous:
            _report(scope, b"", ambiguous.reason)
            await send_problem(scope, receive, _granting(send, self._policy, ()), ambiguous)
            return
        if asks and origin is not None and scope["method"] == "OPTIONS":
            await self._answer_preflight(scope, receive, send, origin)
            return
        single = self._chooser.single
        policy = self._policy if single else self._chooser.policy_for(scope, scope["method"])
        gate = policy.origins
        decision = gate.decide_nowait(origin, scope) or await gate.decide(origin, scope)
        grants = _grants(policy, decision, origin, scope)
        if single or not grants:
            await self.app(scope, receive, _granting(send, policy, grants))
            return
        confirmed = partial(self._chooser.confirms, scope, policy)
        await self.app(scope, receive, _granting(send, policy, grants, confirmed=confirmed))

    async def _answer_preflight(
        self, scope: Scope, receive: Receive, send: Send, origin: bytes
    ) -> None:
        asked = read_preflight(scope)
        policy = self._policy
        if not self._chooser.single:
            policy = self._chooser.policy_for(scope, (asked.method or b"").decode("latin-1"))
        gate = policy.origins
        decision = gate.decide_nowait(origin, scope) or await gate.decide(origin, scope)
        reason = policy.refusal(asked) if decision.allowed else decision.reason
        if reason:
            _report(scope, origin, reason)
            await send_problem(scope, receive, send, CORSDeniedError(reason))
            return
        headers = policy.preflight_grants(origin, asked)
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})


def _read(scope: Scope) -> tuple[bytes | None, bool]:
    """Return the Origin, and whether a preflight's question is there, in one pass.

    Raises:
        RequestInvalidError: Two Origins; which one an inner layer believes cannot be known.
    """
    origin: bytes | None = None
    asks = False
    for name, value in scope["headers"]:
        if name == b"origin":
            if origin is not None:
                raise RequestInvalidError("duplicate_origin")
            origin = value
        elif name == b"access-control-request-method":
            asks = True
    return origin, asks


def _grants(
    policy: CORSPolicy, decision: OriginDecision, origin: bytes | None, scope: Scope
) -> tuple[Header, ...]:
    """Return what goes on the answer of a request that is not a preflight."""
    if policy.origins.uniform:
        # One answer for all, so that a cache may give it to all: with or without an Origin.
        return policy.grants(b"*")
    if origin is None:
        return ()
    if decision.allowed:
        return policy.grants(origin)
    if not _is_own(scope, origin):
        _report(scope, origin, decision.reason)
    return ()


def _granting(
    send: Send,
    policy: CORSPolicy,
    grants: tuple[Header, ...],
    *,
    confirmed: Callable[[], bool] | None = None,
) -> Send:
    """Return a *send* that puts *grants* on the response, if *confirmed* when it starts."""

    def guarded_send(message: MutableMapping[str, Any]) -> Awaitable[None]:
        if message["type"] != "http.response.start":
            return send(message)
        granted = grants if confirmed is None or confirmed() else ()
        return send({**message, "headers": policy.edited(message.get("headers", ()), granted)})

    return guarded_send  # a plain def: it saves a coroutine per message


def _is_own(scope: Scope, origin: bytes) -> bool:
    """Tell whether a page merely talks to its own server: it needs no grant and is no news.

    Browsers send an Origin with every same-origin POST. Decides about the event, never a grant.
    """
    for name, value in scope["headers"]:
        if name == b"sec-fetch-site" and value == b"same-origin":
            return True
        if name == b"host" and value == origin.partition(b"://")[2]:
            return True
    return False


def _report(scope: Scope, origin: bytes, reason: str) -> None:
    emit(
        "CORS_DENIED",
        outcome="denied",
        reason=reason,
        request_id=request_id_of(scope),
        client=client_of(scope),
        details={
            "origin": origin[:_SHOWN].decode("ascii", "backslashreplace"),
            "method": scope["method"],
        },
    )
