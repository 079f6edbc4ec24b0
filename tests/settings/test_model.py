"""Settings that cannot work are refused when they are written down, with the way out."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from asgi_guard.cors import CORSPolicy
from asgi_guard.errors import ConfigError
from asgi_guard.origins import OriginPolicy
from asgi_guard.security_headers import SecurityHeaders
from asgi_guard.settings import GuardSettings
from asgi_guard.stack import Guard
from asgi_guard.tenancy import ClaimResolver, HeaderResolver, TenantIdShape
from tests.support.hosts_guard import KnownTokens, Rosters, guard_settings

LOCAL = ["http://localhost:5173"]
FRIENDS = ["https://app.example.com"]


@pytest.mark.parametrize(
    ("given", "setting", "remedy"),
    [
        ({"environment": "prod"}, "environment", "'production' or 'development' or 'test'"),
        ({"startup_checks": "off"}, "startup_checks", "'enforce' or 'monitor'"),
        ({"security_headers": "strict"}, "security_headers", "api, html, docs, report_only"),
        ({"security_headers": None}, "security_headers", "pass a SecurityHeaders"),
        ({"public_paths": "/health"}, "public_paths", "['/health']"),
        ({"authenticators": KnownTokens()}, "authenticators", "Write a list"),
        ({"resolver": ClaimResolver()}, "authenticators", "Add one"),
        ({"authenticators": [KnownTokens()]}, "resolver", "ClaimResolver()"),
        ({"memberships": Rosters()}, "resolver", "ClaimResolver()"),
        ({"public_paths": ["/health"]}, "resolver", "ClaimResolver()"),
        ({"databases": ["postgresql://app@db/app"]}, "databases[0]", "guarded_engine"),
        (
            {"origins": OriginPolicy(LOCAL, environment="development")},
            "origins",
            "environment='production'",
        ),
        (
            {"cors": CORSPolicy(allow_origins=LOCAL, environment="development")},
            "cors.allow_origins",
            "environment='production'",
        ),
        (
            {
                "origins": OriginPolicy(FRIENDS),
                "cors": CORSPolicy(allow_origins=FRIENDS, allow_credentials=True),
            },
            "origins",
            "same object",
        ),
    ],
)
def test_a_contradiction_is_refused(given: dict[str, Any], setting: str, remedy: str) -> None:
    """Each would serve, and protect less than its author believes."""
    with pytest.raises(ConfigError) as refused:
        GuardSettings(**given)

    assert refused.value.setting == setting
    assert remedy in refused.value.remedy


@pytest.mark.parametrize(
    ("given", "setting"),
    [
        ({"memberships": None}, "memberships"),
        ({"resolver": HeaderResolver}, "resolver"),
        ({"tenant_shape": "guid"}, "tenant_shape"),
        ({"not_found_status": 400}, "not_found_status"),
        ({"public_paths": ["/*"]}, "public_paths"),
        ({"authenticators": [object()]}, "authenticators"),
        ({"request_id_header": "x request id"}, "request_id_header"),
    ],
)
def test_what_a_room_judges_itself_is_refused_by_the_guard(
    given: dict[str, Any], setting: str
) -> None:
    """Before there is an app, and so before there is a request."""
    with pytest.raises(ConfigError) as refused:
        Guard(guard_settings(**given))

    assert refused.value.setting == setting


def test_development_may_list_the_developers_own_machine() -> None:
    """The same settings, one word apart, and only there."""
    local = OriginPolicy(LOCAL, environment="development")

    assert GuardSettings(environment="development", origins=local).friends is local


def test_one_gate_may_be_given_to_both() -> None:
    """One origin policy, three gates."""
    gate = OriginPolicy(FRIENDS)
    cors = CORSPolicy(allow_origins=gate, allow_credentials=True)

    assert GuardSettings(origins=gate, cors=cors).friends is gate
    assert GuardSettings(cors=cors).friends is gate


def test_a_preset_is_the_header_set_of_its_name() -> None:
    """A name for those who configure by environment."""
    assert GuardSettings(security_headers="html").security_headers == SecurityHeaders.html()


def test_settings_are_frozen() -> None:
    """A setting changed after the check would be a setting that nobody checked."""
    settings = GuardSettings()

    with pytest.raises(FrozenInstanceError):
        settings.environment = "test"  # type: ignore[misc]


def test_a_shape_of_ones_own_is_a_tenant_id_shape() -> None:
    """The shape is code, not a name that might be misread."""
    shape = TenantIdShape("code", re.compile("[A-Z]{4}"), "text")

    assert Guard(guard_settings(tenant_shape=shape)).settings.tenant_shape is shape
