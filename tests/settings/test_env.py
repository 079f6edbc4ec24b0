"""Plain values from the environment: a wrong one stops the start and names its variable."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_guard.errors import ConfigError
from asgi_guard.settings import GuardSettings
from asgi_guard.settings.env import read_environment
from asgi_guard.tenancy import INTEGER, ClaimResolver
from tests.support.exchange import http_scope
from tests.support.hosts_guard import KnownTokens

IDENTITY: dict[str, Any] = {"authenticators": [KnownTokens()], "resolver": ClaimResolver()}


def test_every_plain_value_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container is configured by its environment, or somebody edits the image."""
    for name, value in {
        "ENVIRONMENT": "development",
        "STARTUP_CHECKS": "monitor",
        "TENANT_SHAPE": "integer",
        "NOT_FOUND_STATUS": "403",
        "PUBLIC_PATHS": "/health, /static/*",
        "REQUEST_ID_HEADER": "x-request-id",
        "TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.1",
        "ALLOW_ORIGINS": "https://app.example.com, http://localhost:5173",
        "SECURITY_HEADERS": "html",
    }.items():
        monkeypatch.setenv(f"ASGI_GUARD_{name}", value)

    settings = GuardSettings.from_env(**IDENTITY)

    assert (settings.environment, settings.startup_checks) == ("development", "monitor")
    assert (settings.tenant_shape, settings.not_found_status) == (INTEGER, 403)
    assert settings.public_paths == ("/health", "/static/*")
    assert settings.request_id_header == "x-request-id"
    assert settings.trusted_proxies.trusts(http_scope(client=("10.1.2.3", 1)))
    assert settings.origins is not None
    friend = settings.origins.decide_nowait(b"http://localhost:5173", http_scope())
    assert friend is not None
    assert friend.allowed


def test_an_empty_environment_is_production() -> None:
    """What nobody has set must be the strict side."""
    assert read_environment({}) == {}
    assert GuardSettings().environment == "production"


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("ENVIRONMENT", "prod", "production, development, test"),
        ("ENVIRONMENT", "", "production, development, test"),
        ("STARTUP_CHECKS", "off", "enforce, monitor"),
        ("TENANT_SHAPE", "guid", "uuid, slug, integer"),
        ("NOT_FOUND_STATUS", "400", "404, 403"),
        ("TRUSTED_PROXIES", "0.0.0.0/0", "10.0.0.0/8"),
        ("TRUSTED_PROXIES", "proxy.internal", "address or a CIDR block"),
        ("ALLOW_ORIGINS", "app.example.com", "https://"),
        ("ALLOW_ORIGINS", "http://localhost:5173", ""),
        ("SECURITY_HEADERS", "strict", "api, html, docs, report_only"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(
    name: str, value: str, remedy: str
) -> None:
    """Whoever set it knows the variable, not the argument that it becomes."""
    with pytest.raises(ConfigError) as refused:
        read_environment({f"ASGI_GUARD_{name}": value})

    assert refused.value.setting == f"ASGI_GUARD_{name}"
    assert remedy in refused.value.remedy


def test_a_misspelled_name_is_refused() -> None:
    """Ignored, ``ASGI_GUARD_TRUSTED_PROXY`` would leave every address wrong and nobody told."""
    with pytest.raises(ConfigError, match=r"Did you mean ASGI_GUARD_TRUSTED_PROXIES\?"):
        read_environment({"ASGI_GUARD_TRUSTED_PROXY": "10.0.0.1"})


def test_names_of_others_are_left_alone() -> None:
    """The prefix is shared with tools around the app."""
    assert read_environment({"ASGI_GUARD_TEST_DSN": "postgresql://x", "PATH": "/bin"}) == {}


def test_what_is_given_in_code_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that the code insists on is not the environment's to change."""
    monkeypatch.setenv("ASGI_GUARD_ENVIRONMENT", "development")

    assert GuardSettings.from_env(environment="production").environment == "production"
