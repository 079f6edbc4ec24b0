"""Which tenant a request names: by its credential, host, header, path, or your own rule.

A resolver only reads a name. The middleware then checks the name's shape, that the credential
agrees, and that the user is an active member: nothing here grants anything.
"""

from __future__ import annotations

from asgi_guard.tenancy.resolvers.chain import ChainResolver
from asgi_guard.tenancy.resolvers.claim import ClaimResolver
from asgi_guard.tenancy.resolvers.custom import CustomResolver
from asgi_guard.tenancy.resolvers.header import HeaderResolver
from asgi_guard.tenancy.resolvers.path import PathResolver
from asgi_guard.tenancy.resolvers.protocol import TenantResolver
from asgi_guard.tenancy.resolvers.subdomain import SubdomainResolver

__all__ = [
    "ChainResolver",
    "ClaimResolver",
    "CustomResolver",
    "HeaderResolver",
    "PathResolver",
    "SubdomainResolver",
    "TenantResolver",
]
