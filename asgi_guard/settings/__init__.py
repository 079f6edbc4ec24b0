"""How an app is guarded, as one checked object.

Protects against the setting that is wrong and goes unnoticed until somebody uses it: a list that
is a string, a development origin in production, a database that nobody has guarded.
"""

from __future__ import annotations

from asgi_guard._internal.proxies import TrustedProxies
from asgi_guard.settings.model import Environment, GuardSettings, Preset, StartupChecks

__all__ = ["Environment", "GuardSettings", "Preset", "StartupChecks", "TrustedProxies"]
