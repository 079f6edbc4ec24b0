"""An OpenID provider and an OAuth client by others (panva), as node processes on loopback."""

from __future__ import annotations

from tests.support.node_oidc.launcher import OIDCProvider, running_oidc_provider

__all__ = ["OIDCProvider", "running_oidc_provider"]
