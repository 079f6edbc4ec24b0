"""Settings of the tenancy middleware: what is wrong is found when the app is built."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.errors import ConfigError
from asgi_guard.tenancy import (
    ChainResolver,
    ClaimResolver,
    HeaderResolver,
    TenantContextMiddleware,
)
from tests.support.tenancy_guarded import ok
from tests.support.tenancy_world import ACME, Directory

CLAIM = {"resolver": ClaimResolver()}


@pytest.mark.parametrize(
    ("setting", "settings"),
    [
        ("memberships", {"resolver": HeaderResolver()}),
        ("memberships", {"resolver": ChainResolver(HeaderResolver(), ClaimResolver())}),
        ("memberships", {"resolver": lambda _scope, _principal: ACME}),
        ("memberships", {**CLAIM, "memberships": Directory}),
        ("memberships", {**CLAIM, "memberships": {}}),
        ("resolver", {"resolver": ClaimResolver}),
        ("not_found_status", {**CLAIM, "not_found_status": 200}),
        ("request_id_header", {**CLAIM, "request_id_header": "x id"}),
        ("request_id_response_header", {**CLAIM, "request_id_response_header": ""}),
        ("public_paths", {**CLAIM, "public_paths": ["/*"]}),
        ("tenant_shape", {**CLAIM, "tenant_shape": "uuid"}),
        ("operation", {**CLAIM, "operation": 7}),
    ],
)
def test_a_wrong_setting_is_found_when_the_app_is_built(
    setting: str, settings: dict[str, Any]
) -> None:
    """Above all: a resolver that believes the caller, and nobody to ask."""
    with pytest.raises(ConfigError) as caught:
        TenantContextMiddleware(ok, **settings)
    assert caught.value.setting == setting


def test_a_chain_of_claims_needs_no_memberships() -> None:
    """Each name in it comes from the credential."""
    TenantContextMiddleware(ok, resolver=ChainResolver(ClaimResolver("org"), ClaimResolver()))
