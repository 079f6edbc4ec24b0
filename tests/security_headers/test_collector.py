"""The route that takes browsers' reports."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

from asgi_guard.errors import ConfigError
from asgi_guard.security_headers import CSPReportCollector
from tests.support.headers_client import Answer, collected_events, http_scope, request
from tests.support.headers_clock import MovedClock

LEGACY = "application/csp-report"
MODERN = "application/reports+json"

# As Firefox and Chromium send them.
LEGACY_REPORT = {
    "csp-report": {
        "blocked-uri": "https://evil.example/x.js?token=secret",
        "column-number": 7,
        "disposition": "enforce",
        "document-uri": "https://user:pass@app.example/reset?token=secret#part",
        "effective-directive": "script-src-elem",
        "line-number": 12,
        "original-policy": "default-src 'none'",
        "referrer": "https://app.example/?token=secret",
        "script-sample": "secret",
        "source-file": "https://app.example/page?token=secret",
        "status-code": 200,
        "violated-directive": "script-src-elem",
    }
}
MODERN_REPORT = {
    "age": 5,
    "type": "csp-violation",
    "url": "https://app.example/page?token=secret",
    "user_agent": "Mozilla/5.0",
    "body": {
        "blockedURL": "inline",
        "disposition": "report",
        "documentURL": "https://app.example/page?token=secret",
        "effectiveDirective": "style-src",
        "lineNumber": 3,
        "originalPolicy": "style-src 'self'",
        "referrer": "",
        "sample": "secret",
        "sourceFile": "https://app.example/page?token=secret",
        "statusCode": 200,
    },
}


def report_scope(media_type: str | None, **more: Any) -> dict[str, Any]:
    headers = [] if media_type is None else [("content-type", media_type)]
    headers += more.pop("headers", [])
    return http_scope("/csp-reports", method="POST", headers=headers, **more)


async def post(collector: Any, media_type: str | None, document: Any, **more: Any) -> Answer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return await request(collector, report_scope(media_type, **more), body=[body])


async def test_a_legacy_report_becomes_an_event_without_its_secrets() -> None:
    """Tokens travel in addresses, and script samples hold what users typed."""
    with collected_events() as seen:
        answer = await post(CSPReportCollector(), LEGACY, LEGACY_REPORT)

    assert answer.status == 204
    (event,) = seen.named("CSP_VIOLATION")
    assert (event.outcome, event.reason, event.client) == (
        "denied",
        "script-src-elem",
        "203.0.113.9",
    )
    assert event.details == {
        "disposition": "enforce",
        "blocked": "https://evil.example",
        "document": "https://app.example/reset",
        "source": "https://app.example/page",
        "line": 12,
    }
    assert "secret" not in repr(event)
    assert event.request_id


async def test_each_member_of_a_reporting_api_list_becomes_an_event() -> None:
    """Chromium sends reports in batches."""
    other = {"type": "deprecation", "body": {"id": "x"}}
    collector = CSPReportCollector()

    with collected_events() as seen:
        answer = await post(
            collector, MODERN + "; charset=utf-8", [MODERN_REPORT, other, MODERN_REPORT, 7]
        )

    assert answer.status == 204
    assert [(each.outcome, each.reason) for each in seen.events] == [("allowed", "style-src")] * 2
    assert seen.events[0].details["blocked"] == "inline"
    assert collector.summary.counts() == {"style-src (report-only)": 2, "ignored": 2}


@pytest.mark.parametrize(
    ("field", "value", "directive"),
    [
        ("effective-directive", None, "img-src"),  # Safari and old Firefox leave it out
        ("effective-directive", "IMG-SRC", "img-src"),
        ("effective-directive", "made-up", "other"),
        ("effective-directive", 7, "other"),
        ("effective-directive", " ", "other"),
    ],
)
async def test_a_directive_is_one_of_the_known_or_other(
    field: str, value: Any, directive: str
) -> None:
    """Made-up names must not become keys of a metric."""
    report = {"violated-directive": "img-src 'self'", field: value}

    with collected_events() as seen:
        await post(CSPReportCollector(), LEGACY, {"csp-report": report})

    assert seen.events[0].reason == directive


@pytest.mark.parametrize("framework", [Starlette, FastAPI])
async def test_the_collector_is_a_route_of_an_app(framework: Any) -> None:
    """That is how it is installed; a mount would answer with a redirect to a slash."""
    app = framework()
    app.add_route("/csp-reports", CSPReportCollector())

    with collected_events() as seen:
        answer = await post(app, LEGACY, LEGACY_REPORT)

    assert answer.status == 204
    assert len(seen.events) == 1


@pytest.mark.parametrize(
    ("media_type", "document", "status"),
    [
        ("application/json", LEGACY_REPORT, 415),
        ("text/plain", LEGACY_REPORT, 415),
        (None, LEGACY_REPORT, 415),
        (LEGACY, b"not json", 400),
        (LEGACY, b"\xff\xfe", 400),
        (LEGACY, [LEGACY_REPORT], 400),
        (LEGACY, {"csp-report": "x"}, 400),
        (LEGACY, {}, 400),
        (LEGACY, b"", 400),
        (MODERN, MODERN_REPORT, 400),
        (MODERN, b"[" * 50_000, 400),
        (MODERN, b"1" * 5_000, 400),
    ],
)
async def test_what_is_no_report_is_refused_as_a_problem_and_counted(
    media_type: str | None, document: Any, status: int
) -> None:
    """The route is open to everybody; what it cannot read must cost little and say so."""
    collector = CSPReportCollector()

    with collected_events() as seen:
        answer = await post(collector, media_type, document)

    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert seen.named("CSP_VIOLATION") == []
    assert collector.summary.counts() == {"refused": 1}


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "PUT"])
async def test_only_post_is_taken(method: str) -> None:
    """Browsers post; the answer names it (RFC 9110 section 15.5.6)."""
    answer = await request(CSPReportCollector(), http_scope("/csp-reports", method=method))

    assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_one_event_a_day_sums_up_by_directive() -> None:
    """Nobody reads single reports; the sum shows what a policy would break."""
    clock = MovedClock()
    collector = CSPReportCollector(clock=clock)

    with collected_events() as seen:
        for _ in range(3):
            await post(collector, LEGACY, LEGACY_REPORT)
        await post(collector, MODERN, [MODERN_REPORT])
        await post(collector, LEGACY, b"broken")
        clock.move(24 * 3600)
        await post(collector, LEGACY, LEGACY_REPORT)
        collector.summary.flush()
        collector.summary.flush()  # nothing left: no event

    first, second = seen.named("CSP_DAILY_SUMMARY")
    assert first.details == {
        "day": "2026-03-01",
        "script-src-elem": 3,
        "style-src (report-only)": 1,
        "refused": 1,
    }
    assert second.details == {"day": "2026-03-02", "script-src-elem": 1}


async def test_the_rate_comes_back_with_time() -> None:
    """A limit that never ends would blind the operator after one bad deploy."""
    clock = MovedClock()
    collector = CSPReportCollector(per_client_per_minute=2, clock=clock)

    with collected_events():
        answers = [await post(collector, LEGACY, LEGACY_REPORT) for _ in range(3)]
        clock.move(30)
        later = await post(collector, LEGACY, LEGACY_REPORT)

    assert [answer.status for answer in answers] == [204, 204, 429]
    assert answers[2].headers["retry-after"] == "30"
    assert later.status == 204


@pytest.mark.parametrize(
    "name",
    ["max_bytes", "max_reports", "per_client_per_minute", "per_minute", "body_timeout"],
)
def test_a_limit_of_nothing_is_refused(name: str) -> None:
    """Zero looks like 'no limit' to one reader and like 'nothing' to another."""
    with pytest.raises(ConfigError, match=name):
        CSPReportCollector(**{name: 0})


async def test_clients_behind_a_trusted_proxy_are_told_apart() -> None:
    """Otherwise the whole world shares the limit of one address."""
    collector = CSPReportCollector(
        per_client_per_minute=1, trusted_proxies=["203.0.113.9"], clock=MovedClock()
    )
    seen_as = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "198.51.100.2")]

    with collected_events() as seen:
        answers = [await post(collector, LEGACY, LEGACY_REPORT, headers=[each]) for each in seen_as]

    assert [answer.status for answer in answers] == [204, 204]
    assert [event.client for event in seen.events] == ["198.51.100.1", "198.51.100.2"]


async def test_a_websocket_to_the_collector_is_refused() -> None:
    """A mount hands it every kind of connection."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def keep(message: Any) -> None:
        sent.append(message)

    await CSPReportCollector()({**report_scope(None), "type": "websocket"}, receive, keep)

    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_a_client_that_leaves_half_way_is_counted_as_refused() -> None:
    """Half a report is none."""
    collector = CSPReportCollector()

    answer = await request(collector, report_scope(LEGACY), body=[])

    assert answer.status == 400
    assert collector.summary.counts() == {"refused": 1}
