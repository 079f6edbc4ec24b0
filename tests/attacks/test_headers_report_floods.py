"""Attacks on the report collector: it is open to the internet and writes to the event stream."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.errors import RequestInvalidError
from asgi_guard.security_headers import CSPReportCollector
from asgi_guard.security_headers.csp_directives import DIRECTIVES
from asgi_guard.security_headers.csp_reports import LEGACY_TYPE, REPORTS_TYPE, parse_reports
from tests.support.headers_client import Answer, collected_events, http_scope, request
from tests.support.headers_clock import MovedClock


def scope(*headers: tuple[str, str], client: str = "203.0.113.9") -> dict[str, Any]:
    return http_scope(
        "/csp-reports",
        method="POST",
        headers=[("content-type", LEGACY_TYPE), *headers],
        client=(client, 1),
    )


def report(**fields: Any) -> bytes:
    return json.dumps({"csp-report": {"effective-directive": "img-src", **fields}}).encode()


async def send(collector: Any, body: bytes = b"", **more: Any) -> Answer:
    with collected_events():
        return await request(collector, scope(**more), body=[body or report()])


async def test_a_body_that_says_it_is_too_large_is_refused_unread() -> None:
    """Memory must not be the attacker's to fill."""
    reads = 0

    async def receive() -> Any:
        nonlocal reads
        reads += 1
        return {"type": "http.request", "body": b"x"}

    sent: list[Any] = []

    async def keep(message: Any) -> None:
        sent.append(message)

    for length in ("65537", "9" * 5000):
        await CSPReportCollector()(scope(("content-length", length)), receive, keep)

    assert [each["status"] for each in sent if "status" in each] == [413, 413]
    assert reads == 0


@pytest.mark.parametrize("length", ["-1", "1e3", "", "0x10", "+5"])
async def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    """What two layers read differently is how requests are smuggled."""
    answer = await request(CSPReportCollector(), scope(("content-length", length)))

    assert answer.status == 400


async def test_an_endless_body_is_cut_off_at_the_limit() -> None:
    """Chunked bodies announce nothing."""
    taken = 0

    async def receive() -> Any:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"x" * 1024, "more_body": True}

    sent: list[Any] = []

    async def keep(message: Any) -> None:
        sent.append(message)

    await CSPReportCollector(max_bytes=10_240)(scope(), receive, keep)

    assert sent[0]["status"] == 413
    assert taken == 11


async def test_a_body_that_never_comes_is_given_up() -> None:
    """A slow sender must not hold a task for ever (CWE-400)."""

    async def receive() -> Any:
        await asyncio.Event().wait()

    sent: list[Any] = []

    async def keep(message: Any) -> None:
        sent.append(message)

    await CSPReportCollector(body_timeout=0.01)(scope(), receive, keep)

    assert sent[0]["status"] == 408


async def test_a_compressed_body_is_refused() -> None:
    """A few bytes may unpack to gigabytes."""
    answer = await request(CSPReportCollector(), scope(("content-encoding", "gzip")))

    assert answer.status == 415


async def test_two_content_types_are_refused() -> None:
    """Which one an inner layer would read cannot be known."""
    answer = await request(CSPReportCollector(), scope(("content-type", "text/plain")))

    assert answer.status == 400


async def test_a_flood_from_one_address_leaves_room_for_others() -> None:
    """One broken client must not hide what others report."""
    collector = CSPReportCollector(per_client_per_minute=3, per_minute=10, clock=MovedClock())

    flood = [(await send(collector)).status for _ in range(50)]
    other = await send(collector, client="198.51.100.1")

    assert flood.count(204) == 3
    assert other.status == 204


async def test_a_flood_from_many_addresses_meets_the_overall_limit() -> None:
    """Addresses are cheap; the event stream's disk is not."""
    collector = CSPReportCollector(per_client_per_minute=3, per_minute=10, clock=MovedClock())

    answers = [await send(collector, client=f"198.51.100.{number}") for number in range(100)]

    assert [answer.status for answer in answers].count(204) == 10


async def test_forged_forwarded_addresses_do_not_multiply_the_limit() -> None:
    """Without a trusted proxy the header is the attacker's own text."""
    collector = CSPReportCollector(per_client_per_minute=3, clock=MovedClock())

    with collected_events():
        answers = [
            await request(
                collector, scope(("x-forwarded-for", f"198.51.100.{number}")), body=[report()]
            )
            for number in range(20)
        ]

    assert [answer.status for answer in answers].count(204) == 3


async def test_memory_for_clients_is_bounded() -> None:
    """A table by address is a memory leak with a remote control."""
    collector = CSPReportCollector(clock=MovedClock())

    for number in range(6000):
        collector._limits.admit(f"client-{number}")

    assert len(collector._limits._clients) == 4096


async def test_made_up_directives_do_not_grow_the_summary() -> None:
    """Each new key would be a new time series for whoever reads the event."""
    collector = CSPReportCollector(
        per_client_per_minute=10_000, per_minute=10_000, clock=MovedClock()
    )

    with collected_events():
        for number in range(200):
            body = report(**{"effective-directive": f"x-{number}"})
            await request(collector, scope(), body=[body])

    assert collector.summary.counts() == {"other": 200}


async def test_a_batch_yields_only_so_many_events() -> None:
    """One request of 64 kB could hold thousands of reports."""
    one = {"type": "csp-violation", "body": {"effectiveDirective": "img-src"}}

    parsed = parse_reports(REPORTS_TYPE, json.dumps([one] * 1000).encode(), most=20)

    assert (len(parsed.violations), parsed.ignored) == (20, 980)


async def test_a_report_cannot_forge_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    """A line feed or an escape sequence in a logged text writes the next entry (CWE-117)."""
    forged = "https://a.example/\r\n2026-03-01 admin logged in\x1b[2J\u202e\u2028"
    fields = {"document-uri": forged, "blocked-uri": forged, "source-file": forged}

    with collected_events() as seen, caplog.at_level(logging.DEBUG):
        await request(CSPReportCollector(), scope(), body=[report(**fields)])

    text = "".join(str(value) for value in seen.events[0].details.values())
    assert text.isascii()
    assert text.isprintable()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
_bodies = st.dictionaries(
    st.sampled_from(
        [
            *("effective-directive", "violated-directive", "disposition", "blocked-uri"),
            *("document-uri", "source-file", "line-number"),
            *("effectiveDirective", "blockedURL", "documentURL", "sourceFile", "lineNumber"),
        ]
    ),
    _json | st.from_regex(r"https?://[^\n]{0,40}", fullmatch=True),
)


@given(_bodies, st.booleans())
def test_no_report_breaks_the_parser_or_gets_unclean_text_through(
    body: dict[str, Any],
    legacy: bool,  # noqa: FBT001 - hypothesis passes it by position
) -> None:
    """What anybody may post must neither crash nor reach the log as it came."""
    document: Any = {"csp-report": body} if legacy else [{"type": "csp-violation", "body": body}]
    media_type = LEGACY_TYPE if legacy else REPORTS_TYPE

    (violation,) = parse_reports(media_type, json.dumps(document).encode(), most=5).violations

    assert violation.directive in {*DIRECTIVES, "other"}
    for text in (violation.blocked, violation.document, violation.source):
        assert len(text) <= 420
        assert text.isascii()
        assert text.isprintable() or not text
        assert not set(text) & {" ", "#", "?"}


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(body: bytes) -> None:
    """Every failure is a 400, never a 500."""
    for media_type in (LEGACY_TYPE, REPORTS_TYPE):
        try:
            parse_reports(media_type, body, most=5)
        except RequestInvalidError:
            continue
