"""Each header's own builder: what it lets through, and what it refuses with which remedy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import Response

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers import (
    SecurityHeadersWarning,
    StrictTransportSecurity,
    clear_site_data,
    clear_site_data_value,
    cross_origin_embedder_policy,
    cross_origin_opener_policy,
    cross_origin_resource_policy,
    origin_agent_cluster,
    permissions_policy,
    referrer_policy,
    reporting_endpoints,
    x_content_type_options,
    x_frame_options,
    x_permitted_cross_domain_policies,
    x_xss_protection,
)
from asgi_guard.security_headers.cache_control import cache_control

GOOD: list[tuple[Callable[..., str], Any, str]] = [
    (x_content_type_options.build, "nosniff", "nosniff"),
    (x_frame_options.build, "deny", "DENY"),
    (x_frame_options.build, "SAMEORIGIN", "SAMEORIGIN"),
    (referrer_policy.build, "no-referrer", "no-referrer"),
    (referrer_policy.build, ["no-referrer", "strict-origin"], "no-referrer, strict-origin"),
    (cross_origin_opener_policy.build, "same-origin-allow-popups", "same-origin-allow-popups"),
    (cross_origin_resource_policy.build, "cross-origin", "cross-origin"),
    (cross_origin_embedder_policy.build, "credentialless", "credentialless"),
    (x_permitted_cross_domain_policies.build, "none", "none"),
    (x_xss_protection.build, "0", "0"),
    (origin_agent_cluster.build, True, "?1"),
    (cache_control, "private, max-age=60", "private, max-age=60"),
    (permissions_policy.build, {"camera": []}, "camera=()"),
    (permissions_policy.build, {"fullscreen": ["*"], "usb": ["self"]}, "fullscreen=*, usb=(self)"),
    (
        permissions_policy.build,
        {"geolocation": ["self", "https://maps.example", "https://*.cdn.example:8443"]},
        'geolocation=(self "https://maps.example" "https://*.cdn.example:8443")',
    ),
    (
        permissions_policy.build,
        {"keyboard-lock": []},
        "keyboard-lock=()",
    ),  # learnt by browsers later
    (reporting_endpoints.build, {"csp": "/csp-reports"}, 'csp="/csp-reports"'),
    (
        reporting_endpoints.build,
        {"csp": "https://r.example/a?b=c", "default": "/d"},
        'csp="https://r.example/a?b=c", default="/d"',
    ),
]

BAD: list[tuple[Callable[..., str], Any, str]] = [
    (x_content_type_options.build, "sniff", "nosniff"),
    (x_frame_options.build, "ALLOW-FROM https://a.example", "frame-ancestors"),
    (x_frame_options.build, "NONE", "'DENY'"),
    (x_frame_options.build, None, "no|not"),
    (referrer_policy.build, "no-referer", "Did you mean 'no-referrer'"),
    (referrer_policy.build, [], "empty"),
    (referrer_policy.build, "origin\r\nset-cookie: a=b", "not a value"),
    (cross_origin_opener_policy.build, "same_origin", "Did you mean 'same-origin'"),
    (cross_origin_resource_policy.build, "none", "'same-origin'"),
    (cross_origin_embedder_policy.build, "require-cors", "Did you mean 'require-corp'"),
    (x_permitted_cross_domain_policies.build, "nothing", "'none'"),
    (x_xss_protection.build, "1; mode=block", "legacy-block"),
    (origin_agent_cluster.build, "?1", "Write True"),
    (cache_control, "", "non-empty"),
    (cache_control, "no-store\n", "non-empty"),
    (cache_control, "nö-store", "ASCII"),
    (permissions_policy.build, {}, "no feature"),
    (permissions_policy.build, {"geo-location": []}, "Did you mean 'geolocation'"),
    (permissions_policy.build, {"Camera": []}, "camera"),
    (permissions_policy.build, {"camera": "self"}, r"\['self'\]"),
    (permissions_policy.build, {"camera": ["'self'"]}, "Write 'self'"),
    (permissions_policy.build, {"camera": ["https://a.example/path"]}, "scheme://host"),
    (permissions_policy.build, {"camera": ['https://a.example"), usb=(*']}, "scheme://host"),
    (permissions_policy.build, {"camera": ["*", "self"]}, "neither"),
    (reporting_endpoints.build, {}, "no endpoint"),
    (reporting_endpoints.build, {"CSP": "/r"}, "lower-case"),
    (reporting_endpoints.build, {"csp": "http://r.example/"}, "https URL"),
    (reporting_endpoints.build, {"csp": "//r.example/"}, "https URL"),
    (reporting_endpoints.build, {"csp": "https://user@r.example/"}, "https URL"),
    (reporting_endpoints.build, {"csp": "https://["}, "https URL"),
    (reporting_endpoints.build, {"csp": '/r", x="'}, "https URL"),
    (reporting_endpoints.build, {"csp": "/r\r\nx: y"}, "https URL"),
]


@pytest.mark.parametrize(("build", "value", "expected"), GOOD)
def test_a_valid_value_is_sent_as_the_standard_spells_it(
    build: Callable[..., str], value: Any, expected: str
) -> None:
    """Browsers compare these texts; a near miss is no header at all."""
    assert build(value) == expected


@pytest.mark.parametrize(("build", "value", "hint"), BAD)
def test_an_invalid_value_is_refused_with_the_way_out(
    build: Callable[..., str], value: Any, hint: str
) -> None:
    """A browser would skip it in silence; the developer hears of it at start-up."""
    with pytest.raises(ConfigError, match=hint):
        build(value)


@pytest.mark.parametrize("policy", ["unsafe-url", ["no-referrer", "no-referrer-when-downgrade"]])
def test_a_referrer_policy_that_leaks_full_addresses_is_warned_about(policy: Any) -> None:
    """Password reset links end up in other people's logs this way."""
    with pytest.warns(SecurityHeadersWarning, match="full addresses"):
        referrer_policy.build(policy)


@pytest.mark.parametrize(
    ("hsts", "expected"),
    [
        (StrictTransportSecurity(), "max-age=63072000; includeSubDomains"),
        (StrictTransportSecurity(max_age=300, include_subdomains=False), "max-age=300"),
        (StrictTransportSecurity(max_age=0, include_subdomains=False), "max-age=0"),
        (StrictTransportSecurity.preloaded(), "max-age=31536000; includeSubDomains; preload"),
    ],
)
def test_hsts_is_spelled_as_rfc_6797_has_it(hsts: StrictTransportSecurity, expected: str) -> None:
    """The preload list's robot reads this text."""
    assert hsts.value() == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"preload": True, "max_age": 31_535_999},
        {"preload": True, "include_subdomains": False},
        {"max_age": -1},
        {"max_age": True},
        {"max_age": "63072000"},
        {"max_age": 10**12},
    ],
)
def test_an_hsts_promise_that_cannot_be_kept_is_refused(arguments: dict[str, Any]) -> None:
    """A preload without a year or subdomains is rejected by the list, after the deploy."""
    with pytest.raises(ConfigError, match=r"strict_transport_security\.(max_age|preload)"):
        StrictTransportSecurity(**arguments)


def test_clear_site_data_is_set_by_explicit_call_at_logout() -> None:
    """The values are quoted strings; unquoted ones do nothing (Clear Site Data section 3.1)."""
    response = Response()

    clear_site_data(response)
    assert response.headers["clear-site-data"] == '"cache", "cookies", "storage"'

    clear_site_data(response, "*")
    assert response.headers.getlist("clear-site-data") == ['"*"']
    assert clear_site_data_value("executioncontexts") == '"executionContexts"'


@pytest.mark.parametrize("types", [("cookie",), ("*", "cache"), ('"cache"',)])
def test_an_unknown_site_data_type_is_refused(types: tuple[str, ...]) -> None:
    """A logout that clears nothing looks exactly like one that does."""
    with pytest.raises(ConfigError, match="clear_site_data"):
        clear_site_data_value(*types)
