"""The policy lets in what it lists, in the spelling browsers use, and nothing that resembles it."""

from __future__ import annotations

import sys
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_guard.errors import ConfigError
from asgi_guard.origins import Origin, OriginGate, OriginPolicy, public_suffix
from asgi_guard.origins.expression import compile_expression, stranger_let_in

APP = OriginPolicy(["https://app.example.com", "https://*.tenants.example.com"])


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com.evil.example",
        "https://app.example.com.",
        "https://evilapp.example.com",
        "https://app.example.comevil.example",
        "https://app.example.com@evil.example",
        "https://app.example.com:443",
        "https://app.example.com:8443",
        "https://app.example.com/",
        "http://app.example.com",
        "HTTPS://app.example.com",
        "https://APP.example.com",
        "https://app.example.com ",
        " https://app.example.com",
        "https://app.example.com\r\nX: y",
        "https://app.example.com\x00",
        "https://app.example.com,https://evil.example",
        "https://app.example.com https://evil.example",
        "https://app_example.com",
        "https://tenants.example.com",
        "https://eviltenants.example.com",
        "https://x.eviltenants.example.com",
        "https://a.b.tenants.example.com",
        "https://.tenants.example.com",
        "https://*.tenants.example.com",
        "http://acme.tenants.example.com",
        "https://acme.tenants.example.com:8443",
        "https://acme.tenants.example.com.evil.example",
        "https://evil.example/.tenants.example.com",
        "https://evil.example#.tenants.example.com",
        "https://evil.example{.tenants.example.com",
        "https://evil%2e.tenants.example.com",
        "https://ACME.tenants.example.com",
        "https://ac\u00fcme.tenants.example.com",
        "app.example.com",
        "null",
        "",
        "*",
        "https://",
        "://",
        ".",
    ],
)
def test_what_resembles_a_friend_is_a_stranger(origin: str) -> None:
    """Each of these was let in by some framework's string comparison or expression."""
    assert not APP.allows(origin)
    assert not APP.allows(origin.encode("utf-8"))


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com",
        "https://acme.tenants.example.com",
        "https://x_1-y.tenants.example.com",
    ],
)
def test_friends_are_let_in(origin: str) -> None:
    """Exact entries, and one label under a pattern."""
    assert APP.allows(origin)


@settings(deadline=None)
@given(
    st.binary(max_size=80) | st.builds(lambda tail: b"https://app.example.com" + tail, st.binary())
)
def test_no_bytes_but_the_listed_ones_pass(origin: bytes) -> None:
    """The header is the attacker's to write."""
    policy = OriginPolicy(["https://app.example.com"])
    assert policy.allows(origin) == (origin == b"https://app.example.com")


def test_a_lone_surrogate_is_just_another_stranger() -> None:
    """A decoded header may hold one; deciding must not raise."""
    assert not APP.allows("https://\ud800.example")


def test_an_absurdly_long_origin_is_refused_without_being_searched() -> None:
    """Bounded work per request, whatever is sent."""
    policy = OriginPolicy(["https://*.example.com"], allow_origin_regex=r"https://a+\.example\.org")
    assert policy.decision(b"https://" + b"a" * 100_000 + b".example.org").reason == "malformed"


@pytest.mark.parametrize(
    ("origin", "reason", "rule"),
    [
        (b"https://app.example.com", "listed", "https://app.example.com"),
        (b"https://a.tenants.example.com", "pattern", "https://*.tenants.example.com"),
        (b"https://evil.example", "not_listed", ""),
        (b"https://EVIL", "malformed", ""),
        (b"null", "null", ""),
        (None, "no_origin", ""),
    ],
)
def test_a_decision_names_its_reason(origin: bytes | None, reason: str, rule: str) -> None:
    """The event and the operator need to know which rule it was."""
    decision = APP.decision(origin)
    assert (decision.reason, decision.rule) == (reason, rule)


async def test_every_door_of_the_gate_gives_one_answer() -> None:
    """CORS, WebSocket and cross-site checks ask through different doors of one object."""
    assert isinstance(APP, OriginGate)
    for origin in (b"https://app.example.com", b"https://evil.example", b"null", None):
        decided = APP.decision(origin)
        assert APP.decide_nowait(origin, {}) == decided == await APP.decide(origin, {})
        assert APP.allows(origin) == decided.allowed


@pytest.mark.parametrize(
    "entry",
    [
        "https://*",
        "https://*.",
        "https://*:8443",
        "*.example.com",
        "*://app.example.com",
        "https://app.*.example.com",
        "https://pr-*.example.com",
        "https://*app.example.com",
        "https://**.example.com",
        "https://*.*.example.com",
        "https://*.203.0.113.7",
        "https://*.[::1]",
        "https://*.example.com/path",
        "https://*.exa mple.com",
    ],
)
def test_a_wildcard_is_the_whole_leftmost_label_or_nothing(entry: str) -> None:
    """Part of a label, or any depth, lets in names that strangers can register."""
    with pytest.raises(ConfigError, match=r"origins\.allow_origins"):
        OriginPolicy([entry])


@pytest.mark.parametrize("given_value", ["https://app.example.com", b"https://app.example.com"])
def test_one_string_where_a_list_is_wanted_is_refused(given_value: Any) -> None:
    """Iterated by letter it would list 'h', 't' and so on, and match nobody."""
    with pytest.raises(ConfigError, match="Write a list"):
        OriginPolicy(given_value)


@pytest.mark.parametrize("given_value", [None, 7, [7], [None], [b"https://a.example"]])
def test_what_is_no_list_of_strings_is_refused(given_value: Any) -> None:
    """A setting read from a file may be anything."""
    with pytest.raises(ConfigError, match=r"origins\.allow_origins"):
        OriginPolicy(given_value)


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:5173",
        "https://localhost",
        "http://app.localhost:3000",
        "http://*.localhost:5173",
        "http://127.0.0.1:8000",
        "http://127.9.9.9",
        "http://0.0.0.0:8000",
        "http://[::1]:3000",
    ],
)
def test_production_refuses_the_visitors_own_machine_and_development_may_list_it(
    origin: str,
) -> None:
    """Any program on a customer's laptop could be that origin."""
    with pytest.raises(ConfigError, match="environment='development'"):
        OriginPolicy([origin])

    policy = OriginPolicy([origin], environment="development")

    assert policy.allows(origin.replace("*", "acme"))
    assert [finding.code for finding in policy.lint()] == ["local_origin"]


def test_development_opens_nothing_that_is_not_listed() -> None:
    """An environment is a check on the list, not a second list."""
    policy = OriginPolicy(["https://app.example.com"], environment="development")
    assert not policy.allows("http://localhost:5173")


def test_an_unknown_environment_is_refused() -> None:
    """A misspelt 'developement' must not decide by accident."""
    with pytest.raises(ConfigError, match="'developement' is unknown"):
        OriginPolicy([], environment="developement")  # type: ignore[arg-type]


def test_null_is_let_in_by_its_own_switch_only() -> None:
    """Listing 'null' like an origin hides that everybody can be it."""
    with pytest.raises(ConfigError, match="allow_null=True"):
        OriginPolicy(["null"])
    assert not OriginPolicy(["https://app.example.com"]).allows("null")
    assert OriginPolicy([], allow_null=True).allows("null")


def test_a_star_stands_alone() -> None:
    """A list beside it would look like a restriction that is none."""
    everyone = OriginPolicy(["*"])
    assert everyone.uniform
    assert everyone.allows("https://anybody.example")
    assert everyone.allows("null")
    assert not everyone.allows(None)
    with pytest.raises(ConfigError, match="alone"):
        OriginPolicy(["*", "https://app.example.com"])
    with pytest.raises(ConfigError, match="alone"):
        OriginPolicy(["*"], allow_origin_regex="https://a")


@pytest.mark.parametrize(
    "entry",
    [
        "https://*.com",
        "https://*.co.uk",
        "https://*.github.io",
        "https://*.vercel.app",
        "https://*.s3.amazonaws.com",
        "https://*.xn--p1ai",
        "https://*.\u0440\u0444",
        "https://*.ck",
        "https://*.internal",
        "https://*.not-yet-a-top-level-domain",
    ],
)
def test_a_pattern_over_a_public_suffix_is_refused_with_credentials(entry: str) -> None:
    """Whoever opens a project there would read with your users' cookies."""
    policy = OriginPolicy([entry])  # without cookies it is merely remarked on

    assert "public_suffix" in {finding.code for finding in policy.lint()}
    with pytest.raises(ConfigError, match="public suffix"):
        policy.require_credential_safe("cors.allow_credentials")


@pytest.mark.parametrize("entry", ["https://*.example.com", "https://*.acme.github.io"])
def test_a_pattern_under_a_domain_of_ones_own_is_fine_with_credentials(entry: str) -> None:
    """Tenants' subdomains are what patterns are for."""
    OriginPolicy([entry]).require_credential_safe("cors.allow_credentials")


def test_without_the_suffix_list_a_pattern_with_credentials_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What cannot be checked fails closed, and says what to install."""
    public_suffix.load_public_suffixes.cache_clear()
    monkeypatch.setitem(sys.modules, "publicsuffixlist", None)

    with pytest.raises(ConfigError, match="pip install publicsuffixlist"):
        OriginPolicy(["https://*.example.com"]).require_credential_safe("x")

    public_suffix.load_public_suffixes.cache_clear()


@pytest.mark.parametrize(
    "policy",
    [
        OriginPolicy(["*"]),
        OriginPolicy(["https://app.example.com"], allow_null=True),
        OriginPolicy([], allow_origin_regex=".*"),
        OriginPolicy([], allow_origin_regex="https://.*"),
        OriginPolicy([], allow_origin_regex="https?://[^/]+"),
        OriginPolicy([], allow_origin_regex=r"https://.*\.com"),
        OriginPolicy([], allow_origin_regex=r"https://.*example\.com"),
        OriginPolicy([], allow_origin_regex=r"https://(www\.)?example.com"),
        OriginPolicy([], allow_origin_regex=r"https://app\.example\.com.*"),
        OriginPolicy([], allow_origin_regex=r"https://\w+\.github\.io"),
    ],
    ids=repr,
)
def test_a_policy_for_everybody_is_refused_where_cookies_come_along(policy: OriginPolicy) -> None:
    """The specification forbids '*' with credentials; the rest are ways around that."""
    with pytest.raises(ConfigError, match=r"cors\.allow_credentials"):
        policy.require_credential_safe("cors.allow_credentials")


@pytest.mark.parametrize(
    "source", [r"https://app\.example\.com", r"https://[a-z0-9-]+\.tenants\.example\.com(:8443)?"]
)
def test_a_tight_expression_is_accepted_and_matches_the_whole_origin(source: str) -> None:
    """The probes must not cry wolf, and a missing '$' must open nothing."""
    policy = OriginPolicy([], allow_origin_regex=source)
    policy.require_credential_safe("cors.allow_credentials")

    assert policy.allows("https://app.example.com") != policy.allows(
        "https://acme.tenants.example.com"
    )
    assert not policy.allows("https://app.example.com.evil.example")
    assert not policy.allows("https://acme.tenants.example.com.evil.example")


def test_the_probes_find_out_an_expression_without_its_dots_escaped() -> None:
    """Control: remove one backslash, and the stranger is named."""
    tight = compile_expression(r"https://app\.example\.com", setting="x")
    loose = compile_expression(r"https://app\.example.com", setting="x")

    assert stranger_let_in(tight) is None
    assert stranger_let_in(loose) == "https://app.examplexcom"


@pytest.mark.parametrize(
    "source",
    [
        "(a+)+",
        "https://([a-z]*)*",
        "(https://.+,?)+",
        "([a-z]{1,}){2,}",
        "(a|a)*",
        ".*.*.*",
        "(",
        "a" * 1001,
    ],
)
def test_an_expression_that_can_be_made_to_hang_is_refused(source: str) -> None:
    """The origin is the attacker's to write, and is matched on the event loop."""
    with pytest.raises(ConfigError, match=r"origins\.allow_origin_regex"):
        OriginPolicy([], allow_origin_regex=source)


def test_a_policy_cannot_be_changed_after_its_checks() -> None:
    """Otherwise the checks would say nothing about what is in force."""
    with pytest.raises(FrozenInstanceError):
        APP.allow_null = True  # type: ignore[misc]
    entries = ["https://app.example.com"]
    policy = OriginPolicy(entries)
    entries.append("https://evil.example")
    assert not policy.allows("https://evil.example")
    assert hash(policy) == hash(OriginPolicy(["https://app.example.com"]))


@pytest.mark.parametrize(
    ("origin", "says"),
    [
        ("https://app.example.com", "allowed: listed (https://app.example.com)"),
        ("http://app.example.com", "https://app.example.com is listed, and the scheme differs"),
        ("https://app.example.com:8443", "https://app.example.com is listed, and the port differs"),
        ("https://www.app.example.com", "'www.' makes it another origin"),
        ("https://tenants.example.com", "does not cover the name itself"),
        ("https://a.b.tenants.example.com", "covers one label only"),
        ("http://a.tenants.example.com", "has another scheme or port"),
        ("https://app.example.com/", "a browser sends 'https://app.example.com'"),
        ("https://APP.example.com", "a browser sends 'https://app.example.com'"),
        ("nonsense", "malformed"),
        ("https://evil.example", "denied: not_listed."),
        ("null", "shared by every sandboxed frame"),
        (None, "No Origin was sent"),
    ],
)
def test_explain_names_the_entry_that_was_nearly_met(origin: str | None, says: str) -> None:
    """'Not listed' is no help to somebody who is sure that it is listed."""
    assert says in APP.explain(origin)


@pytest.mark.parametrize(
    ("policy", "codes"),
    [
        (OriginPolicy(["https://app.example.com"]), []),
        (OriginPolicy([]), ["no_origin"]),
        (OriginPolicy(["*"]), ["any_origin"]),
        (OriginPolicy([], allow_null=True), ["null_origin"]),
        (OriginPolicy(["http://app.example.com"]), ["insecure_scheme"]),
        (OriginPolicy(["http://*.example.com"]), ["insecure_scheme"]),
        (OriginPolicy([], allow_origin_regex=".*"), ["loose_expression"]),
        (OriginPolicy([], allow_origin_regex=r"https://a\.example"), ["expression"]),
    ],
)
def test_lint_remarks_on_what_weakens_and_on_nothing_else(
    policy: OriginPolicy, codes: list[str]
) -> None:
    """A reviewer who is shown noise stops reading."""
    assert [finding.code for finding in policy.lint()] == codes
    assert all(finding.remedy in str(finding) for finding in policy.lint())


def test_origins_can_be_compared_and_sorted() -> None:
    """Settings pages show them in a stable order."""
    first, second = Origin.parse("https://a.example"), Origin.parse("https://b.example")
    assert sorted([second, first]) == [first, second]
    assert str(first) == "https://a.example"
