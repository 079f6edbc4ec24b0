"""Which pages may talk to this app from a browser: one policy, asked at three gates.

Protects a signed-in user against other people's pages. CORS (who may read), the WebSocket
handshake (who may connect) and the cross-site request check (who may write) ask the same
`OriginGate`, so that an origin trusted at one is not forgotten, or forged, at the next.
"""

from __future__ import annotations

from asgi_guard.origins.decision import OriginDecision, OriginGate
from asgi_guard.origins.dynamic import DynamicOriginPolicy
from asgi_guard.origins.finding import Finding
from asgi_guard.origins.origin import Origin, OriginWarning
from asgi_guard.origins.pattern import OriginPattern
from asgi_guard.origins.policy import Environment, OriginPolicy
from asgi_guard.origins.provider import OriginProvider, TenantOf, TenantPolicies

__all__ = [
    "DynamicOriginPolicy",
    "Environment",
    "Finding",
    "Origin",
    "OriginDecision",
    "OriginGate",
    "OriginPattern",
    "OriginPolicy",
    "OriginProvider",
    "OriginWarning",
    "TenantOf",
    "TenantPolicies",
]
