"""Tenants by host name, and providers that know their origins, for the origin tests."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from asgi_guard.origins import OriginPolicy
from asgi_guard.protocols import Scope

__all__ = ["Answers", "HandClock", "Policies", "addressed_to", "tenant_of"]


class HandClock:
    """A clock that a test moves by hand."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time


def addressed_to(tenant: str | None) -> dict[str, Any]:
    """Return a scope whose host names *tenant*."""
    host = "api.example" if tenant is None else f"{tenant}.api.example"
    return {"type": "http", "path": "/", "headers": [(b"host", host.encode())]}


def tenant_of(scope: Scope) -> str | None:
    """Name the tenant by the first label of the host."""
    host: str = dict(scope["headers"])[b"host"].decode()
    return host.removesuffix(".api.example") if host.endswith(".api.example") else None


class Answers:
    """An `OriginProvider` over a table of (tenant, origin); counts, and waits when told to."""

    def __init__(self, *allowed: tuple[str | None, str], pauses: int = 0) -> None:
        self.allowed = set(allowed)
        self.asked: Counter[tuple[str | None, str]] = Counter()
        self.arrived: asyncio.Queue[str] = asyncio.Queue()
        self.pauses = pauses
        self.gate: asyncio.Event | None = None

    async def __call__(self, origin: str, scope: Scope) -> bool:
        key = (tenant_of(scope), origin)
        self.asked[key] += 1
        self.arrived.put_nowait(origin)
        for _ in range(self.pauses):
            await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate.wait()
        return key in self.allowed


class Policies:
    """A `TenantPolicies` over a dictionary; counts how often each tenant was asked for."""

    def __init__(self, by_tenant: dict[str, OriginPolicy], *, pauses: int = 0) -> None:
        self.by_tenant = by_tenant
        self.asked: Counter[str] = Counter()
        self.pauses = pauses

    async def __call__(self, tenant: str) -> OriginPolicy | None:
        self.asked[tenant] += 1
        for _ in range(self.pauses):
            await asyncio.sleep(0)
        return self.by_tenant.get(tenant)
