"""OriginDecision, and the one door through which every gate asks: `OriginGate`."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from asgi_guard.origins.finding import Finding
from asgi_guard.protocols import Scope

__all__ = ["OriginDecision", "OriginGate"]


class OriginDecision(NamedTuple):
    """Whether pages of one origin are let in, and why.

    Args:
        allowed: The answer.
        reason: Stable code. Allowed: ``listed``, ``pattern``, ``regex``, ``any``,
            ``null_allowed``, ``provider``. Denied: ``no_origin``, ``null``, ``malformed``,
            ``not_listed``, ``tenant_unknown``, ``provider_denied``, ``provider_failed``,
            ``provider_timeout``, ``provider_busy``, ``unsafe_policy``.
        rule: What was matched, as configured; empty when nothing was.
    """

    allowed: bool
    reason: str
    rule: str = ""


@runtime_checkable
class OriginGate(Protocol):
    """What decides about origins: `OriginPolicy`, `DynamicOriginPolicy`, or your own.

    CORS, the WebSocket handshake and the cross-site request check ask the same object, so that
    an origin is never a friend at one gate and a stranger at the next.
    """

    @property
    def uniform(self) -> bool:
        """True when every origin gets the same answer, so that caches need no ``Vary``."""

    def decide_nowait(self, origin: bytes | None, scope: Scope) -> OriginDecision | None:
        """Decide without awaiting, or return None when only `decide` can tell.

        Args:
            origin: The ``Origin`` header as received; None when it was not sent.
            scope: The connection, for deciders that look at host or path.
        """

    async def decide(self, origin: bytes | None, scope: Scope) -> OriginDecision:
        """Decide; never raises for anything a caller sent, and fails closed."""

    def require_credential_safe(self, setting: str) -> None:
        """Refuse to be used where cookies come along.

        Raises:
            ConfigError: It lets in origins that anybody can have.
        """

    def lint(self) -> tuple[Finding, ...]:
        """Return what a reviewer would remark on."""
