"""What a stranger sends for nothing must not cost memory or processor time out of proportion."""

from __future__ import annotations

import unicodedata

import pytest

from asgi_guard._internal.canonical_path import canonical_path
from asgi_guard.origins import DynamicOriginPolicy, OriginPolicy
from asgi_guard.protocols import Scope
from tests.support.exchange import http_scope

FRIEND = b"https://friend.example"


def by_host(scope: Scope) -> str | None:
    """Name the tenant as an app would, by whatever the Host header says."""
    return next((value.decode() for name, value in scope["headers"] if name == b"host"), None)


@pytest.mark.parametrize("kind", ["each origin", "each tenant"])
async def test_an_overlong_tenant_name_is_nobodys_and_is_not_kept(kind: str) -> None:
    """Ten thousand kept refusals under names of 64 kB would be 640 MB of a stranger's choosing."""
    asked: list[int] = []

    async def provider(_origin: str, scope: Scope) -> bool:
        asked.append(len(by_host(scope) or ""))
        return False

    async def policies(tenant: str) -> OriginPolicy | None:
        asked.append(len(tenant))
        return None

    source = {"provider": provider} if kind == "each origin" else {"tenant_policies": policies}
    gate = DynamicOriginPolicy(**source, tenant_of=by_host)
    flood = http_scope(host="x" * 64_000)

    decision = gate.decide_nowait(FRIEND, flood) or await gate.decide(FRIEND, flood)

    assert decision == (False, "tenant_unknown", "")
    assert asked == []
    await gate.decide(FRIEND, http_scope(host="x" * 253))
    assert asked == [253]


def test_a_path_of_unordered_accents_is_refused_without_putting_them_in_order() -> None:
    """Normalisation sorts each run of combining marks by insertion: quadratic, for one request.

    16,000 of them, 96 kB on the wire, take a quarter of a second; the half million here would
    take minutes and are refused at the second one.
    """
    accents = "/caf\u00e9" + "\u0301\u0316" * 250_000

    assert canonical_path(http_scope() | {"path": accents, "raw_path": None}) is None
    assert unicodedata.is_normalized("NFKC", "/caf\u00e9")
    assert canonical_path(http_scope() | {"path": "/caf\u00e9", "raw_path": None}) == "/caf\u00e9"
