"""A preflight costs its sender nothing; it must cost us next to nothing (rs/cors issue 170).

rs/cors 1.9 to 1.10 (GHSA-mh55-gqvf-xfwm), and go-chi/cors still, allocate megabytes for one
preflight whose list of requested headers is long or all commas. Work is counted here, not timed.
"""

from __future__ import annotations

import tracemalloc

import pytest

from asgi_guard.cors import CORSAllowlistMiddleware, CORSPolicy
from asgi_guard.cors.preflight import MAX_REQUESTED_BYTES, MAX_REQUESTED_NAMES, read_preflight
from tests.support.cors_client import hello, http_scope, preflight, recorded_events

APP = "https://app.example.com"
POLICIES = {
    "listed": CORSPolicy(allow_origins=[APP], allow_headers=["X-One"], allow_credentials=True),
    "any": CORSPolicy(allow_origins=["*"], allow_headers=["*"]),
}
FLOODS = {
    "commas": b"," * 65_000,
    "names": b",".join(b"x-%d" % n for n in range(9_000))[:65_000],
    "one granted name": b",".join([b"x-one"] * 10_000),
    "one long name": b"x" * 65_000,
    "white space": b" " * 65_000,
}


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_64_kilobytes_of_requested_headers_are_refused_and_never_reflected(
    flood: bytes, policy: CORSPolicy
) -> None:
    """In one field, or spread over a thousand."""
    app = CORSAllowlistMiddleware(hello, policy=policy)
    spread = [
        ("access-control-request-headers", flood[at : at + 65]) for at in range(0, 65_000, 65)
    ]

    with recorded_events() as events:
        whole = await preflight(app, APP, "GET", flood)
        parts = await preflight(app, APP, "GET", fields=spread)

    for answer in (whole, parts):
        assert answer.status == 403
        assert answer.grants == set()
        assert sum(len(name) + len(value) for name, value in answer.fields) < 400
        assert len(answer.body) < 400
    assert [event.reason for event in events] == ["headers_too_many"] * 2
    assert all(len(repr(event)) < 2000 for event in events)


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_is_refused_before_it_is_taken_apart(flood: bytes) -> None:
    """Splitting it first is what made peers allocate 1,800 times its size."""
    scope = http_scope("OPTIONS", "/", [(b"access-control-request-headers", flood)])
    read_preflight(scope)
    tracemalloc.start()

    read = read_preflight(scope)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read.headers is None
    assert peak < 8_192


def test_splitting_first_does_allocate_many_times_the_size() -> None:
    """Control: the measure above tells the difference."""
    tracemalloc.start()
    parts = [part.strip() for part in FLOODS["names"].split(b",")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert parts
    assert peak > 200_000


async def test_what_real_pages_send_is_far_below_the_limits() -> None:
    """A limit that friends meet is an outage."""
    names = ",".join(f"x-custom-header-{n:02}" for n in range(60))
    assert len(names) < MAX_REQUESTED_BYTES
    assert names.count(",") < MAX_REQUESTED_NAMES
    policy = CORSPolicy(allow_origins=[APP], allow_headers=names.split(","))
    answer = await preflight(CORSAllowlistMiddleware(hello, policy=policy), APP, "GET", names)
    assert answer.status == 204
