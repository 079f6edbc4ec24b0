"""``explain`` says what would be answered, and is held to what is answered."""

from __future__ import annotations

import itertools

import pytest

from asgi_guard.cors import CORSAllowlistMiddleware, CORSPolicy, explain, lint, lint_settings
from asgi_guard.origins import DynamicOriginPolicy, OriginDecision, OriginPolicy
from tests.support.cors_client import ask, hello, preflight, recorded_events
from tests.support.cors_tenants import Answers

APP = "https://app.example.com"
POLICY = CORSPolicy(
    allow_origins=[APP, "https://*.tenants.example.com"],
    allow_methods=["GET", "POST", "PUT"],
    allow_headers=["X-One"],
    allow_credentials=True,
    expose_headers=["X-Total"],
    routes={"/public/*": CORSPolicy(allow_origins=["*"])},
)


@pytest.mark.parametrize(
    ("origin", "method", "headers", "path", "private_network"),
    list(
        itertools.product(
            [APP, "https://a.tenants.example.com", "https://evil.example", "null", "nonsense"],
            ["GET", "POST", "PUT", "DELETE"],
            [[], ["X-One"], ["Content-Type"], ["X-Two", "X-One"]],
            ["/", "/public/x", "/PUBLIC"],
            [False, True],
        )
    ),
)
async def test_what_is_explained_is_what_is_answered(
    origin: str, method: str, headers: list[str], path: str, *, private_network: bool
) -> None:
    """An explanation that drifts from the code sends its reader the wrong way."""
    app = CORSAllowlistMiddleware(hello, policy=POLICY)
    fields = [("access-control-request-private-network", "true")] if private_network else []

    said = explain(POLICY, origin, method, headers, path=path, private_network=private_network)
    with recorded_events():
        asked = await preflight(
            app, origin, method, ",".join(headers) or None, target=path, fields=fields
        )
        answer = await ask(app, method, path, origin=origin)

    assert {pair for pair in said.response if pair[0] != "vary"} == answer.grants
    if said.preflight is not None:
        assert {pair for pair in said.preflight if pair[0] != "vary"} == asked.grants
        assert said.allowed == bool(asked.grants)
    else:
        assert said.allowed == bool(answer.grants)


@pytest.mark.parametrize(
    ("origin", "method", "headers", "path", "says"),
    [
        (APP, "GET", [], "/", "without a preflight"),
        (APP, "PUT", ["x-one"], "/", "The preflight: granted."),
        (APP, "DELETE", [], "/", "DELETE is not in allow_methods"),
        (APP, "PUT", ["X-Two", "x-one"], "/", "not in allow_headers: x-two"),
        (APP, "PUT", [f"x-{n}" for n in range(99)], "/", "more headers are requested"),
        (f"{APP}:8443", "GET", [], "/", "the port differs"),
        ("https://x.example", "GET", [], "/public/a", "the rule '/public/*' holds"),
        ("https://x.example", "GET", [], "/private", "the general policy holds"),
        (APP, "GET", [], "/public/../x", "more than one reading"),
    ],
)
def test_an_explanation_names_the_setting_that_decided(
    origin: str, method: str, headers: list[str], path: str, says: str
) -> None:
    """The browser's console says only that something was missing."""
    assert says in str(explain(POLICY, origin, method, headers, path=path))


def test_an_explanation_begins_with_the_verdict() -> None:
    """The first line is what people read."""
    assert str(explain(POLICY, APP)).splitlines()[0] == "allowed"
    assert str(explain(POLICY, "null")).splitlines()[0] == "denied (null)"
    assert explain(POLICY, APP, "PUT", ["X-Two"]).reason == "headers"


def test_a_provider_is_not_asked_and_the_explanation_says_so() -> None:
    """What was decided can be handed in."""
    policy = CORSPolicy(allow_origins=DynamicOriginPolicy(OriginPolicy([]), provider=Answers()))

    unknown = explain(policy, APP)
    known = explain(policy, APP, decision=OriginDecision(True, "provider", "provider"))

    assert unknown.reason == "provider_not_asked"
    assert "The provider decides" in str(unknown)
    assert known.allowed


def test_lint_is_silent_about_a_policy_that_needs_no_remark() -> None:
    """Noise teaches people to skip the list."""
    assert lint(CORSPolicy(allow_origins=[APP], allow_credentials=True)) == ()


def test_lint_remarks_on_each_setting_that_weakens_or_surprises() -> None:
    """One finding per remark, routes included."""
    policy = CORSPolicy(
        allow_origins=["http://app.example.com"],
        allow_headers=["*", "Access-Control-Allow-Origin", "Cookie"],
        max_age=86400,
        allow_private_network=True,
        routes={"/a": CORSPolicy(allow_origins=["*"]), "/b": CORSPolicy(allow_origins=["*"])},
    )
    assert [finding.code for finding in lint(policy)] == [
        "insecure_scheme",
        "pointless_header",
        "pointless_header",
        "any_header",
        "max_age_capped",
        "private_network",
        "any_origin",
    ]


def test_settings_that_would_not_start_are_listed_all_at_once() -> None:
    """Three mistakes in a list are three findings, not three starts."""
    found = lint_settings(
        allow_origins=["a.example", "https://b.example/x", "http://localhost:1", APP, f"{APP}/"],
        max_age=-1,
    )
    assert [(finding.level, finding.setting) for finding in found] == [
        ("error", "origins.allow_origins"),
        ("error", "origins.allow_origins"),
        ("error", "origins.allow_origins"),
        ("error", "cors.max_age"),
    ]


def test_settings_that_would_start_are_linted_as_a_policy() -> None:
    """One entry point for the command line, whatever it is given."""
    assert lint_settings(allow_origins=[APP]) == ()
    assert [finding.code for finding in lint_settings(allow_origins=["*"])] == ["any_origin"]
    assert [f.level for f in lint_settings(allow_origins=APP)] == ["error"]
    assert [f.level for f in lint_settings(allow_origins=["*"], allow_credentials=True)] == [
        "error"
    ]
    assert (
        lint_settings(allow_origins=[APP], allow_methods="GET")[0].setting == "cors.allow_methods"
    )
