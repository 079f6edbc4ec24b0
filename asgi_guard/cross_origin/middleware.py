"""CrossOriginMiddleware carries the decision of a `CrossOriginPolicy` onto ASGI."""

from __future__ import annotations

from typing import Final

from asgi_guard._internal.asgi import HeaderList, add_vary, on_response_start
from asgi_guard._internal.events import emit
from asgi_guard._internal.guard_marks import CROSS_ORIGIN
from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard._internal.request_id import request_id_of
from asgi_guard._internal.responses import send_problem
from asgi_guard.cross_origin.evidence import Evidence, own_origins, read_evidence
from asgi_guard.cross_origin.policy import CrossOriginPolicy, Decision, Verdict
from asgi_guard.errors import CrossOriginError
from asgi_guard.origins import OriginGate
from asgi_guard.protocols import ASGIApp, Receive, Scope, Send

__all__ = ["CrossOriginMiddleware"]

# The answer depends on these, so a cache must not hand what a same-origin page was given to a
# stranger's page (RFC 9110 section 12.5.5).
_VARY: Final = (b"Origin", b"Sec-Fetch-Site", b"Sec-Fetch-Mode", b"Sec-Fetch-Dest")
_VARY_LINE: Final = (b"vary", b", ".join(_VARY))
_SHOWN: Final = 200


class CrossOriginMiddleware:
    """Refuse what another site's page does in its visitor's name.

    Args:
        app: The app to protect.
        policy: Which requests are served; the default refuses every stranger.
        origins: Friends: the same gate that CORS asks. None: the app's own pages alone.
        proxies: Whose ``X-Forwarded-*`` or ``Forwarded`` is believed when the app's own scheme
            and host are worked out.

    Raises:
        ConfigError: *origins* lets in origins that anybody can have.

    A refusal is a 403 with the code ``cross_origin_refused``, and an event
    ``CROSS_ORIGIN_REFUSED`` with the reason. A WebSocket is refused before it is accepted.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        policy: CrossOriginPolicy | None = None,
        origins: OriginGate | None = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        if origins is not None:
            origins.require_credential_safe("cross_origin.origins")
        self.app = app
        self._policy = policy or CrossOriginPolicy()
        self._origins = origins
        self._proxies = proxies or TrustedProxies()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; anything but HTTP and WebSocket passes through untouched."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        scope[CROSS_ORIGIN] = False
        if self._policy.is_exempt(scope):
            await self.app(scope, receive, send)
            return
        seen = read_evidence(scope)
        decision = await self._decide(seen, scope)
        if scope["type"] == "http":
            send = on_response_start(send, _vary)
        if decision.verdict is Verdict.ALLOW:
            scope[CROSS_ORIGIN] = True
            await self.app(scope, receive, send)
            return
        self._report(seen, decision, scope)
        await send_problem(scope, receive, send, CrossOriginError(decision.reason))

    async def _decide(self, seen: Evidence, scope: Scope) -> Decision:
        """Return a decision whose verdict is final: ALLOW or REFUSE."""
        if scope["type"] == "websocket":
            decision = self._policy.judge_handshake(seen, own_origins=self._own(seen, scope))
        elif seen.site is None:
            decision = self._policy.judge_request(seen, own_origins=self._own(seen, scope))
        else:
            decision = self._policy.judge_request(seen)
        if decision.verdict is not Verdict.LISTED_ONLY:
            return decision
        if self._origins is None:
            return Decision(Verdict.REFUSE, decision.reason)
        answer = self._origins.decide_nowait(seen.origin, scope)
        if answer is None:
            answer = await self._origins.decide(seen.origin, scope)
        if answer.allowed:
            return Decision(Verdict.ALLOW, answer.reason)
        return Decision(Verdict.REFUSE, decision.reason)

    def _own(self, seen: Evidence, scope: Scope) -> tuple[bytes, ...]:
        if seen.origin is None:
            return ()
        return own_origins(self._proxies.scheme_of(scope), self._proxies.host_of(scope))

    def _report(self, seen: Evidence, decision: Decision, scope: Scope) -> None:
        emit(
            "CROSS_ORIGIN_REFUSED",
            outcome="denied",
            reason=decision.reason,
            request_id=request_id_of(scope),
            client=self._proxies.client_of(scope),
            details={
                "connection": scope["type"],
                "method": seen.method,
                "origin": _shown(seen.origin),
                "fetch_site": _shown(seen.site),
                "fetch_mode": _shown(seen.mode),
                "fetch_dest": _shown(seen.dest),
            },
        )


def _vary(headers: HeaderList) -> None:
    for name, _ in headers:
        if name == b"vary":
            break
    else:
        headers.append(_VARY_LINE)
        return
    for field in _VARY:
        add_vary(headers, field)


def _shown(value: bytes | None) -> str | None:
    """Return a header value as an event may carry it: bounded, and in printable ASCII."""
    return None if value is None else ascii(value[:_SHOWN].decode("latin-1"))[1:-1]
