"""traceparent (W3C Trace Context): taken when well-formed, ignored otherwise."""

from __future__ import annotations

import pytest

from asgi_guard.tenancy.trace import trace_id_of
from tests.support.exchange import http_scope

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "value",
    [f"00-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-comes-later"],
)
def test_the_trace_id_is_read_also_from_later_versions(value: str) -> None:
    """Section 3.2.2 and 4.3: a later version keeps the first four fields."""
    assert trace_id_of(http_scope(headers={"traceparent": value})) == TRACE


@pytest.mark.parametrize(
    "value",
    [
        "",
        TRACE,
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
    ],
)
def test_a_malformed_one_is_ignored(value: str) -> None:
    """It goes into logs; only hexadecimal digits may."""
    assert trace_id_of(http_scope(headers={"traceparent": value})) is None


def test_two_are_ignored() -> None:
    """Which of them the tracer believes cannot be known."""
    pair = ("traceparent", f"00-{TRACE}-{SPAN}-01")

    assert trace_id_of(http_scope(headers=[pair, pair])) is None
    assert trace_id_of(http_scope()) is None
