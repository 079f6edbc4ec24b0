"""A CORS policy that is unsafe or could never work does not start."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from asgi_guard.cors import CORSAllowlistMiddleware, CORSPolicy
from asgi_guard.errors import ConfigError
from asgi_guard.origins import OriginPolicy
from tests.support.cors_client import hello

APP = "https://app.example.com"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"allow_origins": ["*"], "allow_credentials": True}, "List the origins"),
        ({"allow_origins": ["https://*.com"], "allow_credentials": True}, "public suffix"),
        ({"allow_origins": ["https://*.github.io"], "allow_credentials": True}, "public suffix"),
        (
            {"allow_origins": OriginPolicy([APP], allow_null=True), "allow_credentials": True},
            "allow_null",
        ),
        (
            {
                "allow_origins": OriginPolicy([], allow_origin_regex="https://.*"),
                "allow_credentials": True,
            },
            "allow_origin_regex lets in",
        ),
        ({"allow_origins": APP}, "Write a list"),
        ({"allow_origins": ["http://localhost:5173"]}, "environment='development'"),
        ({"allow_origins": ["app.example.com"]}, "Write 'https://app.example.com'"),
        ({"allow_methods": "GET"}, "Write a list"),
        ({"allow_methods": ["get"]}, "Write 'GET'"),
        ({"allow_methods": ["GET,POST"]}, "not a token"),
        ({"allow_methods": ["GET POST"]}, "not a token"),
        ({"allow_methods": [""]}, "not a token"),
        ({"allow_methods": [b"GET"]}, "not a token"),
        ({"allow_methods": ["TRACE"]}, "cannot be sent by a page"),
        ({"allow_methods": ["CONNECT"]}, "cannot be sent by a page"),
        ({"allow_methods": ["*", "GET"]}, "Keep '[*]' alone"),
        ({"allow_methods": ["*"], "allow_credentials": True}, "literal name"),
        ({"allow_headers": "X-One"}, "Write a list"),
        ({"allow_headers": ["X One"]}, "not a token"),
        ({"allow_headers": ["X-One:"]}, "not a token"),
        ({"allow_headers": ["X-One\r\n"]}, "not a token"),
        ({"allow_headers": ["X-\u00dc"]}, "not a token"),
        ({"allow_headers": ["*"], "allow_credentials": True}, "literal name"),
        ({"expose_headers": "X-One"}, "Write a list"),
        ({"expose_headers": ["X-One, X-Two"]}, "not a token"),
        ({"expose_headers": ["*"], "allow_credentials": True}, "literal name"),
        ({"expose_headers": ["Set-Cookie"]}, "never readable"),
        ({"max_age": -1}, "0 to 86400"),
        ({"max_age": 86401}, "0 to 86400"),
        ({"max_age": 600.0}, "0 to 86400"),
        ({"max_age": "600"}, "0 to 86400"),
        ({"max_age": True}, "0 to 86400"),
        ({"routes": {"/a": object()}}, "without routes"),
        ({"routes": {"/a": CORSPolicy(routes={"/b": CORSPolicy()})}}, "without routes"),
    ],
    ids=lambda value: re.sub(" at 0x.*", "", repr(value)[:60]),
)
def test_an_unsafe_or_useless_setting_is_refused_when_built(
    settings: dict[str, Any], told: str
) -> None:
    """At start-up there is a developer to read the remedy; in production there is not."""
    with pytest.raises(ConfigError, match=told):
        CORSPolicy(**settings)


@pytest.mark.parametrize("max_age", [0, 1, 86400])
def test_the_whole_range_of_max_age_is_accepted(max_age: int) -> None:
    """The ends of a range are where checks go wrong."""
    assert CORSPolicy(max_age=max_age).max_age == max_age


@pytest.mark.parametrize("rule", ["public", "/a/../b", "/a//b", "/a%2fb", "/a/*/b"])
def test_a_path_rule_that_could_never_match_is_refused(rule: str) -> None:
    """Its author would believe in a policy that never holds."""
    policy = CORSPolicy(routes={rule: CORSPolicy()})
    with pytest.raises(ConfigError, match=r"cors\.routes"):
        CORSAllowlistMiddleware(hello, policy=policy)


def test_a_policy_cannot_be_changed_after_its_checks() -> None:
    """Neither by assignment nor through the lists it was built from."""
    origins, routes = [APP], {"/a": CORSPolicy()}
    policy = CORSPolicy(allow_origins=origins, routes=routes)
    with pytest.raises(FrozenInstanceError):
        policy.allow_credentials = True  # type: ignore[misc]
    origins.append("https://evil.example")
    routes.clear()
    assert policy.allow_origins == (APP,)
    assert list(policy.routes) == ["/a"]
    assert hash(policy) == hash(CORSPolicy(allow_origins=[APP], routes={"/a": CORSPolicy()}))


def test_development_may_list_its_own_server() -> None:
    """The check is on where the list is used, not on the list for ever."""
    policy = CORSPolicy(allow_origins=["http://localhost:5173"], environment="development")
    assert policy.origins.decide_nowait(b"http://localhost:5173", {}) is not None
